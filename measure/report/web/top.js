// The top: what was run, the tally, the claims in a line each.

import { badge, facts, KIND, make, MARK, NOT_ACCEPTED, scroll, table, titled } from "./elements.js";
import { link } from "./links.js";
import { interval, known, plural } from "./numbers.js";
import { report } from "./report.js";

const WORDS = [
  ["curve", "r = d / d(1), d being how far the output has moved from that at A when the activation has gone the share alpha of the way from A to B."],
  ["effect", "signed so that positive is what the claim says, with its 95 % interval by paired bootstrap over n independent units; curves and quartiles are of all pairs, of which two may share a prompt."],
  ["margin", "supported: the whole interval of every effect lies beyond its margin; contradicted: beyond it on the other side; else inconclusive."],
  ["control", "the same judgement on counterfeits: the norm-only null, no block after the patch, the blocks after the patch shuffled in five ways with A and B kept, all weights shuffled, untrained weights, swapped labels, reversed order. Refuted: not supported. Held: all are refuted. Beside them the claim must be supported by planted data that have what it says."],
  ["norm-only null", "what the final norm alone makes of a straight line before it."],
  ["shuffled, permuted, untrained", "counterfeits: models that keep something of the trained one and nothing of what it learnt."],
  ["as accepted", "every number of the curve lies within the tolerance of the baseline that was accepted before."],
];

export function head() {
  const said = new Map(report.facts), models = (said.get("measured") || "").split(", ");
  const line = [said.get("started"), models.length > 3 ? plural(models.length, "model") : said.get("measured"),
    said.get("protocol") ? `protocol ${said.get("protocol")}` : null, said.get("tests")].filter(known).join(" · ");
  document.getElementById("head").append(
    ...report.problems.map((text) => make("p", { class: "problem", role: "note" }, text)),
    make("p", { class: "soft small" }, line),
    make("ul", { class: "tally", "aria-label": "The run in numbers" },
      report.tally.map(({ word, count }) => make("li", { class: count && TALLIED[word] ? `badge ${TALLIED[word]}` : "badge none" }, make("b", {}, String(count)), ` ${word}`))),
    driftLine() || "", claimNav() || "",
    make("details", { class: "more small" }, make("summary", {}, "About this run, and how to read this page"), facts(report.facts),
      facts(WORDS.concat(Object.values(report.metrics).filter(({ told }) => told).map(({ label, told }) => [label, told])))));
}

const TALLIED = {
  supported: "supported", contradicted: "contradicted", inconclusive: "inconclusive", "tests failed": "bad",
  "baselines as accepted": "good", "baselines moved": "bad", "baselines incomplete": "bad",
};

function driftLine() {
  const states = report.claims.flatMap((claim) => claim.cases.flatMap((entry) => entry.baselines.map((line) => line.state)));
  const off = states.filter((state) => NOT_ACCEPTED.includes(state)).length, same = states.filter((state) => state === "as accepted").length;
  if (!off && !same) return null;
  if (!off) return make("p", { class: "small" }, `Nothing drifted: ${same === 1 ? "the one curve compared is" : `all ${same} curves compared are`} as accepted.`);
  return make("p", { class: "small" }, make("a", { href: "#drift" }, `${plural(off, "curve")} drifted or never accepted`), `, ${same} as accepted.`);
}

// One chip a claim: a word for it, and how many cases have which verdict.
function claimNav() {
  if (!report.claims.length) return null;
  return make("nav", { class: "chips", "aria-label": "Claims" }, report.claims.map((claim) => {
    const drawn = claim.cases.some((entry) => entry.judged && entry.measured);
    const said = claim.verdicts.filter(({ word }) => word !== "not measured").map(({ word, count }) =>
      make("span", { class: `mark ${KIND[word] || "none"}`, title: word }, `${MARK[word] || "–"}${count}`));
    const made = link(drawn ? `${claim.anchor}~figure` : claim.anchor, claim.short);
    made.title = claim.title;
    made.append(...(said.length ? said : [make("span", { class: "mark none" }, "–")]));
    return made;
  }));
}

export function verdictCell(claim) {
  const badges = claim.verdicts.map(({ word, count, unexpected }) =>
    badge(word, `${word}${unexpected ? ", not expected," : ""} ${word === "not measured" ? "" : "on "}${count}`));
  return make("div", { class: "badges" }, badges.length ? badges : "no verdict");
}

