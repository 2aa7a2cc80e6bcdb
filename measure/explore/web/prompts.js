// What is asked: two prompts as tokens, and how the curve is measured.

import { asked, onBack } from "./asking.js";
import { button, choice, field, make, quoted } from "./dom.js";
import { change, onChange, state } from "./state.js";

const PATH = { linear: "straight line", slerp: "arc, norm evenly", arc: "arc at ‖A‖" };
const DISTANCE = { l2: "Euclidean", symmetric: "symmetric", projection: "projection on the ends' line", cosine: "cosine", kl: "KL, nats (logits)", js: "JS, bits (logits)" };
const READ = { final_norm: "final norm", residual: "before the norm", logits: "logits" };

export const readName = (read) => READ[read] || `block ${read.slice(6)}`;
export const distanceName = (distance) => DISTANCE[distance];

// The tokens of a prompt: the last is patched, a leading blank shown as an open box.
export function chips(tokens) {
  return tokens.map((token, at) => {
    const last = at === tokens.length - 1;
    const text = token.text.replace(/^ /, "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥") || "·";
    return make("li", { class: `chip${last ? " patched" : ""}${token.special ? " special" : ""}`, title: `${quoted(token.text)}, id ${token.id}` },
      make("bdi", {}, text), last ? make("span", { class: "hide" }, ", patched") : null);
  });
}

// A box to write a prompt in, its tokens below.
export function promptBox(name, key, told) {
  const area = make("textarea", { rows: 2, spellcheck: "false", autocomplete: "off", input: () => change({ [key]: area.value }) });
  const list = make("ul", { class: "chips", "aria-label": `Tokens of ${name}` });
  const count = make("span", { class: "soft small" });
  let number = 0;
  async function tell() {
    const mine = ++number;
    try {
      const [tokens] = await asked("tokens", { model: told.models.findIndex((one) => one.name === state.model), texts: [state[key]], bos: state.bos });
      if (mine !== number) return;
      list.replaceChildren(...chips(tokens));
      count.textContent = tokens.length ? `${tokens.length} token${tokens.length === 1 ? "" : "s"}; the last is ${key === "a" ? "patched" : key === "b" ? "what X goes to" : "the third point"}` : "empty";
    } catch (error) {
      if (mine !== number) return;
      list.replaceChildren();
      count.textContent = error.message;
    }
  }
  function follow(names) {
    if (names.has(key) && area.value !== state[key]) area.value = state[key];
    if ([key, "model", "bos"].some((one) => names.has(one))) tell();
  }
  onChange(follow);
  onBack(tell);
  area.value = state[key];
  tell();
  return make("div", { class: "prompt" }, make("label", {}, make("span", { class: `letter ${key}` }, name), area), list, count);
}

export function settings(holder, told) {
  const model = () => told.models.find((one) => one.name === state.model);
  const layer = make("input", { type: "range", min: 1, step: 1, input: () => change({ layer: Number(layer.value) }) });
  const shown = make("output", {});
  const bos = make("input", { type: "checkbox", change: () => change({ bos: bos.checked }) });
  const steps = make("input", { type: "number", min: 5, max: told.limits.steps, change: () => {
    change({ steps: Math.min(told.limits.steps, Math.max(5, Math.round(Number(steps.value)) || 50)) });
    steps.value = state.steps;
  } });
  const read = choice([], state.read, (value) => change({ read: value }));
  const path = choice(told.paths.map((one) => [one, PATH[one] || one]), state.path, (value) => change({ path: value }));
  const distance = choice(told.distances.map((one) => [one, DISTANCE[one] || one]), state.distance, (value) => change(["kl", "js"].includes(value) ? { distance: value, read: "logits" } : { distance: value }));
  function follow() {
    const { layers, bos: has } = model();
    layer.max = layers;
    layer.value = state.layer;
    shown.textContent = `block ${state.layer} of ${layers}`;
    layer.setAttribute("aria-valuetext", shown.textContent);
    bos.disabled = !has;
    bos.checked = state.bos && has;
    steps.value = state.steps;
    const blocks = Array.from({ length: layers - state.layer + 1 }, (_, at) => `block:${state.layer + at}`);
    const reads = [...told.reads, ...blocks];
    if (!reads.includes(state.read)) reads.push(state.read);
    read.replaceChildren(...reads.map((one) => make("option", { value: one }, readName(one))));
    read.value = state.read;
    path.value = state.path;
    distance.value = state.distance;
  }
  onChange(follow);
  follow();
  holder.append(make("h2", {}, "Prompts"), promptBox("A", "a", told), promptBox("B", "b", told),
    make("p", { class: "row" }, button("Swap A and B", () => change({ a: state.b, b: state.a })), make("label", { class: "tick" }, bos, "BOS in front")),
    make("h2", {}, "Settings"),
    make("div", { class: "layer" }, make("label", {}, make("span", {}, "Patched after"), layer), shown),
    make("div", { class: "fields" }, field("Read", read), field("Path", path), field("Distance", distance), field("Points", steps)));
}

// Why nothing can be asked yet; empty for nothing.
export function lacking() {
  if (!state.a) return "Prompt A is empty: write at least one token.";
  if (!state.b) return "Prompt B is empty: write at least one token.";
  return "";
}

export const settingsAsked = (told) => ({
  model: told.models.findIndex((one) => one.name === state.model), read: state.read, path: state.path, distance: state.distance, steps: state.steps,
  bos: state.bos && told.models.find((one) => one.name === state.model).bos,
});

export const measuredBy = ["model", "bos", "read", "path", "distance", "steps"];
export const any = (names, wanted) => wanted.some((one) => names.has(one));
