// A figure for each claim: small multiples of what was measured, of its null and of the counterfeits.

import { unpack } from "./cells.js";
import { inPrint, looksOf } from "./colours.js";
import { curvesCsv } from "./csv.js";
import { alphasOf, HIGHEST, legendOf, rangeOf } from "./curves.js";
import { panelsSvg, panelSvg } from "./drawing.js";
import { badge, effectWhisker, make, table, titled } from "./elements.js";
import { historyStrip } from "./history.js";
import { anchorLink, link } from "./links.js";
import { metricTable } from "./metrics.js";
import { distinct, evenly, interval, known, plural } from "./numbers.js";
import { painted, swatch } from "./painting.js";
import { later } from "./queue.js";
import { report } from "./report.js";
import { saveButtons } from "./saving.js";
import { paintSlice, slicesCsv } from "./slices.js";
import { verdictCell } from "./top.js";

const MOST_PANELS = 6;
const FIRST_GROUPS = ["trained", "norm-only null", "later blocks shuffled", "later neurons permuted", "all weights shuffled",
  "untrained weights", "patched after the last block"];

export function usedOf(entry) {
  return entry.specs.map(([id, name, role, group, series, shade]) => ({ ...report.results[id], name, role, group, series, shade }));
}

// A result's curves as one panel draws them: of few pairs each pair in the direction written, else quartiles.
function curvesOf(result, looks, name) {
  const look = looks(result), alphas = result.curve ? result.curve.alphas : undefined;
  if (result.pairs) {
    const rows = result.pairs.relative.slice(0, Math.ceil(result.pairs.relative.length / 2));
    return rows.map((row, at) => ({ name, one: result.pairs.names[at], alphas: alphas || evenly(row.length), median: row, q25: row, q75: row, look, thin: true }));
  }
  const drawn = result.curve || (result.sketch ? { median: result.sketch } : null);
  return drawn ? [{ name, ...drawn, alphas: alphasOf(drawn), look, thin: look.thin }] : [];
}

// What is drawn of a case, panel by panel.
function curvePanels(entry) {
  const used = usedOf(entry), looks = looksOf(used);
  const order = (group) => (FIRST_GROUPS.includes(group) ? FIRST_GROUPS.indexOf(group) : FIRST_GROUPS.length);
  const panels = distinct(used.map((result) => result.group)).map((group) => ({
    title: group, curves: used.filter((result) => result.group === group)
      .flatMap((result) => curvesOf(result, looks, result.series || "median and quartiles")) }));
  const nulls = used.filter((result) => result.group === "trained" && result.null && !result.pairs).map((result) => ({
    name: result.series || "median and quartiles", alphas: result.curve ? alphasOf(result.curve) : evenly(result.null.median.length), ...result.null, look: looks(result) }));
  if (nulls.length) panels.push({ title: "norm-only null", curves: nulls });
  const drawn = panels.filter((panel) => panel.curves.length).sort((one, other) => order(one.title) - order(other.title));
  for (const panel of drawn) for (const curve of panel.curves) curve.panel = panel.title;
  return drawn;
}

// Panels, redrawn as colours change.
function panelGrid(label, panels, options) {
  const holders = panels.map(() => make("div", {}));
  const grid = make("div", { class: "panels", role: "img", "aria-label": label }, holders);
  painted(grid, () => holders.forEach((holder, at) => holder.replaceChildren(panelSvg(panels[at], { ...options, first: true }))));
  return grid;
}

function legendList(panels) {
  const keys = legendOf(panels);
  if (keys.length < 2) return null;
  return make("ul", { class: "keys small" }, keys.map((curve) => make("li", {}, swatch(curve.look), curve.name)));
}

function fillCurves(body, claim, entry) {
  const all = curvePanels(entry), panels = all.slice(0, MOST_PANELS), left = all.slice(MOST_PANELS).map((panel) => panel.title);
  if (!panels.length) return false;
  const { range, cut } = rangeOf(panels);
  const label = `${claim.title}, ${titled(entry)}`;
  const said = ["Medians, bands: quartiles over pairs; dotted: a straight line.", cut ? `Cut at ${HIGHEST}.` : "",
    left.length ? `Beside them were measured: ${left.join("; ")}.` : ""].filter(Boolean).join(" ");
  body.append(panelGrid(`Curves of d / d(1) over alpha: ${panels.map((panel) => panel.title).join(", ")}; their numbers are in the case, and in the CSV`, panels, { range }),
    legendList(panels) || "", make("p", { class: "small soft" }, said, " ", saveButtons(label, {
      csv: () => curvesCsv(all.flatMap((panel) => panel.curves.map((curve) => ({ ...curve, name: curve.one ? `${curve.name}: ${curve.one}` : curve.name }))), "d / d(1)"),
      svg: () => inPrint(() => panelsSvg(label, panels, { range })),
    })));
  return true;
}

// ---- slices, the first triple of each result

function slicePanels(entry) {
  const used = usedOf(entry).filter((result) => result.slices);
  const trained = used.filter((result) => result.group === "trained");
  const others = used.filter((result, at) => result.group !== "trained" && used.findIndex((one) => one.group === result.group) === at);
  const few = trained.filter((_, at) => [0, 0.25, 0.5, 1].map((share) => Math.round(share * (trained.length - 1))).includes(at));
  return [...few, ...others].slice(0, MOST_PANELS);
}

