// What earlier runs found of a case.

import { colour, inPrint } from "./colours.js";
import { csv } from "./csv.js";
import { make, shape, SVG, titled } from "./elements.js";
import { distinct, known, plural, signed, span } from "./numbers.js";
import { painted } from "./painting.js";
import { report } from "./report.js";
import { saveButtons } from "./saving.js";

export function historyStrip(entry) {
  if (!entry.history) return null;
  const label = `Earlier runs of ${titled(entry)}`;
  const holder = make("div", { class: "history", role: "img", "aria-label": historyText(entry.history) });
  painted(holder, () => holder.replaceChildren(stripSvg(entry.history)));
  const head = ["started", "outcome", "estimate", "low", "high", "margin", "n", "code", "records"];
  const rows = () => entry.history.map(([run, outcome, ...rest]) => {
    const [started, hash, records] = report.runs[run];
    return [started, outcome, ...rest.slice(0, 5), hash, records];
  });
  return make("div", {}, holder, make("p", { class: "small soft" }, historyText(entry.history), " ", saveButtons(label, {
    csv: () => csv(head, rows()), svg: () => inPrint(() => stripSvg(entry.history)) })));
}

// Whether a run stood otherwise than before; of the first one shown nothing is known.
function turned(history, at) {
  return at > 0 && history[at][7];
}

export function historyText(history) {
  const counts = distinct(history.map(([, outcome]) => outcome)).map((word) => `${word} in ${history.filter(([, other]) => other === word).length}`);
  const [at, before] = [0, 1].map((back) => history[history.findLastIndex((_, place) => turned(history, place)) - back]);
  const told = ([run, outcome, estimate]) => `${signed(estimate)} ${outcome}${report.runs[run][1] ? ` by code ${report.runs[run][1]}` : ""}`;
  const last = before ? `last changed on ${report.runs[at[0]][0]}, from ${told(before)} to ${told(at)}.` : history.length > 1 ? "never changed." : "";
  return `${plural(history.length, "run")} since ${report.runs[history[0][0]][0]}: ${counts.join(", ")}; ${last}`;
}

const OUTCOME_INK = { supported: "good", contradicted: "bad", failed: "bad", inconclusive: "unsure" };

function stripSvg(history) {
  const width = 640, height = 60;
  const values = history.flatMap(([, , estimate, low, high, margin]) => [estimate, low, high, margin]).filter(known);
  const [low, high] = span(values.length ? values : [0, 1]);
  const up = (value) => height - 4 - ((value - low) / (high - low || 1)) * (height - 8);
  const along = (at) => width - 10 - (history.length - 1 - at) * Math.min(36, (width - 20) / Math.max(1, history.length - 1));
  const drawing = shape("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  const line = (attributes, ink, wide = 1) => drawing.append(shape("line", { stroke: colour(ink), "stroke-width": wide, ...attributes }));
  if (low < 0 && high > 0) line({ x1: 0, x2: width, y1: up(0), y2: up(0) }, "line");
  const margin = history.at(-1)[5];
  if (known(margin)) line({ x1: 0, x2: width, y1: up(margin), y2: up(margin), "stroke-dasharray": "4 3" }, "unsure");
  history.forEach(([, outcome, estimate, from, to], at) => {
    const ink = OUTCOME_INK[outcome] || "none", x = along(at);
    if (turned(history, at)) line({ x1: x - 6, x2: x - 6, y1: 0, y2: height, "stroke-dasharray": "2 2" }, "ink");
    if (known(from) && known(to)) line({ x1: x, x2: x, y1: up(from), y2: up(to) }, ink, 2);
    const y = known(estimate) ? up(estimate) : height - 6;
    drawing.append(shape("rect", { x: x - 4, y: y - 4, width: 8, height: 8, fill: known(estimate) ? colour(ink) : "none", stroke: colour(ink), transform: outcome === "supported" ? `rotate(45 ${x} ${y})` : null }));
  });
  return drawing;
}
