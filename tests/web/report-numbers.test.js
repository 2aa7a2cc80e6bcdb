// The report: numbers as words, text from outside, files.

import assert from "node:assert/strict";
import { test } from "node:test";

import { csv, curvesCsv, fileName } from "../../measure/report/web/csv.js";
import { distinct, evenly, fixed, interval, plural, signed, span, tiny } from "../../measure/report/web/numbers.js";
import { fitting, quoted, spelled } from "../../measure/report/web/text.js";

test("numbers carry a minus that is not a hyphen, and what is not known says none", () => {
  assert.equal(fixed(-1.23456), "−1.235");
  assert.equal(fixed(2, 1), "2.0");
  assert.equal(fixed(0), "0.000");
  assert.deepEqual([fixed(null), fixed(undefined), signed(null), tiny(undefined)], ["none", "none", "none", "none"]);
  assert.equal(signed(0.5), "+0.500");
  assert.equal(signed(-0.5), "−0.500");
  assert.equal(signed(0), "+0.000");
  assert.equal(tiny(-0.000012), "−1.2e−5");
  assert.equal(tiny(0), "0");
  assert.equal(interval({ estimate: 0.1, low: -0.2, high: 0.4 }), "+0.100 [−0.200, +0.400]");
});

test("one is singular, none and many are plural", () => {
  assert.deepEqual([0, 1, 2].map((count) => plural(count, "pair")), ["0 pairs", "1 pair", "2 pairs"]);
});

test("places are even from 0 to 1, and one alone is at 0", () => {
  assert.deepEqual(evenly(5), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(evenly(1), [0]);
  assert.deepEqual(evenly(0), []);
});

test("a span has room at both ends, also where all values are one, and leaves out what is not known", () => {
  assert.deepEqual(span([0, null, 100, undefined, 50]), [-4, 104]);
  assert.deepEqual(span([3]), [2.96, 3.04]);
});

test("what is distinct keeps its order", () => {
  assert.deepEqual(distinct(["b", "a", "b", "c", "a"]), ["b", "a", "c"]);
});

test("text shows what cannot be seen by its code", () => {
  assert.equal(spelled("a\tb\nc\r"), "a\\tb\\nc\\r");
  assert.equal(spelled("a\u202eb\u200b\u00a0"), "a\\u202eb\\u200b\\u00a0");
  assert.equal(spelled("\u{e0041}"), "\\udb40\\udc41");
  assert.equal(spelled("half \ud800 of one"), "half \\ud800 of one");
  assert.equal(spelled("é 漢 🙂"), "é 漢 🙂");
  assert.equal(quoted(' say "\\" '), '" say \\"\\\\\\" "');
});

test("a title that is too long says so within what is allowed", () => {
  assert.equal(fitting("abcdef", 6), "abcdef");
  assert.equal(fitting("abcdefg", 6), "abcde…");
});

test("cells of a CSV are quoted where they must be, and none is a formula", () => {
  const text = csv(["a", "b,c"], [["=1+1", 'say "x"'], ["-x", "two\nlines"], [null, -0.5], [undefined, "plain"]]);
  assert.equal(text, 'a,"b,c"\r\n\'=1+1,"say ""x"""\r\n\'-x,"two\nlines"\r\n,-0.5\r\n,plain\r\n');
});

test("curves stand in a CSV a line a point, with their panel where they have one", () => {
  const curve = { name: "one", alphas: [0, 1], q25: [0, 1], median: [0.5, 1.5], q75: [1, 2] };
  assert.equal(csv.length, 2);
  assert.equal(curvesCsv([curve], "r"), "curve,alpha,q25 of r,median of r,q75 of r\r\none,0,0,0.5,1\r\none,1,1,1.5,2\r\n");
  const bare = { name: "bare", panel: "null", alphas: [0], median: [3] };
  assert.equal(curvesCsv([bare], "r"), "panel,curve,alpha,q25 of r,median of r,q75 of r\r\nnull,bare,0,,3,\r\n");
});

test("a file's name is plain, and never empty", () => {
  assert.equal(fileName("Slice of OLMo 1.1m: A/B?", "csv"), "slice-of-olmo-1.1m-a-b.csv");
  assert.equal(fileName("…", "svg"), "chart.svg");
  assert.equal(fileName("../../etc", "svg"), "etc.svg");
  assert.equal(fileName("x".repeat(300), "svg").length, 104);
});
