// Of each case its baselines: what moved, how far, drawn beside what was accepted.

import { chart } from "./charts.js";
import { badge, make, table, whisker } from "./elements.js";
import { evenly, known, QUARTILES, tiny } from "./numbers.js";
import { later } from "./queue.js";

export function baselinePart(entry) {
  const part = make("section", {}, make("h3", {}, entry.judged ? "Against the accepted curves" : "Tests"));
  for (const line of entry.baselines) {
    const inside = make("div", { class: "inside" });
    const details = make("details", { class: "more" }, make("summary", {}, line.name || line.subject, " ", badge(line.state)), inside);
    details.addEventListener("toggle", () => { if (details.open) later(inside, () => fillBaseline(inside, line)); });
    part.append(details);
    if (line.state === "moved" || line.outcome === "failed") details.open = true;
  }
  return part;
}

// Of each kind of number compared the one that is farthest off: how much of its tolerance it takes.
function farthestTable(farthest) {
  if (farthest.every((one) => one.excess === 0)) return make("p", {}, "Every number compared is exactly the accepted one.");
  const most = Math.max(1.2, ...farthest.map((one) => (known(one.excess) ? Math.min(one.excess, 3) : 3)));
  const said = (value) => (known(value) ? String(+value.toPrecision(6)).replace("-", "−") : "none");
  return table("Of each kind of number the one farthest off (as accepted: the five nearest their tolerance), and how many times its tolerance that is (dashed: once; drawn up to three)",
    ["Number", "accepted", "measured", "off by", "tolerance", "times", "Drawn"], farthest.map((one) => {
      const off = known(one.measured) && known(one.accepted) ? one.measured - one.accepted : null;
      const share = known(one.excess) ? Math.min(one.excess, most) : most;
      return [one.what, said(one.accepted), said(one.measured), known(off) ? `${off < 0 ? "−" : "+"}${tiny(Math.abs(off))}` : "none",
        tiny(one.tolerance), known(one.excess) ? one.excess.toPrecision(2) : "no number", whisker({ median: share, q25: 0, q75: share }, [0, most], 1)];
    }));
}

function fillBaseline(inside, line) {
  const said = line.why.length ? line.why.join("\n") : line.reason;
  if (line.name && line.name !== line.subject) inside.append(make("p", { class: "small soft" }, "as a test ", make("code", {}, line.subject)));
  if (said) inside.append(make("pre", {}, said));
  if (line.accept) inside.append(make("p", { class: "small" }, "To accept what was measured: ", make("code", {}, line.accept)));
  if (line.notes) inside.append(make("ul", { class: "small" }, line.notes.map((note) => make("li", {}, note))));
  if (line.farthest.length) inside.append(farthestTable(line.farthest));
  if (line.changed.length) inside.append(table("What else differs since it was accepted", ["What", "accepted", "measured"], line.changed));
  if (line.curve) againstCharts(inside, line);
  else if (line.state !== "as accepted") inside.append(make("p", { class: "soft" }, "There is no accepted curve beside it in these records."));
}

function againstCharts(inside, line) {
  const { accepted, residual, tolerance } = line.curve;
  const alphas = evenly(accepted.median.length), called = line.name || line.subject;
  const measured = Object.fromEntries(QUARTILES.map((q) => [q, accepted[q].map((value, at) =>
    (known(value) && known(residual[q][at]) ? value + residual[q][at] / 1e6 : null))]));
  const spread = Object.fromEntries([["q25", -tolerance], ["median", 0], ["q75", tolerance]].map(([q, by]) =>
    [q, accepted.median.map((value) => (known(value) ? value + by : null))]));
  const curves = make("div", { class: "chart" }), rest = make("div", { class: "chart" });
  inside.append(make("div", { class: "two" }, curves, rest));
  chart(curves, [
    { name: "measured", ink: "accent", alphas, ...measured },
    { name: `accepted ± ${tolerance}`, ink: "focus", dash: [5, 4], alphas, ...spread },
  ], { label: `${called}, measured and accepted`, y: "r = d / d(1)" });
  residualChart(rest, line, alphas, called);
  inside.append(make("p", { class: "small soft" }, `Shaded: the accepted curve with its tolerance of ${tolerance}.`));
}

function residualChart(rest, { curve: { residual, tolerance } }, alphas, called) {
  const off = Object.fromEntries(QUARTILES.map((q) => [q, residual[q].map((value) => (known(value) ? value / 1e6 : null))]));
  const far = Math.max(1.3 * tolerance, ...QUARTILES.flatMap((q) => off[q].filter(known).map((value) => 1.1 * Math.abs(value))));
  chart(rest, QUARTILES.map((q, at) => ({
    name: { q25: "lower quartile", median: "median", q75: "upper quartile" }[q], alphas, thin: true,
    q25: off[q], median: off[q], q75: off[q], ink: ["untrained", "accent", "before"][at], dash: [[2, 3], [], [6, 3]][at],
  })), {
    label: `${called}, measured minus accepted`, y: "measured − accepted", range: () => [-far, far], digits: true,
    read: tiny, lines: [{ band: tolerance, ink: "focus" }, { from: 0, to: 0, ink: "soft" }],
  });
}
