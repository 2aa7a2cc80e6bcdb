// The slice through three prompts: rows as they come, a cursor that tells its cell.

import { isRunning, stop, streamed } from "./asking.js";
import { frame, words } from "./charts.js";
import { button, choice, colour, csv, fixed, known, make, quoted, saveButtons, shape } from "./dom.js";
import { any, promptBox, readName, settingsAsked } from "./prompts.js";
import { change, onChange, state } from "./state.js";

const SIZES = [16, 24, 32, 48, 64];
// Orange, yellow and blue: told apart by every eye; the closer to its reference the stronger.
const NEAREST = [[213, 94, 0], [240, 228, 66], [0, 114, 178]];

export function slicePart(holder, told) {
  const it = { told, row: 0, column: 0, plane: null, rows: 0, distance: [[], [], []], words: [], plain: true };
  it.ask = button("Measure the slice", () => (isRunning("slice") ? halt(it) : ask(it)), { class: "main" });
  it.said = make("span", { class: "soft small", role: "status" });
  it.canvas = make("canvas", { "aria-hidden": "true" });
  it.marks = shape("svg", { viewBox: "0 0 100 100", "aria-hidden": "true", class: "marks" });
  it.square = make("div", { class: "slice-plot", tabindex: 0, role: "application", "aria-roledescription": "slice", "aria-label": "Slice: arrow keys go from cell to cell", keydown: (event) => key(it, event) }, it.canvas, it.marks);
  it.readout = make("dl", { class: "facts readout", "aria-live": "polite" });
  it.size = choice(SIZES.filter((one) => one <= told.limits.cells).map((one) => [one, `${one} × ${one}`]), state.size, (value) => change({ size: Number(value) }), { "aria-label": "Cells" });
  it.tone = choice([["rgb", "red A, green B, blue C"], ["nearest", "nearest: orange A, yellow B, blue C"]], "rgb", (value) => { it.plain = value === "rgb"; paint(it); }, { "aria-label": "Colours" });
  const name = () => `slice of ${state.model} after block ${state.layer}`;
  it.body = make("div", { class: "two", hidden: true },
    make("div", { class: "framed" }, make("span", { class: "side" }, "beta, up"), make("div", { class: "square" }, it.square, make("p", { class: "ends small soft" }, make("span", {}, "−0.25"), make("span", {}, "alpha"), make("span", {}, "1.25")))),
    make("div", {}, make("p", { class: "row" }, it.tone, saveButtons("the slice", name, { csv: () => table(it), svg: () => drawing(it, name()) })), make("h3", {}, "At the cell"), it.readout));
  holder.append(make("h2", {}, "Slice through A, B and C"), make("p", { class: "small soft" }, "The plane through the states of three prompts, patched into each one's context in turn; each colour fades with the distance from its prompt's output."),
    promptBox("C", "c", told), make("p", { class: "row" }, it.size, it.ask, it.said), it.body);
  it.square.addEventListener("pointermove", (event) => point(it, event));
  onChange((names) => {
    if (any(names, ["a", "b", "c", "layer", "model", "bos", "read", "size"])) forget(it);
  });
  return it;
}

function forget(it) {
  stop("slice");
  it.plane = null;
  it.size.value = state.size;
  it.body.hidden = true;
  it.said.textContent = "";
  it.ask.textContent = "Measure the slice";
}

function halt(it) {
  stop("slice");
  it.said.textContent = `stopped at ${it.rows} rows`;
  it.ask.textContent = "Measure the slice";
}

async function ask(it) {
  const empty = ["a", "b", "c"].find((one) => !state[one]);
  if (empty) {
    it.said.textContent = `Prompt ${empty.toUpperCase()} is empty: write at least one token.`;
    return;
  }
  if (state.read.startsWith("block:")) {
    it.said.textContent = "A slice is read at the final norm, before it, or at the logits: choose one of them above.";
    return;
  }
  const { model, bos, read } = settingsAsked(it.told), began = performance.now();
  it.ask.textContent = "Stop";
  it.plane = null;
  try {
    await streamed("slice", "plane", { model, bos, read, a: state.a, b: state.b, c: state.c, layer: state.layer, size: state.size }, (event) => hear(it, event, began));
  } catch (error) {
    it.said.textContent = error.message;
  }
  if (!isRunning("slice")) it.ask.textContent = "Measure the slice";
}

