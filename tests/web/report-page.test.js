// The report: which result is drawn how, what earlier runs found, what is done in turn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { Element, element } from "./browser.js";

const RUNS = [["1 May", "", "a.jsonl"], ["2 May", "c0ffee", "b.jsonl"], ["3 May", "decade", "c.jsonl"]];
element("report").textContent = deflateSync(JSON.stringify({ runs: RUNS })).toString("base64");
const { colour, faded, inPrint, looksOf } = await import("../../measure/report/web/colours.js");
const { historyText } = await import("../../measure/report/web/history.js");
const { asked } = await import("../../measure/report/web/links.js");
const { later, work } = await import("../../measure/report/web/queue.js");
const { report } = await import("../../measure/report/web/report.js");

test("the page reads the report that it holds", () => {
  assert.deepEqual(report, { runs: RUNS });
});

test("what has an order goes along a ramp, from its first colour to its last", () => {
  const results = [1, 2, 3].map((shade) => ({ group: "trained", shade }));
  const looks = results.map(looksOf(results));
  assert.deepEqual(looks.map((look) => look.ramp), [0, 3, 6]);
  assert.deepEqual(looks.map((look) => look.ink()), ["#440154", "#2c728e", "#4fae3d"]);
  const alone = { group: "trained", shade: 1 };
  assert.equal(looksOf([alone])(alone).ramp, 2);
});

test("kinds of pairs have a hue of their own, and there the width says the order", () => {
  const results = [1, 2].map((shade) => ({ group: "trained", shade, pairing: "printed_similar" }));
  const looks = results.map(looksOf(results));
  assert.deepEqual(looks.map((look) => [look.ink(), look.thin, look.wide]), [["similar", true, 1], ["similar", true, 2.2]]);
});

test("what is read and what was done to the weights are told by dashes", () => {
  const results = [{ group: "trained", read: "final_norm" }, { group: "trained", read: "logits" }, { group: "untrained weights" }, { group: "no such group" }];
  const looks = results.map(looksOf(results));
  assert.deepEqual(looks.map((look) => look.dash), [[], [2, 3], [2, 2], [4, 2]]);
  assert.deepEqual(looks.map((look) => look.ink()), ["accent", "third", "accent", "accent"]);
  const [shuffled] = [results[2]].map(looksOf([results[0], results[2]]));
  assert.equal(shuffled.ink(), "untrained");
});

test("a colour fades, and in print the page is as it was afterwards", () => {
  assert.equal(faded("#ff8000", 0.2), "rgba(255, 128, 0, 0.2)");
  const { documentElement } = document;
  assert.equal(inPrint(() => documentElement.hasAttribute("data-print") && colour("ink")), "ink");
  assert.throws(() => inPrint(() => { throw new Error("not drawn"); }), /not drawn/);
  assert.equal(documentElement.hasAttribute("data-print"), false);
  documentElement.setAttribute("data-print", "");
  inPrint(() => {});
  assert.equal(documentElement.hasAttribute("data-print"), true);
  documentElement.removeAttribute("data-print");
});

test("the history tells how often, since when, and when it last changed", () => {
  const entry = (run, outcome, estimate, changed) => [run, outcome, estimate, 0, 1, 0.1, 9, changed];
  assert.equal(historyText([entry(0, "supported", 0.5, false), entry(1, "inconclusive", -0.25, true), entry(2, "inconclusive", null, false)]),
    "3 runs since 1 May: supported in 1, inconclusive in 2; last changed on 2 May, from +0.500 supported to −0.250 inconclusive by code c0ffee.");
  assert.equal(historyText([entry(0, "supported", 0.5, true), entry(1, "supported", 0.5, false)]), "2 runs since 1 May: supported in 2; never changed.");
  assert.equal(historyText([entry(2, "supported", 0.5, false)]), "1 run since 3 May: supported in 1; ");
});

test("an address names a place, and is taken as it stands where it is no encoded text", () => {
  location.hash = "#caf%C3%A9/x~figure";
  assert.equal(asked(), "café/x~figure");
  location.hash = "#100%";
  assert.equal(asked(), "100%");
});

test("what takes long is done in turn, each once, and what fails costs itself alone", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  context.mock.method(performance, "now", () => 0);
  const complaints = context.mock.method(console, "error", () => {});
  const holders = [1, 2, 3].map(() => new Element("div")), done = [];
  const { documentElement } = document;
  later(holders[0], () => done.push("first"));
  later(holders[1], () => { throw new Error("damaged"); });
  later(holders[2], () => { done.push("third"); holders[2].append("drawn"); });
  assert.deepEqual([done, documentElement.hasAttribute("data-busy")], [[], true]);
  context.mock.timers.tick(1);
  assert.deepEqual([done, documentElement.hasAttribute("data-busy")], [["first", "third"], false]);
  assert.match(holders[1].children[0].children[0], /cannot be drawn \(Error: damaged\)/);
  assert.equal(complaints.mock.callCount(), 1);
  later(holders[2], () => done.push("again"));
  assert.equal(documentElement.hasAttribute("data-busy"), false);
});

test("one that takes too long lets the page live before the next", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const done = [];
  for (const name of ["one", "two"]) later(new Element("div"), () => done.push(name));
  work(-1);
  assert.deepEqual(done, ["one"]);
  work(Infinity);
  assert.deepEqual(done, ["one", "two"]);
  context.mock.timers.tick(1);
  assert.equal(document.documentElement.hasAttribute("data-busy"), false);
});
