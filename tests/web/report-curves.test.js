// The report: what is computed of curves and of slices before they are drawn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { cellColour, cellOf, placed, unpack } from "../../measure/report/web/cells.js";
import { alphasOf, joined, legendOf, rangeOf, ticksOf } from "../../measure/report/web/curves.js";
import { inflated } from "../../measure/report/web/unpacking.js";

const near = (one, other) => assert.ok(Math.abs(one - other) < 1e-12, `${one}, not ${other}`);
const flat = (alphas, value) => ({ alphas, q25: alphas.map(() => value - 1), median: alphas.map(() => value), q75: alphas.map(() => value + 1) });
const packed = (bytes) => deflateSync(bytes).toString("base64");

test("curves of several grids share one, with gaps where one has no point", () => {
  const [alphas, ...columns] = joined([flat([0, 0.5, 1], 2), flat([0, 0.25, 1], 5)]);
  assert.deepEqual(alphas, [0, 0.25, 0.5, 1]);
  assert.deepEqual(columns, [[1, null, 1, 1], [2, null, 2, 2], [3, null, 3, 3], [4, 4, null, 4], [5, 5, null, 5], [6, 6, null, 6]]);
});

test("a curve without alphas lies evenly", () => {
  assert.deepEqual(alphasOf({ median: [1, 2, 3] }), [0, 0.5, 1]);
  assert.deepEqual(alphasOf({ alphas: [0, 0.1], median: [1, 2] }), [0, 0.1]);
});

test("ticks are round, few and within the range", () => {
  assert.deepEqual(ticksOf(0, 1), [0, 0.5, 1]);
  assert.deepEqual(ticksOf(-0.5, 2.08), [0, 1, 2]);
  assert.deepEqual(ticksOf(0, 0.3), [0, 0.1, 0.2, 0.3].map((_, at) => at * 0.1));
  for (const [low, high] of [[0, 3e-6], [-7, 950], [0, 3e7]]) {
    const found = ticksOf(low, high);
    assert.ok(found.length >= 1 && found.length <= 5, `${found}`);
    assert.ok(found.every((value) => value >= low - 1e-6 * high && value <= high * (1 + 1e-6)), `${found}`);
  }
});

test("panels show 0 to 1 at least, and cut what runs away", () => {
  const range = (values) => rangeOf([{ curves: [{ median: values }] }]);
  assert.deepEqual(range([0.2, null, 0.8]), { range: [0, 1.04], cut: false });
  assert.deepEqual(range([-0.2, 1.5]), { range: [-0.2, 1.56], cut: false });
  assert.deepEqual(range([-3, 9]), { range: [-0.5, 2.08], cut: true });
});

test("a key is told once, and of many layers those drawn alike are one", () => {
  const look = (ink) => ({ ink: () => ink, dash: [], wide: 1 });
  const layers = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((layer) => ({ name: `layer ${layer}`, look: look(layer < 4 ? "first" : layer < 9 ? "middle" : "last") }));
  const named = (curves) => legendOf([{ curves }]).map((one) => one.name);
  assert.deepEqual(named([...layers, ...layers]), ["layers 1 to 3", "layers 4 to 8", "layer 9"]);
  assert.deepEqual(named(layers.slice(0, 8)), layers.slice(0, 8).map((one) => one.name));
  assert.deepEqual(named(layers.filter((_, at) => at !== 1).concat({ name: "all", look: look("first") }, { name: "" })),
    ["layer 1", "layer 3", "layers 4 to 8", "layer 9", "all"]);
  const [kept] = legendOf([{ curves: [{ name: "one", at: 1 }] }, { curves: [{ name: "one", at: 2 }] }]);
  assert.equal(kept.at, 1);
  assert.deepEqual(legendOf([{ image: "no curves" }]), []);
});

test("what was deflated is read, whatever its bytes are, and damage is told", async () => {
  const every = Uint8Array.from({ length: 1000 }, (_, at) => (at * 7) % 256);
  assert.deepEqual(new Uint8Array(await inflated(packed(every)).arrayBuffer()), every);
  assert.deepEqual(await inflated(packed(Buffer.from(JSON.stringify({ said: "é\u2028🙂" })))).json(), { said: "é\u2028🙂" });
  await assert.rejects(inflated(packed(every).slice(0, 40)).arrayBuffer());
  assert.throws(() => inflated("no base64!"));
});

// Two triples of four cells: the second's last cell is red 255, green 0, blue 51, its token the third.
async function twoTriples() {
  const bytes = new Uint8Array(3 * 8 + 2 * 8);
  bytes.set([255, 0, 51], 3 * 7);
  new DataView(bytes.buffer).setUint16(24 + 2 * 7, 2, true);
  const slices = { size: 2, extent: [-0.5, 1.5], largest: [[1, 1, 1], [10, 20, 40]], tokens: [" a", " b", " c"], packed: packed(bytes) };
  return [slices, await unpack(slices)];
}

test("a cell tells its place, its distances and its token", async () => {
  const [slices, cells] = await twoTriples();
  const last = cellOf(slices, cells, 1, 1, 1);
  assert.deepEqual([last.alpha, last.beta, last.token], [1.5, 1.5, " c"]);
  assert.deepEqual(last.shares, [0, 1, 0.8]);
  [0, 20, 32].forEach((distance, at) => near(last.distances[at], distance));
  const first = cellOf(slices, cells, 1, 0, 0);
  assert.deepEqual([first.alpha, first.beta, first.token, first.distances], [-0.5, -0.5, " a", [10, 20, 40]]);
  assert.equal(await unpack(slices), cells);
});

test("references lie in the middle of their cells", async () => {
  const [slices] = await twoTriples();
  assert.deepEqual([-0.5, 0.5, 1.5].map((value) => placed(slices, value)), [25, 50, 75]);
});

test("the nearest reference gives the colour, paler farther off", () => {
  assert.deepEqual(cellColour([10, 20, 30], true), [10, 20, 30]);
  assert.deepEqual(cellColour([255, 3, 3], false), [213, 94, 0]);
  assert.deepEqual(cellColour([0, 0, 255], false), [0, 114, 178]);
  assert.deepEqual(cellColour([0, 0, 0], false), [255, 255, 255]);
});
