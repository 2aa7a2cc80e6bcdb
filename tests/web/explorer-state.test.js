// The explorer: what its address and the browser hold. Both come from outside.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import "./browser.js";

const { change, onChange, packed, restore, state } = await import("../../measure/explore/web/state.js");
const TOLD = {
  models: [{ name: "small", layers: 4 }, { name: "large", layers: 12 }], paths: ["linear", "slerp"], distances: ["l2", "kl"], reads: ["final_norm", "logits"],
  metrics: [{ name: "edge_speed" }, { name: "max_slope" }], limits: { steps: 200, cells: 64, pairs: 3 },
};
const START = structuredClone(state);
const linked = (given) => `#1.${deflateRawSync(typeof given === "string" ? given : JSON.stringify(given)).toString("base64url")}`;

async function opened(hash, kept = "") {
  location.hash = hash;
  localStorage.clear();
  if (kept) localStorage.setItem("measure explore", kept);
  return restore(TOLD);
}

test("a link brings back all that it was made of", async () => {
  const given = {
    ...START, model: "large", a: "café 🙂\n\u2028", b: "x".repeat(9000), c: "", bos: true, layer: 12, read: "block:11", path: "slerp", distance: "kl",
    steps: 99, metric: "max_slope", quantity: "speed", size: 48, pairs: [{ a: "one", b: "two", label: "=1", show: true }],
  };
  assert.deepEqual(Object.keys(given), Object.keys(START));
  Object.assign(state, given);
  const text = await packed();
  assert.match(text, /^1\.[\w-]+$/);
  Object.assign(state, START);
  assert.equal(await opened(`#${text}`), "");
  assert.deepEqual(state, given);
});

test("a link of version 1 stays readable", async () => {
  assert.equal(await opened("#1.HcxBCoAgEEDRq8Rfzz6Yq0QLI6nAKNQoEw_kObpY4P7xMvsxW4fijF8sgkHpvhq_iuBMsh7thdNsPqBDbuBBmFBSM1MLXoSwHjca_WXLWH4"), "");
  assert.deepEqual([state.model, state.a, state.layer], ["large", " été", 7]);
  assert.deepEqual(state.pairs, [{ a: "x", b: "y", label: "z", show: true }]);
});

test("of a link only what can be is taken over", async () => {
  assert.equal(await opened(linked({
    model: 7, a: 1, b: "y".repeat(30000), bos: "yes", layer: 1.5, read: "block:12345", path: "arc", distance: null, steps: 4, metric: "no such", quantity: "colour",
    size: 65, pairs: [null, { a: "a" }, { a: "a", b: "b", label: 3, show: 1 }, ...["d", "e", "f"].map((b) => ({ a: "c", b, label: "z".repeat(999), show: true }))], more: "x",
  })), "");
  const { b, pairs, ...rest } = state;
  const { b: _b, pairs: _pairs, ...start } = START;
  assert.deepEqual(rest, { ...start, model: "small" });
  assert.equal(b.length, 20000);
  assert.deepEqual(pairs.map((one) => [one.a, one.b, one.label.length, one.show]), [["a", "b", 0, false], ["c", "d", 200, true], ["c", "e", 200, true]]);
});

test("a link of another model or of a deeper one says so", async () => {
  assert.match(await opened(linked({ model: "gone", layer: 3 })), /^The link is of gone, which is not open here: shown on small\./);
  assert.equal(state.layer, 3);
  assert.equal(await opened(linked({ model: "small", layer: 9 })), "The link asks for layer 9; small has 4.");
  assert.equal(state.layer, 4);
});

test("a link that holds nothing is told, and what the browser kept stands", async () => {
  for (const hash of ["#1.", "#2.abc", "#rubbish", "#1.!!!", linked("no JSON"), linked("null"), linked("3")]) {
    assert.match(await opened(hash, '{"a":"kept"}'), /^The link holds nothing that can be read \(.+\); ask for it again\.$/, hash);
    assert.equal(state.a, "kept");
  }
  for (const kept of ["", "no JSON", "null"]) {
    assert.equal(await opened("", kept), "");
    assert.deepEqual(state, { ...START, model: "small" });
  }
});

test("changes are told by name, and kept once, a moment after the last", async (context) => {
  await opened("");
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const heard = [];
  onChange((names) => heard.push([...names]));
  change({ layer: 2, path: "linear" });
  change({ layer: 2 });
  change({ pairs: [] });
  change({ layer: 3 });
  assert.deepEqual(heard, [["layer"], ["pairs"], ["layer"]]);
  context.mock.timers.tick(100);
  change({ layer: 4 });
  context.mock.timers.tick(149);
  assert.equal(localStorage.getItem("measure explore"), null);
  context.mock.timers.tick(1);
  assert.equal(JSON.parse(localStorage.getItem("measure explore")).layer, 4);
});
