// Claims, and of each case what was measured and judged.

import { baselinePart } from "./baselines.js";
import { chart } from "./charts.js";
import { looksOf } from "./colours.js";
import { badge, effectWhisker, make, table, titled } from "./elements.js";
import { paperPart, usedOf } from "./figures.js";
import { historyStrip } from "./history.js";
import { anchorLink } from "./links.js";
import { metricPart } from "./metrics.js";
import { distinct, interval, known, QUARTILES } from "./numbers.js";
import { promptPart } from "./prompts.js";
import { later } from "./queue.js";
import { sliceExplorer } from "./slices.js";

export function claimSection(claim) {
  return make("section", { id: claim.anchor, "aria-labelledby": `${claim.anchor}~title` },
    make("h2", { id: `${claim.anchor}~title` }, claim.title, " ", anchorLink(claim.anchor, claim.title)), claim.cases.map(caseDetails));
}

function counted(words) {
  return [...new Set(words)].map((word) => badge(word, `${words.filter((other) => other === word).length} ${word}`));
}

function caseDetails(entry) {
  const { lead } = entry;
  const line = make("summary", {}, make("span", { class: "name" }, titled(entry)));
  if (entry.judged) line.append(badge(entry.state));
  else line.append(...counted(entry.baselines.map((test) => test.state)));
  if (entry.expected !== "supported" && entry.state === entry.expected) line.append(make("span", { class: "small soft" }, "as expected"));
  if (entry.failed) line.append(badge("failed"));
  if (entry.moved) line.append(badge("moved"));
  if (entry.before && entry.before.state !== entry.state) line.append(make("span", { class: "small soft" }, `before: ${entry.before.state}`));
  if (lead) line.append(make("span", { class: "small readout" }, `${lead.name} ${interval(lead)}, n = ${entry.n}`));
  const inside = make("div", { class: "inside" });
  const details = make("details", { class: "case", id: entry.anchor }, line, inside);
  // Charts are drawn when a case is first opened: a page of hundreds is usable at once.
  details.addEventListener("toggle", () => { if (details.open) later(inside, () => fillCase(inside, entry)); });
  if (entry.failed) details.open = true;
  return make("div", { class: "case-line" }, details, anchorLink(entry.anchor, titled(entry)));
}

function fillCase(inside, entry) {
  const used = usedOf(entry), put = (...parts) => inside.append(...parts.filter(known));
  put(entry.name ? make("p", { class: "small soft" }, "as a test ", make("code", {}, entry.subject)) : null, entry.reason ? make("pre", {}, entry.reason) : null);
  const curves = used.filter((result) => result.curve);
  if (curves.length) curveFigure(inside, entry, curves);
  put(...distinct(used.map((result) => result.note).filter(known)).map((note) => make("p", { class: "small soft" }, note)), promptPart(used));
  const gates = used.filter((result) => result.gates);
  if (gates.length) gateFigure(inside, entry, gates);
  const slices = used.filter((result) => result.slices);
  if (slices.length) sliceExplorer(inside, entry, slices);
  put(entry.effects.length ? effectTable(entry) : null, entry.trends.length ? trendTable(entry.trends) : null,
    entry.facts.length ? table("Facts", ["Fact", "Agree", "Outcome"], entry.facts.map((fact) => [fact.name, `${fact.agree} of ${fact.of}`, badge(fact.outcome)])) : null,
    entry.notes.length ? make("ul", { class: "small" }, entry.notes.map((note) => make("li", {}, note))) : null,
    paperPart(entry), historyStrip(entry), entry.judged ? controlPart(entry) : null, used.length ? metricPart(used) : null,
    entry.baselines.length ? baselinePart(entry) : null);
}

function trendTable(trends) {
  return table("Trends", ["Trend", "p", "Conditions", "Outcome"], trends.map((trend) =>
    [trend.name, !known(trend.p) ? "none" : trend.p < 1e-16 ? "< 1e-16" : trend.p.toPrecision(1), String(trend.treatments), badge(trend.outcome)]));
}

function effectTable(entry) {
  const before = entry.before && entry.before.effects.length ? new Map(entry.before.effects.map((effect) => [effect.name, effect])) : null;
  return table(`Effects, positive as claimed; supported where the whole interval lies beyond the margin (dashed); each drawn on a scale of its own. n = ${entry.n}`,
    ["Effect", "Outcome", "Estimate [95 %]", "Margin", "Drawn", ...(before ? ["Run before"] : [])], entry.effects.map((effect) => [
      effect.name, badge(effect.outcome), interval(effect), String(effect.margin), effectWhisker(effect),
      ...(before ? [before.has(effect.name) ? interval(before.get(effect.name)) : "–"] : [])]));
}

const REFUTED = { supported: "bad", "not measured": "none" };