function leastCell({ least, cases }) {
  if (least) {
    return make("div", {}, make("span", { class: "number" }, interval(least.effect)), ` ${least.effect.name}, margin ${least.effect.margin} `,
      make("span", { class: "soft" }, "(", link(least.anchor, titled(cases.find((entry) => entry.anchor === least.anchor))), ")"));
  }
  const agreed = cases.flatMap((entry) => entry.facts);
  if (!agreed.length) return "–";
  const sum = (name) => agreed.reduce((total, fact) => total + fact[name], 0);
  return `${sum("agree")} of ${sum("of")} facts agree`;
}

function controlCell(claim) {
  if (claim.broken.length) return make("div", {}, badge("broken", `BROKEN on ${claim.broken.join(", ")}`));
  if (!claim.controls) return "not run";
  return make("div", {}, badge(claim.held < claim.controls ? "not measured" : "held", `held on ${claim.held} of ${claim.controls}`),
    make("div", { class: "small soft" }, claim.counterfeits.join("; ")));
}

const COLUMNS_OF_ANSWERS = ["Claim", "Verdict, by case", "Weakest effect [95 % interval]", "n", "Control: refuted were", "Against baselines"];

function answerRow(claim) {
  const size = claim.n ? (claim.n[0] === claim.n[1] ? String(claim.n[0]) : `${claim.n[0]} to ${claim.n[1]}`) : "–";
  const drift = claim.drift.length ? make("div", { class: "badges" }, claim.drift.map(([word, count]) => badge(word, `${count} ${word}`))) : "–";
  const cells = [verdictCell(claim), leastCell(claim), size, controlCell(claim), drift];
  return make("tr", {}, make("th", { scope: "row" }, link(claim.anchor, claim.title)),
    cells.map((cell, place) => make("td", { "data-label": COLUMNS_OF_ANSWERS[place + 1] }, cell)));
}

export function answers() {
  const rows = report.claims.map(answerRow);
  const caption = "One line a claim. Weakest: of the case that is farthest from being supported, or least beyond it, the effect that decides. n: independent units.";
  return make("section", { id: "answers", "aria-labelledby": "answers-title" }, make("h2", { id: "answers-title" }, "The answers"),
    rows.length ? scroll("The answers",
      make("table", { class: "answers stacked" }, make("caption", {}, caption),
        make("thead", {}, make("tr", {}, COLUMNS_OF_ANSWERS.map((title) => make("th", { scope: "col" }, title)))), make("tbody", {}, rows)))
      : make("p", {}, "There are no claims in these records."));
}

export function drifted() {
  const moved = report.claims.flatMap((claim) => claim.cases.flatMap((entry) =>
    entry.baselines.filter((line) => NOT_ACCEPTED.includes(line.state)).map((line) => ({ claim, entry, line }))));
  if (!moved.length) return null;
  return make("section", { id: "drift", "aria-labelledby": "drift-title" }, make("h2", { id: "drift-title" }, "What drifted"),
    make("p", {}, "Find out why before you accept it. One after the other, each drawn beside its baseline: ", make("code", {}, "measure review"),
      ". One alone: the command in its line, which measures it anew and writes its baseline."),
    table("Curves that are not as accepted", ["Curve", "State", "Claim and case", "First of the reasons", "To accept it"], moved.map(({ claim, entry, line }) => [
      make("span", {}, line.name || line.subject, line.name && line.name !== line.subject ? make("code", { class: "soft block" }, line.subject) : ""),
      badge(line.state), make("span", {}, `${claim.title}: `, link(entry.anchor, titled(entry))),
      line.why.slice(0, 2).join(" ") || "no baseline yet", make("code", {}, line.accept || "")]), "prose"));
}

export function compared() {
  const found = report.compared;
  if (!found) return null;
  const verdicts = found.verdicts.map(([title, subject, anchor, before, after]) =>
    [link(anchor, subject), title, badge(before), badge(after)]);
  return make("section", { id: "compared", "aria-labelledby": "compared-title" },
    make("h2", { id: "compared-title" }, "Compared with the run before"),
    table("What was different about the runs", ["What", "before", "now"], found.facts),
    verdicts.length ? table("Verdicts and controls that changed", ["Case", "Claim", "before", "now"], verdicts)
      : make("p", {}, "No verdict and no control changed."),
    found.curves.length
      ? table(`Results that moved, ${found.curves.length} of ${found.common} in both runs`, ["Result", "largest change of a quartile"],
        found.curves.map(([name, change]) => [name, change >= 1e9 ? "another grid" : change.toPrecision(2)]))
      : make("p", {}, `None of the ${found.common} results in both runs moved.`),
    found.gone.length ? make("p", {}, `Only in the run before: ${found.gone.join("; ")}.`) : null);
}
