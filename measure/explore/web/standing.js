// Where the pair stands among random pairs of the corpus that comes with the package.

import { isRunning, stop, streamed } from "./asking.js";
import { frame, ticks, words } from "./charts.js";
import { button, choice, colour, csv, fixed, known, make, plural, saveButtons, scheme, shape } from "./dom.js";
import { current, onCurve, tellMetrics } from "./curve.js";
import { any, measuredBy, settingsAsked } from "./prompts.js";
import { change, onChange, state } from "./state.js";

const WIDTH = 640, HEIGHT = 210;

export function standingPart(holder, told, curve) {
  const it = { told, curve, found: {}, of: 0 };
  it.ask = button("Measure 200 random pairs", () => (isRunning("standing") ? halt(it) : ask(it)), { class: "main" });
  it.said = make("span", { class: "soft small", role: "status" });
  it.metric = choice(told.metrics.map((one) => [one.name, one.label]), state.metric, (value) => change({ metric: value }), { "aria-label": "Metric among random pairs" });
  it.drawn = make("div", { class: "drawn" });
  it.words = make("p", {});
  const name = () => `${state.metric} among random pairs, ${state.model} after block ${state.layer}`;
  it.body = make("div", { hidden: true }, make("p", { class: "row" }, it.metric, saveButtons("the random pairs", name, { csv: () => table(it), svg: () => histogram(it, name()) })), it.words, it.drawn);
  holder.append(make("h2", {}, "Among random pairs"),
    make("p", { class: "small soft" }, "Windows of 10 tokens of the English prose that comes with the package, no two pairs with a prompt in common, measured as the curve above is."),
    make("p", { class: "row" }, it.ask, it.said), it.body);
  onChange((names) => {
    if (any(names, ["layer", ...measuredBy])) forget(it);
    else if (any(names, ["metric"])) show(it);
  });
  onCurve(() => show(it));
  scheme.addEventListener("change", () => show(it));
  return it;
}

function forget(it) {
  stop("standing");
  it.found = {};
  it.curve.ranks = null;
  it.body.hidden = true;
  it.said.textContent = "";
  it.ask.textContent = "Measure 200 random pairs";
}

function halt(it) {
  stop("standing");
  it.ask.textContent = "Go on";
}

async function ask(it) {
  it.found = {};
  it.ask.textContent = "Stop";
  it.said.textContent = "drawing the pairs";
  try {
    await streamed("standing", "standing", { ...settingsAsked(it.told), layer: state.layer, count: 200 }, (event) => {
      if (event.type === "place" && event.place) it.said.textContent = `waiting: ${event.place} before this page`;
      if (event.type !== "standing") return;
      for (const [name, values] of Object.entries(event.more)) (it.found[name] ||= []).push(...values);
      it.of = event.of;
      it.said.textContent = `${it.found.max_slope.length} of ${event.of}`;
      show(it);
    });
  } catch (error) {
    it.said.textContent = error.message;
  }
  if (!isRunning("standing")) it.ask.textContent = it.found.max_slope && it.found.max_slope.length < it.of ? "Go on" : "Measure 200 random pairs";
}

const others = (it, name) => (it.found[name] || []).map(([own]) => own).filter(known);

function show(it) {
  const values = others(it, state.metric).sort((one, other) => one - other);
  if (!values.length) return;
  it.body.hidden = false;
  it.metric.value = state.metric;
  const about = it.told.metrics.find((one) => one.name === state.metric), own = current.curve && current.curve.metrics[state.metric][0];
  if (current.curve) {
    it.curve.ranks = Object.fromEntries(it.told.metrics.map(({ name }) => {
      const all = others(it, name), mine = current.curve.metrics[name][0];
      return [name, known(mine) && all.length ? all.filter((one) => one < mine).length / all.length : null];
    }));
    tellMetrics(it.curve);
  }
  const middle = values[Math.floor(values.length / 2)], gone = it.found.max_slope.length - values.length;
  const less = known(own) ? values.filter((one) => one < own).length : 0;
  it.words.textContent = `${known(own) ? `This pair's ${about.label} is ${fixed(own)}: ${less} of ${plural(values.length, "random pair")} have less` : "This pair has none"}; their median is ${fixed(middle)}.${gone ? ` ${plural(gone, "pair")} without this metric left out.` : ""}`;
  it.drawn.replaceChildren(histogram(it, ""));
}

function histogram(it, title) {
  const values = others(it, state.metric), about = it.told.metrics.find((one) => one.name === state.metric);
  const own = current.curve && current.curve.metrics[state.metric][0];
  const every = [...values, ...(known(own) ? [own] : [])], room = 1e-9 + 0.02 * (Math.max(...every) - Math.min(...every));
  const low = Math.min(...every) - room, high = Math.max(...every) + room, bins = 32, counts = Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor((bins * (value - low)) / (high - low)))] += 1;
  const drawing = title ? frame(title, WIDTH, HEIGHT) : shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": it.words.textContent });
  const across = (value) => 20 + ((value - low) / (high - low)) * (WIDTH - 40), bottom = HEIGHT - 40, top = 48, most = Math.max(...counts);
  counts.forEach((count, at) => {
    const left = 20 + (at * (WIDTH - 40)) / bins;
    if (count) drawing.append(shape("rect", { x: left + 0.5, y: bottom - (count / most) * (bottom - top), width: (WIDTH - 40) / bins - 1, height: (count / most) * (bottom - top), fill: colour("soft"), "fill-opacity": 0.55 }));
  });
  drawing.append(shape("line", { x1: 20, x2: WIDTH - 20, y1: bottom, y2: bottom, stroke: colour("line") }));
  for (const value of ticks(low, high, 8)) drawing.append(words(across(value), bottom + 16, String(value), { "text-anchor": "middle", fill: colour("soft") }));
  drawing.append(words(WIDTH / 2, HEIGHT - 6, `${about.label} of ${plural(values.length, "random pair")}`, { "text-anchor": "middle", fill: colour("soft") }));
  if (known(own)) {
    const x = across(own);
    drawing.append(shape("line", { x1: x, x2: x, y1: 40, y2: bottom, stroke: colour("accent"), "stroke-width": 2.5 }), words(x, 36, "this pair", { "text-anchor": x > WIDTH - 80 ? "end" : x < 80 ? "start" : "middle", fill: colour("accent"), "font-weight": 600 }));
  }
  return drawing;
}

function table(it) {
  const names = it.told.metrics.map((one) => one.name), own = current.curve && current.curve.metrics;
  const rows = it.found.max_slope.map((_, at) => [`random ${at + 1}`, ...names.flatMap((name) => it.found[name][at])]);
  return csv(["pair", ...names.flatMap((name) => [name, `null ${name}`])], [...(own ? [["this pair", ...names.flatMap((name) => own[name])]] : []), ...rows]);
}
