// Numbers and curves as CSV.

import { known, QUARTILES } from "./numbers.js";

// Text that a spreadsheet would take for a formula is told to be text.
function cell(value) {
  if (!known(value)) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csv = (head, rows) => [head, ...rows].map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";

export function curvesCsv(curves, y) {
  const rows = curves.flatMap((curve) => curve.alphas.map((alpha, at) =>
    [curve.panel, curve.name, alpha, ...QUARTILES.map((quartile) => (curve[quartile] ? curve[quartile][at] : null))].filter((value) => value !== undefined)));
  const panels = curves.some((curve) => curve.panel !== undefined);
  return csv([...(panels ? ["panel"] : []), "curve", "alpha", ...QUARTILES.map((quartile) => `${quartile} of ${y}`)], rows);
}

export function fileName(label, ending) {
  return `${label.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 100) || "chart"}.${ending}`;
}
