// What the page holds: all of it stands in the address behind #, and in this browser for the next start of the server.

import { known } from "./dom.js";

const VERSION = 1;
const STORED = "measure explore";
const START = {
  model: "", a: " The house at the end of the street was very", b: " The house at the end of the street was in", c: " He took the letter out of his pocket and", bos: false, layer: 1,
  read: "final_norm", path: "linear", distance: "l2", steps: 50, metric: "edge_speed", quantity: "relative", size: 32, pairs: [],
};

export const state = { ...START };
const heard = [];

// `hear(names)` is called with what changed.
export function onChange(hear) {
  heard.push(hear);
}

export function change(values) {
  const names = Object.keys(values).filter((name) => name === "pairs" || state[name] !== values[name]);
  Object.assign(state, values);
  if (!names.length) return;
  keep();
  for (const hear of heard) hear(new Set(names));
}

// ---- the address

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

export async function packed() {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(state)), new CompressionStream("deflate-raw"));
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `${VERSION}.${btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

async function unpacked(text) {
  const [version, held] = text.split(".");
  if (version !== String(VERSION) || !held || held.length > 2e6) throw new Error("it is of another version, or cut off");
  const bytes = Uint8Array.from(atob(held.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw"))));
}

let timer = 0;

function keep() {
  clearTimeout(timer);
  timer = setTimeout(keepNow, 150);
}

export async function keepNow() {
  clearTimeout(timer);
  try {
    localStorage.setItem(STORED, JSON.stringify(state));
  } catch { /* a browser that keeps nothing: the address does */ }
  history.replaceState(null, "", `#${await packed()}`);
}

window.addEventListener("pagehide", () => {
  try { localStorage.setItem(STORED, JSON.stringify(state)); } catch { /* as above */ }
});

// ---- what a link or an earlier start holds, checked: it comes from outside

function checked(given, told) {
  const found = {};
  const within = (value, low, high) => (Number.isInteger(value) && value >= low && value <= high);
  for (const name of ["a", "b", "c"]) if (typeof given[name] === "string") found[name] = given[name].slice(0, 20000);
  const choices = { read: null, path: told.paths, distance: told.distances, metric: told.metrics.map((one) => one.name), quantity: ["relative", "speed"] };
  for (const [name, allowed] of Object.entries(choices)) {
    const value = given[name];
    if (typeof value === "string" && (allowed ? allowed.includes(value) : told.reads.includes(value) || /^block:\d{1,4}$/.test(value))) found[name] = value;
  }
  const numbers = { layer: [1, 1000], steps: [5, told.limits.steps], size: [4, told.limits.cells] };
  for (const [name, [low, high]] of Object.entries(numbers)) if (within(given[name], low, high)) found[name] = given[name];
  if (typeof given.bos === "boolean") found.bos = given.bos;
  if (Array.isArray(given.pairs)) {
    found.pairs = given.pairs.filter((one) => one && typeof one.a === "string" && typeof one.b === "string").slice(0, told.limits.pairs)
      .map((one) => ({ a: one.a, b: one.b, label: typeof one.label === "string" ? one.label.slice(0, 200) : "", show: one.show === true }));
  }
  return found;
}

// Takes over what the address holds, else what this browser kept; returns what is to be said of it.
export async function restore(told) {
  const said = [];
  let given = null;
  if (location.hash.length > 1) {
    try {
      given = await unpacked(location.hash.slice(1));
      if (typeof given !== "object" || given === null) throw new Error("it holds nothing");
    } catch (error) {
      given = null;
      said.push(`The link holds nothing that can be read (${error.message || error.name}); ask for it again.`);
    }
  }
  if (!known(given)) {
    try {
      given = JSON.parse(localStorage.getItem(STORED)) || {};
    } catch {
      given = {};
    }
  }
  Object.assign(state, START, checked(given, told));
  const names = told.models.map((one) => one.name);
  state.model = names.includes(given.model) ? given.model : names[0];
  if (typeof given.model === "string" && given.model && !names.includes(given.model)) said.push(`The link is of ${given.model.slice(0, 80)}, which is not open here: shown on ${state.model}. Start measure explore with it to see the same.`);
  const depth = told.models[names.indexOf(state.model)].layers;
  if (state.layer > depth) said.push(`The link asks for layer ${state.layer}; ${state.model} has ${depth}.`);
  state.layer = Math.min(state.layer, depth);
  return said.join(" ");
}
