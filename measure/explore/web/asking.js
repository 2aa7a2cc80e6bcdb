// Questions to the server, and what it streams back. A newer question of a channel ends the older one.

const client = Array.from(crypto.getRandomValues(new Uint8Array(12)), (one) => one.toString(16).padStart(2, "0")).join("");
const running = new Map();

export class Refused extends Error {}

async function sent(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify({ client, ...body }) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. What this page holds is kept: start measure explore again, and open the address that it prints.");
  }
  if (!answer.ok) throw new Refused((await answer.text()).trim().slice(0, 600) || `The server refused (${answer.status}).`);
  return answer;
}

export async function about() {
  const answer = await fetch("about");
  if (!answer.ok) throw new Refused((await answer.text()).trim());
  return answer.json();
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
      const { done, value } = await reader.read();
      if (done && ending) return ending === "end";
      if (done) throw new Refused("The server ended in the middle of an answer. What this page holds is kept: start measure explore again.");
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
