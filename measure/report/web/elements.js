// Elements, and pictures of intervals. Text from the report becomes text nodes, never markup.

import { known, span } from "./numbers.js";

export const SVG = "http://www.w3.org/2000/svg";
export const MARK = {
  supported: "✓", contradicted: "✗", inconclusive: "≈", "not measured": "–", "no verdict": "–", held: "✓", broken: "✗",
  "as accepted": "✓", moved: "✗", incomplete: "✗", refused: "✗", new: "?", failed: "✗",
};
export const KIND = {
  supported: "supported", contradicted: "contradicted", inconclusive: "inconclusive", held: "good", broken: "bad",
  "as accepted": "good", moved: "bad", incomplete: "bad", refused: "bad", failed: "bad", new: "unsure",
};
export const NOT_ACCEPTED = ["moved", "incomplete", "refused", "new"];

export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (known(value)) element.setAttribute(name, value);
  }
  if (known(text)) element.textContent = text;
  return element;
}

export const titled = (entry) => entry.name || entry.subject;

export function badge(word, text) {
  return make("span", { class: `badge ${KIND[word] || "none"}` }, `${MARK[word] || "–"} ${text || word}`);
}

// On a phone each row becomes a block, its cells named by their columns; `prose`: each cell on a line of its own;
// `close-set`: columns stay columns.
export function table(caption, head, rows, kind = "") {
  const titles = head.map((title) => make("th", { scope: "col" }, title));
  const lines = rows.map((cells) => make("tr", {}, cells.map((cell, place) =>
    place ? make("td", { class: /^[+−\d]/.test(cell) ? "number" : null, "data-label": head[place] }, cell) : make("th", { scope: "row" }, cell))));
  const whole = make("table", { class: kind === "close-set" ? kind : `stacked ${kind}` }, make("caption", {}, caption),
    make("thead", {}, make("tr", {}, titles)), make("tbody", {}, lines));
  return scroll(caption, whole);
}

// What is too wide scrolls by itself, and can then be reached by the keyboard.
const overflow = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const wide = target.scrollWidth > target.clientWidth;
  for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", target.label]]) {
    if (wide) target.setAttribute(name, value); else target.removeAttribute(name);
  }
}));

export function scroll(label, whole) {
  const around = make("div", { class: "scroll" }, whole);
  around.label = label;
  overflow.observe(around);
  return around;
}

// An estimate with its interval on a scale shared by its table; `margin` is where the interval must lie beyond.
export function whisker(entry, [low, high], margin) {
  const place = (value) => (100 * (value - low)) / (high - low || 1);
  const drawing = shape("svg", { class: "whisker", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
  const upright = (at, kind) => drawing.append(shape("line", {
    x1: place(at), x2: place(at), y1: 0, y2: 12, class: kind, "vector-effect": "non-scaling-stroke" }));
  const level = (from, to, kind) => drawing.append(shape("line", {
    x1: place(from), x2: place(to), y1: 6, y2: 6, class: kind, "vector-effect": "non-scaling-stroke" }));
  if (known(margin)) {
    upright(0, "zero");
    if (margin) upright(margin, "margin");
  }
  if (known(entry.q25)) level(entry.q25, entry.q75, "thin");
  if (known(entry.low)) level(entry.low, entry.high, "thick");
  const middle = known(entry.estimate) ? entry.estimate : entry.median;
  if (known(middle)) drawing.append(shape("rect", { x: place(middle) - 0.8, y: 3, width: 1.6, height: 6, class: "point" }));
  return drawing;
}

// Each on a scale of its own: effects of one verdict differ in unit.
export function effectWhisker(effect) {
  return whisker(effect, span([0, effect.margin, effect.low, effect.high, effect.estimate]), effect.margin);
}

export function facts(pairs, classes = "") {
  return make("dl", { class: `facts ${classes}` }, pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
}
