// Metrics as tables, and where the numbers come from.

import { facts, make, table, whisker } from "./elements.js";
import { distinct, fixed, known, QUARTILES, span } from "./numbers.js";
import { report } from "./report.js";

const FIRST = ["max_slope", "edge_speed", "two_sided_drift", "solid_share", "boundary_width"];

function called(name) {
  return report.metrics[name] ? report.metrics[name].label : name.replaceAll("_", " ");
}

export function metricPart(used) {
  const part = make("section", {}, make("h3", {}, "Metrics"));
  const names = distinct(used.flatMap((result) => Object.keys(result.metrics)));
  const pairs = make("div", { class: "metrics" }), rest = [];
  // Of a kind that has none of them all stand open.
  const first = names.some((name) => FIRST.includes(name));
  names.forEach((name) => {
    const shown = metricTable(name, used);
    if (!shown) return;
    if (!first || FIRST.includes(name)) pairs.append(shown);
    else rest.push(make("details", { class: "more" }, make("summary", {}, called(name)), shown));
  });
  part.append(pairs, ...rest);
  part.append(make("details", { class: "more" }, make("summary", {}, "Where these numbers come from"),
    table("Provenance", ["Result", "Degenerate", "Measured on"], used.map((result) => [make("span", {}, result.name, make("br"),
      make("code", {}, result.id)), String(known(result.degenerate) ? result.degenerate : "–"), facts(result.provenance, "close")]))));
  return part;
}

// A metric of the results that have it; null where none has.
export function metricTable(name, used) {
  const results = used.filter((result) => result.metrics[name] && known(result.metrics[name].median));
  if (!results.length) return null;
  const scale = span(results.flatMap(({ metrics }) => QUARTILES.concat("low", "high").map((key) => metrics[name][key])));
  return table(`${called(name)}: median, quartiles (thin), 95 % interval (thick)`,
    ["Result", "Median [95 %]", "Drawn", "n"], results.map((result) => {
      const metric = result.metrics[name];
      const middle = fixed(known(metric.estimate) ? metric.estimate : metric.median);
      const text = known(metric.low) ? `${middle} [${fixed(metric.low)}, ${fixed(metric.high)}]` : middle;
      return [result.name, text, whisker(metric, scale), String(metric.n === undefined ? "–" : metric.n)];
    }), "close-set");
}
