// What is drawn again when the colours or the width change.

import { palette, scheme } from "./colours.js";
import { shape } from "./elements.js";
import { work } from "./queue.js";

export function swatch(look) {
  const drawing = shape("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" });
  const line = shape("line", { x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": look.thin ? 1.5 : 1.5 * (look.wide || 2), "stroke-dasharray": look.dash.join(" ") });
  drawing.append(line);
  painted(drawing, () => line.setAttribute("stroke", look.ink()));
  return drawing;
}

export const plots = new Map();
const repaints = [];

// Paints now, and again as long as `element` stands in the page.
export function painted(element, paint) {
  paint();
  repaints.push({ element, paint });
}

function repaint() {
  palette.clear();
  const left = repaints.filter(({ element }) => element.isConnected);
  repaints.splice(0, repaints.length, ...left);
  for (const { paint } of left) paint();
  for (const plot of plots.values()) plot.redraw(false, true);
}

scheme.addEventListener("change", repaint);
window.addEventListener("beforeprint", () => { work(Infinity); document.documentElement.setAttribute("data-print", ""); repaint(); });
window.addEventListener("afterprint", () => { document.documentElement.removeAttribute("data-print"); repaint(); });
