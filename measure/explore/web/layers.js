// All layers: a row a layer, alpha to the right; a metric along the layers below.

import { isRunning, stop, streamed } from "./asking.js";
import { Chart, frame, words } from "./charts.js";
import { button, choice, colour, csv, fixed, known, make, saveButtons, scheme, shape } from "./dom.js";
import { any, lacking, measuredBy, settingsAsked } from "./prompts.js";
import { change, onChange, state } from "./state.js";
import { say } from "./status.js";

// Viridis, in seven steps.
const RAMP = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [110, 206, 88], [253, 231, 37]];
const QUANTITY = { relative: "relative distance d / d(1)", speed: "speed over its mean" };

export function shade(share) {
  const at = Math.min(1, Math.max(0, share)) * (RAMP.length - 1), low = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[low].map((one, channel) => Math.round(one + (RAMP[low + 1][channel] - one) * (at - low)));
}

export function layersPart(holder, told) {
  const it = { told, found: new Map(), row: 1, column: 0 };
  it.ask = button("Measure all layers", () => (isRunning("layers") ? halt(it) : ask(it)), { class: "main" });
  it.said = make("span", { class: "soft small", role: "status" });
  it.canvas = make("canvas", { "aria-hidden": "true" });
  it.plane = make("div", { class: "heat", tabindex: 0, role: "application", "aria-roledescription": "heat map", "aria-label": "All layers: arrow keys go from cell to cell, Enter takes the layer", keydown: (event) => key(it, event) }, it.canvas);
  it.readout = make("p", { class: "small where", "aria-live": "polite" }, "Not measured yet.");
  it.quantity = choice(Object.entries(QUANTITY), state.quantity, (value) => change({ quantity: value }), { "aria-label": "Shown in the heat map" });
  it.metric = choice(told.metrics.map((one) => [one.name, one.label]), state.metric, (value) => change({ metric: value }), { "aria-label": "Metric along the layers" });
  it.deepest = make("span", {});
  it.scale = make("p", { class: "scale small soft" });
  it.along = make("div", { class: "chart" });
  const name = () => `${QUANTITY[state.quantity]} in all layers of ${state.model}`;
  it.body = make("div", { class: "two", hidden: true }, make("div", {}, make("p", { class: "row" }, it.quantity, saveButtons("the heat map", name, { csv: () => heatCsv(it), svg: () => heatSvg(it, name()) })),
    make("div", { class: "framed" }, make("span", { class: "side" }, it.deepest, make("span", {}, "patched after block"), make("span", {}, "1")), it.plane), make("p", { class: "ends small soft" }, make("span", {}, "alpha 0"), make("span", {}, "1")), it.scale, it.readout),
  make("div", {}, make("p", { class: "row" }, it.metric), it.along));
  holder.append(make("h2", {}, "All layers"), make("p", { class: "row" }, it.ask, it.said), it.body);
  it.plane.addEventListener("pointermove", (event) => point(it, event));
  it.plane.addEventListener("click", () => take(it));
  scheme.addEventListener("change", () => draw(it));
  onChange((names) => {
    if (any(names, ["a", "b", ...measuredBy])) forget(it);
    else if (any(names, ["quantity", "metric", "layer"])) draw(it);
  });
  return it;
}

const depth = (it) => it.told.models.find((one) => one.name === state.model).layers;

function forget(it) {
  stop("layers");
  it.found.clear();
  it.body.hidden = true;
  it.ask.textContent = "Measure all layers";
  it.said.textContent = "";
}

function halt(it) {
  stop("layers");
  it.ask.textContent = "Measure all layers";
  it.said.textContent = `stopped at ${it.found.size} of ${depth(it)}`;
}

// The layer that is looked at first, then its neighbours; what a block before the patch cannot read is left out.
export function order(it) {
  const last = state.read.startsWith("block:") ? Number(state.read.slice(6)) : depth(it);
  const every = Array.from({ length: last }, (_, at) => at + 1);
  return every.sort((one, other) => Math.abs(one - state.layer) - Math.abs(other - state.layer));
}

async function ask(it) {
  if (lacking()) return;
  it.found.clear();
  it.ask.textContent = "Stop";
  it.body.hidden = false;
  const wanted = order(it), began = performance.now();
  try {
    const whole = await streamed("layers", "curves", { ...settingsAsked(it.told), pairs: [[state.a, state.b]], layers: wanted, channel: "layers" }, (event) => {
      if (event.type === "place") it.said.textContent = event.place ? `waiting: ${event.place} before this page` : "measuring";
      if (event.type !== "curve") return;
      it.found.set(event.layer, event);
      it.said.textContent = `${it.found.size} of ${wanted.length}`;
      draw(it);
    });
    if (whole) it.said.textContent = `${wanted.length} layers in ${((performance.now() - began) / 1000).toFixed(1)} s`;
  } catch (error) {
    it.said.textContent = error.message;
    say("");
  }
  if (!isRunning("layers")) it.ask.textContent = "Measure all layers";
}

const valuesOf = (event) => (state.quantity === "speed" ? event.speed : event.relative);

function scaleOf(it) {
  const values = [...it.found.values()].flatMap(valuesOf).filter(known);
  const top = values.reduce((one, other) => Math.max(one, other), 1);
  return [0, state.quantity === "speed" ? Math.min(top, 8) : Math.min(top, 1.5)];
}

