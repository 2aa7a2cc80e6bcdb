// Colours and dashes: which result is drawn in which.

import { distinct } from "./numbers.js";

// Steps of viridis, without its ends that are too pale on white, or too dark on black: for what has an order.
const RAMP = {
  light: ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#4fae3d"],
  dark: ["#8a6fc9", "#6f8fd0", "#4fa8c9", "#35b8ae", "#4fc98a", "#9bd93c", "#fde725"],
};
// Colours of the style sheet for what has none: kinds of pairs, what is read, what was done to the weights.
const PAIRINGS = { similar: "similar", printed_similar: "similar", dissimilar: "dissimilar", printed_dissimilar: "dissimilar" };
const READS = { final_norm: ["accent", []], residual: ["shuffled", [7, 3]], logits: ["third", [2, 3]] };
const GROUPS = {
  "norm-only null": ["soft", [1, 3]], "all weights shuffled": ["shuffled", [7, 4]], "untrained weights": ["untrained", [2, 2]],
  "later blocks shuffled": ["before", [9, 3]], "later rows shuffled": ["third", [5, 3]], "later spectrum kept": ["similar", [3, 3]],
  "later blocks Gaussian": ["dissimilar", [9, 3, 2, 3]], "later neurons permuted": ["good", [6, 2, 1, 2]],
};

const printing = () => document.documentElement.hasAttribute("data-print");
export const scheme = window.matchMedia("(prefers-color-scheme: dark)");
const dark = () => !printing() && scheme.matches;
// The style sheet's, asked for once until they change: each asking makes the browser lay the page out.
export const palette = new Map();

export function colour(name) {
  if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return palette.get(name);
}

// As on paper, whatever the page is shown in.
export function inPrint(draw) {
  const before = printing();
  document.documentElement.setAttribute("data-print", "");
  palette.clear();
  try {
    return draw();
  } finally {
    if (!before) document.documentElement.removeAttribute("data-print");
    palette.clear();
  }
}

// How a case's results are drawn: an order by a ramp, categories by hues, the paper's own pairs thin.
export function looksOf(results) {
  const trained = results.filter((result) => result.group === "trained");
  const shades = distinct(trained.map((result) => result.shade));
  const reads = distinct(trained.map((result) => result.read || "final_norm"));
  return (result) => {
    const [ink, dash] = GROUPS[result.group] || ["third", [4, 2]];
    const other = result.group !== "trained";
    const [read, stroke] = READS[result.read || "final_norm"] || ["third", [2, 3]];
    const at = shades.indexOf(result.shade);
    const step = shades.length < 2 || at < 0 ? 2 : Math.round((at * 6) / (shades.length - 1));
    const base = { dash: other ? dash : [], thin: (result.pairing || "").startsWith("printed"), key: result.series };
    // Where the hue says which pairs, how thick a line is says the order.
    const wide = shades.length > 1 && at >= 0 ? 1 + step / 5 : undefined;
    if (PAIRINGS[result.pairing]) return { ...base, wide, ink: () => colour(PAIRINGS[result.pairing]) };
    if (reads.length > 1 && shades.length < 2) return { ...base, ink: () => colour(read), dash: other ? dash : stroke };
    if (other) return { ...base, ink: () => colour(ink), ramp: at < 0 ? null : step };
    return { ...base, ink: () => ramp(step), dash: reads.length > 1 ? stroke : [], ramp: step };
  };
}

const ramp = (step) => RAMP[dark() ? "dark" : "light"][step];

export function faded(ink, share) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(ink.slice(at, at + 2), 16));
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}
