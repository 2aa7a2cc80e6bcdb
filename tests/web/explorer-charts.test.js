// The explorer: ranges, ticks, colours, files, and what is computed of a curve.

import assert from "node:assert/strict";
import { test } from "node:test";

import "./browser.js";

const { spanOf, ticks } = await import("../../measure/explore/web/charts.js");
const { middles, stretches } = await import("../../measure/explore/web/curve.js");
const { csv, exactCsv, fixed, quoted } = await import("../../measure/explore/web/dom.js");
const { order, shade } = await import("../../measure/explore/web/layers.js");
const { lacking, settingsAsked } = await import("../../measure/explore/web/prompts.js");
const { state } = await import("../../measure/explore/web/state.js");

test("ticks are round and within the range, and few", () => {
  assert.deepEqual(ticks(0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(-0.04, 1.04), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(1, 12), [2, 4, 6, 8, 10, 12]);
  assert.deepEqual(ticks(0, 3e-7, 3), [0, 1e-7, 2e-7, 3e-7]);
  assert.deepEqual(ticks(5, 5), [5]);
});

test("a range holds what is always in view, and no more than what is known", () => {
  assert.deepEqual(spanOf([{ y: [0, null, 100, NaN, Infinity] }]), [-4, 104]);
  assert.deepEqual(spanOf([{ y: [0.5] }], [0, 1]), [-0.04, 1.04]);
  assert.deepEqual(spanOf([{ y: [null] }]), [0, 1]);
  const [low, high] = spanOf([{ y: [-50, -50] }]);
  assert.deepEqual([low, high], [-52, -48]);
});

test("shades go from the first colour to the last and no further", () => {
  assert.deepEqual([-1, 0, 1, 7].map(shade), [[68, 1, 84], [68, 1, 84], [253, 231, 37], [253, 231, 37]]);
  assert.deepEqual(shade(0.5), [39, 127, 142]);
});

test("speeds lie between the alphas", () => {
  assert.deepEqual(middles([0, 0.5, 1]), [0.25, 0.75]);
});

test("tokens that stay the most probable are one stretch, those that come back another", () => {
  const tops = { ids: [[4, 9], [4, 2], [7, 4], [4, 7]], texts: [[" a", "x"], [" a", "y"], [" b", " a"], [" a", " b"]] };
  assert.deepEqual(stretches(tops), [{ id: 4, text: " a", from: 0, to: 1 }, { id: 7, text: " b", from: 2, to: 2 }, { id: 4, text: " a", from: 3, to: 3 }]);
});

test("layers are asked from the one that is looked at outwards, up to the block that is read", () => {
  const it = { told: { models: [{ name: "m", layers: 6 }] } };
  Object.assign(state, { model: "m", layer: 3, read: "final_norm" });
  assert.deepEqual(order(it), [3, 2, 4, 1, 5, 6]);
  Object.assign(state, { layer: 4, read: "block:5" });
  assert.deepEqual(order(it), [4, 3, 5, 2, 1]);
});

test("what is asked of the server names the model by its place, and BOS only where there is one", () => {
  const told = { models: [{ name: "first", bos: true }, { name: "second", bos: false }] };
  Object.assign(state, { model: "second", bos: true, read: "logits", path: "slerp", distance: "kl", steps: 9 });
  assert.deepEqual(settingsAsked(told), { model: 1, read: "logits", path: "slerp", distance: "kl", steps: 9, bos: false });
  state.model = "first";
  assert.deepEqual([settingsAsked(told).model, settingsAsked(told).bos], [0, true]);
});

test("an empty prompt is told by its name", () => {
  Object.assign(state, { a: "", b: "" });
  assert.equal(lacking(), "Prompt A is empty: write at least one token.");
  state.a = " ";
  assert.equal(lacking(), "Prompt B is empty: write at least one token.");
  state.b = "x";
  assert.equal(lacking(), "");
});

test("a table for a spreadsheet holds no formula; pairs to be read back stand exactly", () => {
  assert.equal(csv(["x", "y"], [[-1, "-1"], ["=a", null], ['"', "b\r"]]), 'x,y\r\n-1,\'-1\r\n\'=a,\r\n"""","b\r"\r\n');
  assert.equal(exactCsv(["a", "b"], [["=a", " b"], ['say "x"', "two\nlines"], ["plain", "c,d"]]), 'a,b\r\n=a," b"\r\n"say ""x""","two\nlines"\r\nplain,"c,d"\r\n');
});

test("prompts are shown as they are sent", () => {
  assert.equal(quoted(' a\n"b"\u200b\u202e\ud800'), '" a\\n\\"b\\"\\u200b\\u202e\\ud800"');
  assert.deepEqual([fixed(-0.5), fixed(null), fixed(2, 0)], ["−0.500", "none", "2"]);
});