function paint(it, canvas) {
  const columns = valuesOf([...it.found.values()][0]).length, rows = depth(it), [low, high] = scaleOf(it);
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (const [layer, event] of it.found) {
    valuesOf(event).forEach((value, column) => {
      if (known(value)) image.data.set([...shade((value - low) / (high - low)), 255], 4 * ((layer - 1) * columns + column));
    });
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return { columns, rows, low, high };
}

function draw(it) {
  if (!it.found.size) return;
  it.quantity.value = state.quantity;
  it.metric.value = state.metric;
  const { rows, low, high } = paint(it, it.canvas);
  it.plane.style.setProperty("--rows", rows);
  it.deepest.textContent = rows;
  it.plane.style.setProperty("--at", state.layer - 1);
  it.scale.replaceChildren(`${fixed(low, 1)} `, make("span", { class: "ramp", "aria-hidden": "true" }), ` ${fixed(high, 1)}${state.quantity === "speed" || high > 1 ? "; what is more is drawn as this" : ""}; transparent: not defined`);
  tell(it);
  const layers = [...it.found.keys()].sort((one, other) => one - other), about = it.told.metrics.find((one) => one.name === state.metric);
  it.chart ||= new Chart(it.along, { label: "A metric along the layers", height: 300, y: "", x: { label: "patched after block", whole: true, read: (layer) => `after block ${layer}` }, name: () => `${state.metric} by layer, ${state.model}` });
  it.chart.y = about.label;
  it.chart.x.ends = [1, rows];
  if (it.shown !== state.metric) it.chart.series = [];
  it.shown = state.metric;
  const column = (side) => layers.map((layer) => it.found.get(layer).metrics[state.metric][side]);
  it.chart.draw([{ name: about.label, x: layers, y: column(0), ink: "accent", width: 2.5 }, { name: "of the norm-only null", x: layers, y: column(1), ink: "soft", dash: [2, 3] }]);
}

function point(it, event) {
  if (!it.found.size) return;
  const box = it.canvas.getBoundingClientRect();
  const within = (value, most) => Math.min(most, Math.max(0, value));
  it.row = 1 + within(Math.floor((depth(it) * (event.clientY - box.top)) / box.height), depth(it) - 1);
  it.column = within(Math.floor((it.canvas.width * (event.clientX - box.left)) / box.width), it.canvas.width - 1);
  tell(it);
}

function key(it, event) {
  if (!it.found.size) return;
  if (event.key === "Enter") return take(it);
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-5, 0], PageDown: [5, 0], Home: [0, -1000], End: [0, 1000] }[event.key];
  if (!step) return undefined;
  event.preventDefault();
  it.row = Math.min(depth(it), Math.max(1, it.row + step[0]));
  it.column = Math.min(it.canvas.width - 1, Math.max(0, it.column + step[1]));
  return tell(it);
}

function take(it) {
  if (it.found.has(it.row)) change({ layer: it.row });
}

function tell(it) {
  const event = it.found.get(it.row);
  if (!event) {
    it.readout.textContent = `after block ${it.row}: not measured yet`;
    return;
  }
  const values = valuesOf(event), column = Math.min(it.column, values.length - 1);
  const alpha = state.quantity === "speed" ? (event.alphas[column] + event.alphas[column + 1]) / 2 : event.alphas[column];
  it.readout.textContent = `after block ${it.row}, alpha ${alpha.toFixed(3)}: ${fixed(values[column])}. Click, or Enter, takes the layer.`;
}

function heatCsv(it) {
  const rows = [...it.found].sort(([one], [other]) => one - other).flatMap(([layer, event]) => event.alphas.map((alpha, at) =>
    [layer, alpha, event.distance[at], event.relative[at], event.null[at], at ? event.speed[at - 1] : null]));
  return csv(["layer", "alpha", "distance", "relative", "null relative", "speed of the step before"], rows);
}

function heatSvg(it, title) {
  const canvas = make("canvas", {}), { rows, low, high } = paint(it, canvas);
  const width = 640, left = 64, right = 620, top = 34, bottom = top + Math.max(160, 12 * rows), drawing = frame(title, width, bottom + 64);
  drawing.append(shape("image", { x: left, y: top, width: right - left, height: bottom - top, href: canvas.toDataURL("image/png"), preserveAspectRatio: "none", "image-rendering": "pixelated" }));
  const every = Math.ceil(rows / 15), up = (layer) => top + ((layer - 0.5) / rows) * (bottom - top) + 4;
  for (let layer = 1; layer <= rows; layer += every) drawing.append(words(left - 6, up(layer), String(layer), { "text-anchor": "end", fill: colour("soft") }));
  for (const alpha of [0, 0.5, 1]) drawing.append(words(left + alpha * (right - left), bottom + 16, alpha === 0.5 ? "alpha" : String(alpha), { "text-anchor": "middle", fill: colour("soft") }));
  drawing.append(words(16, (top + bottom) / 2, "patched after block", { "text-anchor": "middle", fill: colour("soft"), transform: `rotate(-90 16 ${(top + bottom) / 2})` }));
  for (let at = 0; at < 60; at += 1) drawing.append(shape("rect", { x: left + 40 + 3 * at, y: bottom + 30, width: 3.5, height: 10, fill: `rgb(${shade(at / 59).join(",")})` }));
  drawing.append(words(left, bottom + 40, fixed(low, 1)), words(left + 230, bottom + 40, fixed(high, 1)));
  return drawing;
}