function hear(it, event, began) {
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  if (event.type === "place") it.said.textContent = event.place ? `waiting: ${event.place} before this page` : "measuring";
  if (event.type === "plane") {
    Object.assign(it, { plane: event, rows: 0, words: [], distance: [[], [], []], row: 0, column: 0 });
    it.body.hidden = false;
    it.marks.replaceChildren(...event.points.map(([alpha, beta], at) => shape("text", { x: placed(it, alpha), y: 100 - placed(it, beta) }, "ABC"[at])));
  }
  if (event.type === "rows") {
    event.distance.forEach((flat, place) => it.distance[place].push(...flat));
    it.rows = it.distance[0].length / it.plane.size;
    it.said.textContent = it.rows < it.plane.size ? `${it.rows} of ${it.plane.size} rows` : `${it.plane.size} × ${it.plane.size} cells in ${seconds} s`;
    paint(it);
  }
  if (event.type === "words") {
    it.words.push(...event.words);
    tell(it);
  }
}

const placed = (it, value) => (100 * (0.5 + ((it.plane.size - 1) * (value + 0.25)) / 1.5)) / it.plane.size;

// The largest of what is there so far, the corners included: colours settle as rows come.
const largest = (it) => [0, 1, 2].map((place) => it.distance[place].reduce((most, one) => (one > most ? one : most), 1e-30));

function tone(it, at, most) {
  const near = [0, 1, 2].map((place) => 1 - it.distance[place][at] / most[place]);
  if (it.plain) return near.map((one) => Math.round(255 * one));
  const best = near.indexOf(Math.max(...near));
  return NEAREST[best].map((channel) => Math.round(255 - (255 - channel) * near[best]));
}

function paint(it) {
  if (!it.plane) return;
  const { size } = it.plane, most = largest(it), image = new ImageData(size, size);
  it.canvas.width = it.canvas.height = size;
  for (let at = 0; at < it.distance[0].length; at += 1) image.data.set([...tone(it, at, most), 255], 4 * ((size - 1 - Math.floor(at / size)) * size + (at % size)));
  it.canvas.getContext("2d").putImageData(image, 0, 0);
  tell(it);
}

function tell(it) {
  if (!it.plane) return;
  const { size, at } = it.plane, place = it.row * size + it.column, most = largest(it);
  const far = [0, 1, 2].map((one) => it.distance[one][place]);
  const rows = [["alpha", fixed(at[it.column])], ["beta", fixed(at[it.row])],
    ...["A", "B", "C"].map((name, one) => [`distance from ${name}`, known(far[one]) ? `${far[one].toPrecision(4)} (${(far[one] / most[one]).toFixed(2)} of the largest)` : "not measured yet"]),
    ["next token, in A's context", known(it.words[place]) ? make("bdi", {}, quoted(it.words[place])) : "not measured yet"]];
  it.readout.replaceChildren(...rows.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const old = it.marks.querySelector("rect");
  if (old) old.remove();
  it.marks.append(shape("rect", { x: (100 * it.column) / size, y: 100 - (100 * (it.row + 1)) / size, width: 100 / size, height: 100 / size }));
}

function point(it, event) {
  if (!it.plane) return;
  const box = it.canvas.getBoundingClientRect(), { size } = it.plane, within = (value) => Math.min(size - 1, Math.max(0, value));
  it.column = within(Math.floor((size * (event.clientX - box.left)) / box.width));
  it.row = within(size - 1 - Math.floor((size * (event.clientY - box.top)) / box.height));
  tell(it);
}

function key(it, event) {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
  if (!step || !it.plane) return;
  event.preventDefault();
  const within = (value) => Math.min(it.plane.size - 1, Math.max(0, value));
  it.row = within(it.row + step[0]);
  it.column = within(it.column + step[1]);
  tell(it);
}

function table(it) {
  const { size, at } = it.plane;
  return csv(["alpha", "beta", "distance from A", "distance from B", "distance from C", "next token in A's context"], it.distance[0].map((_, place) =>
    [at[place % size], at[Math.floor(place / size)], ...it.distance.map((side) => side[place]), known(it.words[place]) ? it.words[place] : null]));
}

function drawing(it, title) {
  const made = frame(title, 520, 580), side = 460;
  made.append(shape("image", { x: 40, y: 34, width: side, height: side, href: it.canvas.toDataURL("image/png"), "image-rendering": "pixelated" }));
  it.plane.points.forEach(([alpha, beta], at) => made.append(words(40 + (side * placed(it, alpha)) / 100, 34 + side - (side * placed(it, beta)) / 100, "ABC"[at],
    { "text-anchor": "middle", "dominant-baseline": "central", "font-size": 20, "font-weight": 700, fill: "#fff", stroke: "#000", "stroke-width": 3, "paint-order": "stroke" })));
  ["A", "B", "C"].forEach((name, at) => made.append(words(40, 530 + 16 * at, `${name}: ${quoted(state[name.toLowerCase()]).slice(0, 70)}`)));
  made.append(words(40 + side / 2, 34 + side + 18, `alpha, −0.25 to 1.25; beta up; read ${readName(state.read)}`, { "text-anchor": "middle", fill: colour("soft") }));
  return made;
}
