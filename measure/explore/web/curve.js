// The curve of the two prompts, its null, its speed, its metrics, what is predicted along it; others laid over it.

import { onBack, streamed, stop } from "./asking.js";
import { Chart } from "./charts.js";
import { fixed, known, make, quoted } from "./dom.js";
import { any, distanceName, lacking, measuredBy, readName, settingsAsked } from "./prompts.js";
import { onChange, state } from "./state.js";
import { say } from "./status.js";

const OVERLAID = ["third", "before", "similar", "shuffled", "good", "dissimilar", "bad", "untrained"];
const alphaAxis = { label: "alpha", ends: [0, 1], read: (alpha) => `alpha ${alpha.toFixed(3)}` };
const heard = [];
export const current = { curve: null };

export function onCurve(hear) {
  heard.push(hear);
}

export function curvePart(holder, told) {
  const it = { told, curve: null, tops: null, overlays: new Map(), alpha: 0 };
  it.said = make("p", { id: "said" });
  it.distance = make("div", { class: "chart" });
  it.speed = make("div", { class: "chart" });
  it.words = make("div", { id: "words" });
  it.metrics = make("table", { class: "metrics" });
  holder.append(make("h2", {}, "Curve"), it.said, make("div", { class: "two" }, make("div", {}, it.distance, it.words, it.speed), make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Metrics of the curve" }, it.metrics)));
  const name = (what) => () => `${what} ${state.model} after block ${state.layer}`;
  it.far = new Chart(it.distance, { label: "Relative distance", x: alphaAxis, y: "d / d(1)", least: [0, 1], name: name("relative distance"), onPlace: (at) => tellWords(it, at) });
  it.fast = new Chart(it.speed, { label: "Speed of the output", x: alphaAxis, y: "speed / mean", height: 190, least: [0, 1], name: name("speed") });
  it.far.draw([]);
  it.fast.draw([]);
  let timer = 0;
  onChange((names) => {
    if (any(names, ["a", "b", "layer", ...measuredBy])) {
      clearTimeout(timer);
      timer = setTimeout(() => ask(it), 25);
    }
    if (any(names, ["pairs", "layer", ...measuredBy])) overlay(it);
  });
  onBack(() => {
    it.overlaid = "";
    ask(it);
    overlay(it);
  });
  ask(it);
  overlay(it);
  return it;
}

async function ask(it) {
  stop("tops");
  const why = lacking();
  if (why) {
    stop("curve");
    it.curve = current.curve = null;
    it.said.textContent = why;
    return say("");
  }
  const { a, b, layer } = state;
  it.said.classList.add("old");
  try {
    const whole = await streamed("curve", "curves", { ...settingsAsked(it.told), pairs: [[a, b]], layers: [layer], channel: "curve" }, (event) => {
      if (event.type === "place") return say(event.place ? `waiting: ${event.place} other page${event.place === 1 ? "" : "s"} before this one` : "measuring");
      if (event.type !== "curve") return undefined;
      it.curve = current.curve = event;
      it.tops = null;
      show(it);
      return say(`measured in ${event.seconds.toFixed(2)} s`);
    });
    if (whole) await askTops(it, { a, b, layer });
  } catch (error) {
    it.said.classList.remove("old");
    it.said.textContent = error.message;
    say("");
  }
}

async function askTops(it, pair) {
  if (!it.curve || it.curve.degenerate) return;
  const settings = settingsAsked(it.told);
  await streamed("tops", "tops", { ...settings, ...pair }, (event) => {
    if (event.type !== "tops") return;
    it.tops = event;
    tellTops(it);
  });
}

async function overlay(it) {
  const chosen = state.pairs.filter((one) => one.show);
  const name = (at) => chosen[at].label || `pair ${state.pairs.indexOf(chosen[at]) + 1}`;
  const wanted = JSON.stringify([settingsAsked(it.told), state.layer, chosen.map((one) => [one.a, one.b])]);
  if (it.overlaid === wanted) {
    // Called anew at most.
    for (const [at, one] of it.overlays) one.name = name(at);
    if (it.curve && it.overlays.size) show(it);
    return;
  }
  it.overlaid = wanted;
  stop("overlay");
  it.overlays.clear();
  if (it.curve) show(it);
  if (!chosen.length) return;
  try {
    await streamed("overlay", "curves", { ...settingsAsked(it.told), pairs: chosen.map((one) => [one.a, one.b]), layers: [state.layer], channel: "overlay" }, (event) => {
      if (event.type !== "curve") return;
      it.overlays.set(event.pair, { ...event, name: name(event.pair) });
      if (it.curve) show(it);
    });
  } catch (error) {
    say(error.message);
  }
}

export const middles = (alphas) => alphas.slice(1).map((alpha, at) => (alpha + alphas[at]) / 2);

function show(it) {
  const { curve } = it;
  document.documentElement.setAttribute("data-curve", String(Number(document.documentElement.getAttribute("data-curve") || 0) + 1));
  it.said.classList.remove("old");
  it.said.textContent = summary(curve);
  const over = [...it.overlays.values()].filter((one) => one.alphas.length === curve.alphas.length);
  const looks = over.map((one, at) => ({ name: one.name, ink: OVERLAID[at % OVERLAID.length], dash: at >= OVERLAID.length ? [5, 3] : [], width: 1.6 }));
  const x = curve.alphas;
  it.far.draw([{ name: "A to B", x, y: curve.relative, ink: "accent", width: 2.5 }, { name: "its norm-only null", x, y: curve.null, ink: "soft", dash: [2, 3], width: 1.6 },
    ...over.map((one, at) => ({ ...looks[at], x, y: one.relative }))]);
  const middle = middles(x);
  it.fast.draw([{ name: "A to B", x: middle, y: curve.speed, ink: "accent", width: 2.5 }, { name: "its norm-only null", x: middle, y: curve.null_speed, ink: "soft", dash: [2, 3], width: 1.6 },
    ...over.map((one, at) => ({ ...looks[at], x: middle, y: one.speed }))]);
  tellMetrics(it);
  tellTops(it);
  for (const hear of heard) hear(curve);
}

function summary(curve) {
  if (state.a === state.b) return "A and B are one prompt: nothing moves between them, so there is no curve.";
  if (curve.degenerate) return "Both ends give the same output here, so there is no relative distance: take an earlier layer, or prompts that differ more.";
  const way = curve.way && curve.way !== "fast" ? "; by the slow reference path" : "";
  return `After block ${curve.layer}, read at ${readName(state.read)}, ${distanceName(state.distance)}: d(1) = ${Number(curve.distance.at(-1)).toPrecision(4)}, ${curve.tokens.join(" and ")} tokens${way}.`;
}

// `ranks`: by metric, what share of random pairs lies below; set by the part on random pairs.
export function tellMetrics(it) {
  if (!it.curve) return;
  const ranks = it.ranks || {};
  const head = ["metric", "this", "null", "straight"].map((one) => make("th", { scope: "col" }, one));
  if (it.ranks) head.push(make("th", { scope: "col" }, "rank"));
  const rows = it.told.metrics.map((one) => {
    const [own, none] = it.curve.metrics[one.name];
    const cells = [own, none, one.straight].map((value) => make("td", {}, known(value) ? fixed(value) : "–"));
    if (it.ranks) cells.push(make("td", {}, known(ranks[one.name]) ? `${Math.round(100 * ranks[one.name])} %` : "–"));
    return make("tr", {}, make("th", { scope: "row", title: `${one.formula}. ${one.blind ? `Blind to: ${one.blind}` : ""}` }, one.label), cells);
  });
  it.metrics.replaceChildren(make("caption", {}, it.ranks ? "Metrics; rank: share of random pairs with less" : "Metrics"), make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
}

// Stretches of the way on which one token is the most probable.
export function stretches(tops) {
  const found = [];
  tops.ids.forEach((row, at) => {
    if (found.length && found.at(-1).id === row[0]) found.at(-1).to = at;
    else found.push({ id: row[0], text: tops.texts[at][0], from: at, to: at });
  });
  return found;
}

function tellTops(it) {
  if (!it.tops || !it.curve) {
    it.words.replaceChildren(make("p", { class: "small soft" }, it.curve && !it.curve.degenerate ? "Predictions along the way are being measured." : ""));
    return;
  }
  const last = it.tops.ids.length - 1, alphas = it.curve.alphas;
  const parts = stretches(it.tops);
  const inks = new Map();
  for (const { id } of parts) if (!inks.has(id)) inks.set(id, inks.size % 6);
  const strip = make("ol", { class: "strip", "aria-label": "Most probable next token along the way" }, parts.map((part) => {
    const item = make("li", { class: `tone${inks.get(part.id)}`, title: `${quoted(part.text)}, alpha ${fixed(alphas[part.from], 2)} to ${fixed(alphas[part.to], 2)}` }, make("bdi", {}, quoted(part.text)),
      make("span", { class: "hide" }, ` from alpha ${fixed(alphas[part.from], 2)} to ${fixed(alphas[part.to], 2)}`));
    item.style.flexGrow = String(Math.max(part.to - part.from + 1, 1) / (last + 1));
    return item;
  }));
  it.probable = make("p", { class: "small" });
  it.words.replaceChildren(make("h3", {}, "Most probable next token along the way"), strip, it.probable);
  tellWords(it, it.far.at);
}

function tellWords(it, at) {
  if (!it.tops || !it.probable || !it.curve || at >= it.tops.texts.length) return;
  const said = it.tops.texts[at].map((text, place) => `${quoted(text)} ${(100 * it.tops.shares[at][place]).toFixed(1)} %`);
  it.probable.replaceChildren(`At alpha ${it.curve.alphas[at].toFixed(3)}: `, make("bdi", {}, said.join(", ")));
}