function controlPart(entry) {
  const { state, counterfeits, reason, strongest } = entry.control;
  const part = make("section", {}, make("h3", {}, "Control ", badge(state)));
  if (!counterfeits.length || state === "not measured") {
    part.append(make("p", { class: "soft" }, reason || "No control ran for this case."));
  }
  if (!counterfeits.length) return part;
  if (strongest) part.append(make("p", { class: "small soft" }, strongest));
  const leads = counterfeits.map((one) => one.effects.reduce((worst, effect) =>
    (!worst || effect.low - effect.margin < worst.low - worst.margin ? effect : worst), null));
  part.append(table("The same judgement on counterfeits: none may be supported. Shown is the effect that refutes each best",
    ["Counterfeit", "Verdict", "Effect", "Estimate [95 %]", "Margin"], counterfeits.map((one, at) => [one.name,
      make("span", { class: `badge ${REFUTED[one.outcome] || "good"}` },
        one.outcome === "supported" ? "✗ supported: it must not be" : one.outcome === "not measured" ? "– not measured" : `✓ refuted (${one.outcome})`),
      leads[at] ? leads[at].name : "–", leads[at] ? interval(leads[at]) : "–", leads[at] ? String(leads[at].margin) : "–"])));
  return part;
}

// ---- the curves of a case

// The curves of its results, and what stands beside them: of the run before, their nulls, logits, single pairs.
function curvesBeside(results) {
  const trained = results.some((result) => result.group === "trained"), looks = looksOf(results);
  // Where there are single pairs alone they are what is to be seen.
  const few = results.every((result) => result.pairs);
  const curves = results.map((result) => ({
    name: result.name, group: result.group, ...result.curve, look: looks(result), thin: looks(result).thin,
    shown: !few && (result.role === "claim" || !trained),
  }));
  const beside = (kind, name, ink, dash) => results.filter((result) => result[kind] && result[kind].median).map((result) => ({
    name: `${result.name}: ${name}`, alphas: result.curve.alphas, ...result[kind], shown: kind === "before", thin: true, ink, dash, beside: name, group: name,
  }));
  const single = results.filter((result) => result.pairs).flatMap((result) => result.pairs.relative.map((row, at) => ({
    name: `${result.name}: ${result.pairs.names[at] || `pair ${at + 1}`}`, alphas: result.curve.alphas,
    q25: row, median: row, q75: row, shown: few && result.group === "trained", thin: true, look: looks(result), beside: "single pairs", group: "single pairs",
  })));
  return [...curves, ...beside("before", "run before", "before", [6, 3]), ...beside("null", "norm-only null", "soft", [1, 3]),
    ...beside("logit", "logit difference", "unsure", [8, 3]), ...single];
}

function curveFigure(inside, entry, results) {
  const all = curvesBeside(results);
  const choices = make("div", { class: "badges small" });
  const holder = make("div", { class: "chart two" });
  inside.append(make("h3", {}, "Relative distance along the segment: median and quartiles over pairs"), choices, holder);
  const drawn = chart(holder, all, { label: `Curves of ${titled(entry)}`, y: "r = d / d(1)", lines: [{ from: 0, to: 1, ink: "soft" }] });
  const rows = holder.querySelectorAll(".legend li");
  for (const name of distinct(all.map((curve) => curve.group))) {
    const members = all.map((curve, at) => (curve.group === name ? at : -1)).filter((at) => at >= 0);
    const some = members.some((at) => all[at].shown);
    const box = make("input", { type: "checkbox", checked: some });
    const show = (on) => members.forEach((at) => {
      drawn.buttons[at].toggle(on);
      if (all[at].beside) rows[at].hidden = !on;
    });
    box.addEventListener("change", () => show(box.checked));
    if (!some) show(false);
    choices.append(make("label", {}, box, name));
  }
}

function gateFigure(inside, entry, results) {
  const crossings = make("div", { class: "chart" }), flat = make("div", { class: "chart" }), looks = looksOf(results);
  inside.append(make("h3", {}, "Sign changes of gates along the segment (running means), and the share of pairs whose output moves at less than half its mean speed"),
    make("div", { class: "two" }, crossings, flat));
  const range = (_, low, high) => [0, 1.05 * high || 1];
  const drawn = (result, values, thin) =>
    ({ name: result.name, look: looks(result), alphas: result.gates.alphas, ...values, thin, shown: result.role === "claim" });
  const still = results.filter((result) => result.gates.flat);
  chart(crossings, results.map((result) => drawn(result, result.gates.crossings, false)),
    { label: `Gates that change sign, ${titled(entry)}`, y: "sign changes a gate and alpha", range });
  if (!still.length) return;
  chart(flat, still.map((result) => drawn(result, Object.fromEntries(QUARTILES.map((q) => [q, result.gates.flat])), true)),
    { label: `Share of pairs below half their mean speed, ${titled(entry)}`, y: "pairs below half speed", range });
}
