// What is computed of curves before they are drawn: a grid for all of them, ranges, ticks, keys.

import { distinct, evenly, known, QUARTILES } from "./numbers.js";

export const alphasOf = (curve) => curve.alphas || evenly(curve.median.length);

// Curves of several lengths on the union of their alphas; where one has no point there is null, and its line goes on.
export function joined(curves) {
  const alphas = distinct(curves.flatMap((curve) => curve.alphas)).sort((a, b) => a - b);
  const place = new Map(alphas.map((alpha, at) => [alpha, at]));
  return [alphas, ...curves.flatMap((curve) => QUARTILES.map((quartile) => {
    const column = Array(alphas.length).fill(null);
    curve.alphas.forEach((alpha, at) => { column[place.get(alpha)] = curve[quartile][at]; });
    return column;
  }))];
}

export function ticksOf(low, high) {
  const steps = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1, 2, 5, 10, 50, 100, 1e3, 1e4, 1e6];
  const step = steps.find((size) => (high - low) / size <= 4) || (high - low) / 2;
  const from = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - from + 1) }, (_, at) => (from + at) * step);
}

// Each look once, by the name of its curve.
export function legendOf(panels) {
  const found = new Map();
  for (const curve of panels.flatMap((panel) => panel.curves || [])) if (curve.name && !found.has(curve.name)) found.set(curve.name, curve);
  return ranged([...found.values()]);
}

// Of many layers those drawn alike are one key: layers 6 to 10.
const MOST_KEYS = 8;

function ranged(curves) {
  const layer = ({ name }) => Number((/^layer (\d+)$/.exec(name) || [])[1]);
  const alike = ({ look }) => [look.ink(), look.dash, look.wide].join();
  if (curves.length <= MOST_KEYS) return curves;
  const kept = [];
  for (const curve of curves) {
    const last = kept[kept.length - 1];
    if (last && layer(curve) === last.to + 1 && alike(curve) === alike(last)) last.to += 1;
    else kept.push({ ...curve, from: layer(curve), to: layer(curve) });
  }
  return kept.map((curve) => (curve.to > curve.from ? { ...curve, name: `layers ${curve.from} to ${curve.to}` } : curve));
}

export const HIGHEST = 2;

export function rangeOf(panels) {
  const values = panels.flatMap((panel) => panel.curves.flatMap((curve) => curve.median)).filter(known);
  const highest = Math.max(1, ...values), lowest = Math.min(0, ...values);
  return { range: [Math.max(-0.5, lowest), Math.min(HIGHEST, highest) * 1.04], cut: highest > HIGHEST || lowest < -0.5 };
}