function fillSlices(body, claim, entry) {
  const used = slicePanels(entry);
  if (!used.length) return false;
  const label = `${claim.title}, ${titled(entry)}`, title = (result) => (result.group === "trained" && result.series ? result.series : result.group);
  const canvases = used.map(() => make("canvas", {}));
  const grid = make("div", { class: "panels", role: "img", "aria-label": `Slices of the first triple: ${used.map(title).join(", ")}` },
    used.map((result, at) => make("div", { class: "mini" }, make("b", { class: "small" }, title(result)), canvases[at])));
  const paint = () => Promise.all(used.map(async (result, at) => paintSlice(canvases[at], result.slices, await unpack(result.slices), 0, true)));
  paint().catch(() => grid.replaceChildren(make("p", {}, "This browser cannot unpack the slices.")));
  body.append(grid, make("p", { class: "small soft" }, "The plane through A (red), B (green) and C (blue) of the first triple; colour is 1 − d / max d. ",
    saveButtons(label, {
      csv: async () => slicesCsv(used, 0),
      svg: async () => {
        await paint();
        return inPrint(() => panelsSvg(label, used.map((result, at) => ({ title: title(result), image: canvases[at].toDataURL("image/png") }))));
      },
    })));
  return true;
}

// ---- a claim's card

function effectLine(entry) {
  const { lead } = entry;
  const line = make("p", { class: "verdict-line" }, badge(entry.state), " ");
  if (entry.expected !== "supported" && entry.state === entry.expected) line.append(make("span", { class: "soft" }, "as accepted before; "));
  if (lead) line.append(make("b", { class: "number" }, interval(lead)), ` ${lead.name}, margin ${lead.margin}, n = ${entry.n}`);
  else if (entry.facts.length) line.append(entry.facts.map((fact) => `${fact.name}: ${fact.agree} of ${fact.of}`).join("; "));
  return make("div", { class: "beside" }, line, lead ? effectWhisker(lead) : null);
}

function controlLine(entry) {
  const { state, counterfeits, strongest } = entry.control;
  if (!counterfeits.length) return make("p", { class: "small soft" }, "No counterfeit was asked here.");
  const refuted = counterfeits.filter((one) => !["supported", "not measured"].includes(one.outcome)).length;
  return make("p", { class: "small" }, badge(state, `control ${state}`), ` ${refuted} of ${plural(counterfeits.length, "counterfeit")} refuted. `,
    make("span", { class: "soft" }, strongest ? `${strongest[0].toUpperCase()}${strongest.slice(1)}.` : ""));
}

// Few numbers in a sentence, many in a table.
export function paperPart(entry) {
  if (!entry.printed) return null;
  if (entry.printed.length > MOST_PANELS) {
    return make("details", { class: "more" }, make("summary", {}, "Beside what the paper prints"),
      table("Numbers that the paper prints, and what stands for them here", ["What", "paper", "here"], entry.printed));
  }
  const told = entry.printed.map(([what, paper, here]) => [`${what} `, make("b", { class: "number" }, here), ` (paper: ${paper})`]);
  return make("p", { class: "small paper" }, "Beside the paper: ", told.flatMap((one, at) => (at ? ["; ", ...one] : one)), ".");
}

// Of a kind that has no drawing its metrics.
function fillMetrics(body, entry) {
  const used = usedOf(entry), names = distinct(used.flatMap((result) => Object.keys(result.metrics)));
  const tables = names.map((name) => metricTable(name, used)).filter(known);
  body.append(tables.length ? make("div", { class: "metrics" }, tables) : make("p", { class: "soft" }, "No curve is drawn of this case."));
}

function fillCard(body, claim, entry) {
  // Where regions are asked for in slices their pictures say more than any curve.
  const drawn = fillSlices(body, claim, entry) || fillCurves(body, claim, entry);
  if (!drawn) fillMetrics(body, entry);
  const notes = distinct(usedOf(entry).filter((result) => result.group === "trained" && result.note).map((result) => result.note));
  const parts = [effectLine(entry), controlLine(entry), ...notes.map((note) => make("p", { class: "small soft" }, note)), historyStrip(entry), paperPart(entry)];
  body.append(...parts.filter(known), make("p", { class: "small print-out" }, link(entry.anchor, `Read the curves of ${titled(entry)}`)));
}

function card(claim) {
  const cases = claim.cases.filter((entry) => entry.judged && entry.measured);
  if (!cases.length) return null;
  const body = make("div", { class: "card-body" });
  const first = Math.max(0, cases.findIndex((entry) => entry.anchor === claim.drawn));
  const choice = make("select", { "aria-label": `Case drawn of ${claim.title}` },
    cases.map((entry, at) => make("option", { value: at, selected: at === first }, `${titled(entry)}: ${entry.state}`)));
  choice.addEventListener("change", () => { body.replaceChildren(); fillCard(body, claim, cases[Number(choice.value)]); });
  later(body, () => fillCard(body, claim, cases[first]));
  return make("figure", { class: "card", id: `${claim.anchor}~figure` },
    make("figcaption", {}, make("h3", {}, link(claim.anchor, claim.title), " ", anchorLink(`${claim.anchor}~figure`, `the figure of ${claim.title}`)),
      make("div", { class: "beside" }, verdictCell(claim), cases.length > 1 ? choice : make("span", { class: "small soft" }, titled(cases[0])))),
    body);
}

export function figuresPart() {
  const cards = report.claims.map(card).filter(known);
  if (!cards.length) return null;
  return make("section", { id: "figures", "aria-labelledby": "figures-title" },
    make("h2", { id: "figures-title" }, "Every claim in a figure"), make("div", { class: "cards" }, cards));
}
