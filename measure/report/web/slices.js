// Slices to be explored: a cursor that tells its cell.

import { cellColour, cellOf, placed, unpack } from "./cells.js";
import { csv } from "./csv.js";
import { FONT, words } from "./drawing.js";
import { facts, make, shape, SVG, titled } from "./elements.js";
import { fixed } from "./numbers.js";
import { promptRows, promptsOf } from "./prompts.js";
import { saveButtons } from "./saving.js";
import { quoted } from "./text.js";

export function paintSlice(canvas, slices, cells, triple, plain) {
  const { size } = slices;
  canvas.width = canvas.height = size;
  const image = new ImageData(size, size);
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      const at = 3 * ((triple * size + row) * size + column), to = 4 * ((size - 1 - row) * size + column);
      const [red, green, blue] = cellColour(Array.from(cells.rgb.subarray(at, at + 3)), plain);
      image.data.set([red, green, blue, 255], to);
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

export function sliceExplorer(inside, entry, results) {
  const it = {
    entry, results, result: Math.max(0, results.findLastIndex((result) => result.role === "claim" && result.group === "trained")),
    triple: 0, plain: true, row: 0, column: 0, canvas: make("canvas", { "aria-hidden": "true" }),
    marks: shape("svg", { viewBox: "0 0 100 100", "aria-hidden": "true", class: "marks" }),
    readout: make("dl", { class: "facts readout", "aria-live": "polite" }), prompts: make("div", {}), low: make("span"), high: make("span"),
  };
  it.plane = make("div", { class: "slice-plot", tabindex: 0, role: "application", "aria-roledescription": "slice",
    "aria-label": `Slice of ${titled(entry)}: arrow keys go from cell to cell` }, it.canvas, it.marks);
  it.strip = results.map((result, at) => {
    const small = make("canvas", { "aria-hidden": "true" });
    const button = make("button", { type: "button", "aria-pressed": "false" }, small, result.name);
    button.addEventListener("click", () => { it.result = at; drawSlice(it); });
    return { button, small };
  });
  layOutSlices(inside, it);
  listenToCells(it);
  drawSlice(it);
}

function layOutSlices(inside, it) {
  const triples = make("select", {}, it.results[0].slices.largest.map((_, at) => make("option", { value: at }, String(at + 1))));
  const plain = make("input", { type: "checkbox" });
  triples.addEventListener("change", () => { it.triple = Number(triples.value); drawSlice(it); });
  plain.addEventListener("change", () => { it.plain = !plain.checked; drawSlice(it); });
  inside.append(make("h3", {}, "Slices"),
    make("p", { class: "small soft" }, "The plane through A, B and C; colour is 1 − d / max d: red near A, green near B, blue near C. Alpha to the right, beta up. ", saveSlice(it)),
    make("p", {}, make("label", {}, "Triple ", triples), " ", make("label", {}, plain, "nearest reference in colours that every eye tells apart: A orange, B yellow, C blue; paler farther off")),
    make("div", { class: "slices" }, make("div", {}, make("div", { class: "ends" }, make("span", {}, "beta, up")), it.plane, make("div", { class: "ends" }, it.low, "alpha", it.high)),
      make("div", {}, it.prompts, make("h4", {}, "At the cell"), it.readout)),
    make("h4", {}, "The same triple in each of the results"), make("div", { class: "strip" }, it.strip.map(({ button }) => button)));
}

// Of a counterfeit fewer triples may be there.
const hasTriple = (it, { slices }) => it.triple < slices.largest.length;

async function drawSlice(it) {
  try {
    for (const [at, { button, small }] of it.strip.entries()) {
      button.setAttribute("aria-pressed", String(at === it.result));
      button.hidden = !hasTriple(it, it.results[at]);
      if (!button.hidden) paintSlice(small, it.results[at].slices, await unpack(it.results[at].slices), it.triple, it.plain);
    }
    if (!hasTriple(it, it.results[it.result])) it.result = it.results.findIndex((result) => hasTriple(it, result));
    const { slices } = it.results[it.result];
    paintSlice(it.canvas, slices, await unpack(slices), it.triple, it.plain);
    it.low.textContent = fixed(slices.extent[0], 2);
    it.high.textContent = fixed(slices.extent[1], 2);
    it.marks.replaceChildren(...marksOf(slices, it.triple));
    tellPrompts(it);
    await tellCell(it, false);
  } catch (error) {
    it.readout.replaceChildren(make("dt", {}, "not drawn"), make("dd", {}, `this browser cannot unpack the cells (${error.name})`));
  }
}

function marksOf(slices, triple, attributes = {}) {
  return slices.points[triple].map(([alpha, beta], at) =>
    shape("text", { x: placed(slices, alpha), y: 100 - placed(slices, beta), ...attributes }, "ABC"[at]));
}

function tellPrompts(it) {
  const texts = (promptsOf(it.results[it.result]) || [])[it.triple];
  it.prompts.replaceChildren(...(texts && texts.length ? [make("h4", {}, "Prompts"), facts(promptRows(texts))] : []));
}

async function tellCell(it, moved = true) {
  const { slices } = it.results[it.result], { size } = slices;
  const found = cellOf(slices, await unpack(slices), it.triple, it.row, it.column);
  const pairs = [["alpha", fixed(found.alpha)], ["beta", fixed(found.beta)],
    ...["A", "B", "C"].map((name, place) => [`distance from ${name}`, `${found.distances[place].toPrecision(3)} (${found.shares[place].toFixed(2)} of the largest)`]),
    ["top token", make("bdi", { class: "prompt" }, quoted(found.token))]];
  it.readout.replaceChildren(...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const old = it.marks.querySelector("rect");
  if (old) old.remove();
  if (moved) it.marks.append(shape("rect", { x: (100 * it.column) / size, y: 100 - (100 * (it.row + 1)) / size, width: 100 / size, height: 100 / size }));
}

function listenToCells(it) {
  const inRange = (value) => Math.min(it.results[it.result].slices.size - 1, Math.max(0, value));
  it.plane.addEventListener("pointermove", (event) => {
    const box = it.canvas.getBoundingClientRect(), { size } = it.results[it.result].slices;
    it.column = inRange(Math.floor((size * (event.clientX - box.left)) / box.width));
    it.row = inRange(size - 1 - Math.floor((size * (event.clientY - box.top)) / box.height));
    tellCell(it);
  });
  it.plane.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    it.row = inRange(it.row + step[0]);
    it.column = inRange(it.column + step[1]);
    tellCell(it);
  });
}

