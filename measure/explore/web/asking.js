// Questions to the server, and what it streams back. A newer question of a channel ends the older one.

import { keepNow } from "./state.js";

const client = Array.from(crypto.getRandomValues(new Uint8Array(12)), (one) => one.toString(16).padStart(2, "0")).join("");
const running = new Map();
const waiting = [];
let served = "", watch = 0;

export class Refused extends Error {}

// `hear()` is called once a server that did not answer is there again.
export function onBack(hear) {
  waiting.push(hear);
}

function lost(said) {
  if (!watch) watch = setInterval(look, 1000);
  return new Refused(`${said} What this page holds is kept: start measure explore again with the same models and port, and the page goes on.`);
}

async function look() {
  try {
    if ((await fetch("about")).status >= 500) return;
  } catch {
    return;
  }
  clearInterval(watch);
  watch = 0;
  for (const hear of waiting) hear();
}

// Loads the page again, with all that it holds.
async function anew() {
  await keepNow();
  location.reload();
}

async function sent(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify({ client, served, ...body }) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw lost("The server does not answer.");
  }
  // Models are asked for by number, and these may be others now.
  if (answer.status === 409) await anew();
  if (!answer.ok) throw new Refused((await answer.text()).trim().slice(0, 600) || `The server refused (${answer.status}).`);
  return answer;
}

export async function about() {
  const answer = await fetch("about");
  if (!answer.ok) throw new Refused((await answer.text()).trim());
  const told = await answer.json();
  served = told.served;
  return told;
}

export async function asked(path, body) {
  return (await sent(path, body)).json();
}

export function stop(channel) {
  const before = running.get(channel);
  if (before) before.abort();
  running.delete(channel);
}

export const isRunning = (channel) => running.has(channel);

// Hands each event to `hear`; resolves to true at the end, and to false where a newer question came first.
export async function streamed(channel, path, body, hear) {
  stop(channel);
  const control = new AbortController();
  running.set(channel, control);
  try {
    const reader = (await sent(path, body, control.signal)).body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", ending = "";
    for (;;) {
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (done && ending) return ending === "end";
      if (done && control.signal.aborted) return false;
      if (done) throw lost("The server ended in the middle of an answer.");
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const event of lines.map((line) => JSON.parse(line))) {
        if (control.signal.aborted) return false;
        if (event.type === "problem") throw new Refused(event.text);
        if (event.type === "end" || event.type === "cancelled") ending = event.type;
        else hear(event);
      }
    }
  } catch (error) {
    if (control.signal.aborted) return false;
    throw error instanceof Refused ? error : new Refused(`The server's answer broke off (${error.message}). Ask again.`);
  } finally {
    if (running.get(channel) === control) running.delete(channel);
  }
}
