// Small multiples as SVG: on the page, and as files.

import { colour } from "./colours.js";
import { legendOf, ticksOf } from "./curves.js";
import { shape, SVG } from "./elements.js";
import { known } from "./numbers.js";
import { fitting, spelled } from "./text.js";

const PANEL = { width: 200, height: 176, left: 34, right: 6, top: 20, bottom: 22 };
export const FONT = "system-ui, 'Segoe UI', Roboto, sans-serif";

const scaleX = (value) => PANEL.left + value * (PANEL.width - PANEL.left - PANEL.right);
const scaleY = ([low, high]) => (value) =>
  PANEL.height - PANEL.bottom - ((value - low) / (high - low || 1)) * (PANEL.height - PANEL.top - PANEL.bottom);

export function words(x, y, text, attributes = {}) {
  return shape("text", { x, y, "font-family": FONT, "font-size": 11, fill: colour("soft"), ...attributes }, spelled(text));
}

// One panel: axes from 0 to 1, a dotted straight line, the curves; or a picture.
export function panelSvg(panel, { range = [0, 1], y = "d / d(1)", lines = [{ from: 0, to: 1, ink: "soft" }], first = true } = {}) {
  const drawing = shape("svg", { viewBox: `0 0 ${PANEL.width} ${PANEL.height}`, width: PANEL.width, height: PANEL.height, "aria-hidden": "true" });
  drawing.append(words(PANEL.left, 13, fitting(panel.title, 30), { fill: colour("ink"), "font-weight": 600 }));
  if (panel.image) {
    const side = PANEL.height - PANEL.top - 4;
    drawing.append(shape("image", { x: PANEL.left, y: PANEL.top, width: side, height: side, href: panel.image, "image-rendering": "pixelated" }));
    return drawing;
  }
  const up = scaleY(range);
  axes(drawing, range, up, first ? y : "");
  for (const { from, to, band, ink } of lines) if (!band) drawing.append(path([[0, up(from)], [1, up(to)]], colour(ink), [2, 3], 1));
  for (const curve of panel.curves) drawCurve(drawing, curve, up, range, panel.curves.filter((one) => !one.thin).length);
  return drawing;
}

function axes(drawing, range, up, y) {
  const line = colour("line"), [low, high] = range;
  for (const at of [0, 0.5, 1]) {
    drawing.append(shape("line", { x1: scaleX(at), x2: scaleX(at), y1: PANEL.top, y2: PANEL.height - PANEL.bottom, stroke: line }),
      words(scaleX(at), PANEL.height - 9, at === 0.5 ? "alpha" : String(at), { "text-anchor": at === 1 ? "end" : at ? "middle" : "start", "font-size": 10 }));
  }
  for (const value of ticksOf(low, high)) {
    drawing.append(shape("line", { x1: PANEL.left, x2: PANEL.width - PANEL.right, y1: up(value), y2: up(value), stroke: line }),
      words(PANEL.left - 4, up(value) + 3.5, String(+value.toPrecision(3)), { "text-anchor": "end", "font-size": 10 }));
  }
  if (y) drawing.append(words(8, (PANEL.height - PANEL.bottom + PANEL.top) / 2, y, { "font-size": 10, "text-anchor": "middle",
    transform: `rotate(-90 8 ${(PANEL.height - PANEL.bottom + PANEL.top) / 2})` }));
}

// A line through points [alpha, height on the drawing]; what is no number is left out.
function path(points, stroke, dash, width) {
  const d = points.map(([x, height], at) => `${at ? "L" : "M"}${scaleX(x).toFixed(1)} ${height.toFixed(1)}`).join("");
  return shape("path", { d, fill: "none", stroke, "stroke-width": width, "stroke-dasharray": dash.join(" ") || null, "stroke-linejoin": "round" });
}

function drawCurve(drawing, curve, up, [low, high], bands) {
  const ink = curve.look.ink(), inside = (value) => Math.min(high, Math.max(low, value));
  const points = (values) => curve.alphas.map((alpha, at) => [alpha, values[at]]).filter(([, value]) => known(value))
    .map(([alpha, value]) => [alpha, up(inside(value))]);
  if (!curve.thin && bands < 4 && curve.q25 && curve.q75) {
    const edge = [...points(curve.q25), ...points(curve.q75).reverse()];
    drawing.append(shape("path", { d: `M${edge.map(([x, height]) => `${scaleX(x).toFixed(1)} ${height.toFixed(1)}`).join("L")}Z`, fill: ink, "fill-opacity": 0.15 }));
  }
  drawing.append(path(points(curve.median), ink, curve.look.dash, curve.thin ? 0.9 : 0.9 * (curve.look.wide || 2)));
}

// ---- files of several panels

const COLUMNS = 4;

export function panelsSvg(title, panels, options = {}, keys = legendOf(panels)) {
  const columns = Math.min(COLUMNS, panels.length), rows = Math.ceil(panels.length / columns);
  const width = Math.max(420, columns * PANEL.width + 16), below = 30 + rows * PANEL.height, height = below + 16 * Math.ceil(keys.length / 2) + 8;
  const whole = shape("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  whole.append(shape("title", {}, spelled(title)), shape("rect", { width, height, fill: colour("page") }),
    words(8, 18, title, { "font-size": 13, fill: colour("ink"), "font-weight": 600 }));
  panels.forEach((panel, at) => {
    const one = panelSvg(panel, { ...options, first: at % columns === 0 });
    one.setAttribute("x", 8 + (at % columns) * PANEL.width);
    one.setAttribute("y", 28 + Math.floor(at / columns) * PANEL.height);
    whole.append(one);
  });
  keys.forEach(({ name, look }, at) => {
    const x = 8 + (at % 2) * (width / 2), y = below + 12 + 16 * Math.floor(at / 2);
    whole.append(shape("line", { x1: x, x2: x + 26, y1: y - 4, y2: y - 4, stroke: look.ink(), "stroke-width": look.thin ? 1 : look.wide || 2, "stroke-dasharray": look.dash.join(" ") || null }),
      words(x + 32, y, fitting(name, 60)));
  });
  return whole;
}