// ---- slices as files

export async function slicesCsv(results, triple) {
  const rows = [];
  for (const { name, group, slices } of results) {
    const cells = await unpack(slices);
    for (let row = 0; row < slices.size; row += 1) {
      for (let column = 0; column < slices.size; column += 1) {
        const { alpha, beta, distances, token } = cellOf(slices, cells, triple, row, column);
        rows.push([name || group, triple + 1, +alpha.toFixed(5), +beta.toFixed(5), ...distances.map((distance) => +distance.toPrecision(4)), token]);
      }
    }
  }
  return csv(["result", "triple", "alpha", "beta", "distance from A", "distance from B", "distance from C", "top token"], rows);
}

function saveSlice(it) {
  return saveButtons(`Slice of ${titled(it.entry)}`, {
    csv: () => slicesCsv([it.results[it.result]], it.triple),
    svg: () => {
      const { slices, name } = it.results[it.result];
      const whole = shape("svg", { xmlns: SVG, viewBox: "-2 -8 104 116", width: 416, height: 464 });
      whole.append(shape("image", { width: 100, height: 100, href: it.canvas.toDataURL("image/png"), "image-rendering": "pixelated" }),
        words(0, -3, `${name}, triple ${it.triple + 1}`, { "font-size": 4, fill: "#000" }), words(0, 105, fixed(slices.extent[0], 2), { "font-size": 4, fill: "#000" }),
        words(50, 105, "alpha (beta up)", { "font-size": 4, fill: "#000", "text-anchor": "middle" }), words(100, 105, fixed(slices.extent[1], 2), { "font-size": 4, fill: "#000", "text-anchor": "end" }),
        ...marksOf(slices, it.triple, { "font-size": 6, "font-weight": 700, "font-family": FONT, fill: "#fff", stroke: "#000", "stroke-width": 1, "paint-order": "stroke", "text-anchor": "middle", "dominant-baseline": "central" }));
      return whole;
    },
  });
}
