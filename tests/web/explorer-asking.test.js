// The explorer: what the server streams back, and who is heard.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

// What keeps the page listens to the window when it is read.
globalThis.window ??= { addEventListener() {}, matchMedia: () => ({ matches: false, addEventListener() {} }) };
// The page looks for its server again and again; that must not keep the tests alive.
const every = globalThis.setInterval;
globalThis.setInterval = (...given) => every(...given).unref();
const { about, asked, isRunning, Refused, stop, streamed } = await import("../../measure/explore/web/asking.js");
const whole = globalThis.fetch;
afterEach(() => { globalThis.fetch = whole; });

// Answers with these pieces, one at a time; `between` is called before each.
function answering(pieces, between = () => {}) {
  globalThis.fetch = async (path, { signal, body }) => {
    const left = pieces.map((one) => (typeof one === "string" ? new TextEncoder().encode(one) : one));
    const stream = new ReadableStream({
      async pull(control) {
        await between(left.length, { path, body: JSON.parse(body) });
        if (signal.aborted) control.error(signal.reason);
        else if (left.length) control.enqueue(left.shift());
        else control.close();
      },
    }, { highWaterMark: 0 });
    return new Response(stream);
  };
}

async function heardOf(pieces) {
  const heard = [];
  answering(pieces);
  const ended = await streamed("curve", "curves", {}, (event) => heard.push(event.n));
  return [ended, heard];
}

test("events are heard one by one, however the answer was cut", async () => {
  const bytes = new TextEncoder().encode('{"type":"x","n":1}\n{"type":"x","n":"é🙂"}\n{"type":"end"}\n');
  assert.deepEqual(await heardOf([bytes]), [true, [1, "é🙂"]]);
  assert.deepEqual(await heardOf(Array.from(bytes, (one) => Uint8Array.of(one))), [true, [1, "é🙂"]]);
  assert.equal(isRunning("curve"), false);
});

test("a question that was cancelled by the server ended otherwise than at its end", async () => {
  assert.deepEqual(await heardOf(['{"type":"x","n":1}\n{"type":"cancelled"}\n']), [false, [1]]);
});

test("an answer that breaks off, a problem and a refusal are told", async () => {
  await assert.rejects(heardOf(['{"type":"x","n":1}\n{"type":']), /^Error: The server ended in the middle of an answer\./);
  await assert.rejects(heardOf(['{"type":"problem","text":"too long"}\n']), (error) => error instanceof Refused && error.message === "too long");
  await assert.rejects(heardOf(["no JSON\n"]), (error) => error instanceof Refused && error.message.startsWith("The server's answer broke off ("));
  globalThis.fetch = async () => new Response(" not this \n", { status: 400 });
  await assert.rejects(asked("suite", {}), (error) => error instanceof Refused && error.message === "not this");
  await assert.rejects(about(), (error) => error instanceof Refused && error.message === "not this");
  globalThis.fetch = async () => new Response("", { status: 503 });
  await assert.rejects(asked("suite", {}), /The server refused \(503\)\./);
  globalThis.fetch = async () => { throw new TypeError("failed"); };
  await assert.rejects(asked("suite", {}), /^Error: The server does not answer\./);
  assert.equal(isRunning("curve"), false);
});

test("a newer question of a channel ends the older one, and only that is heard", async () => {
  const heard = [], questions = [], going = [];
  let newer;
  answering(['{"type":"x","n":1}\n', '{"type":"x","n":2}\n', '{"type":"end"}\n'], (left, question) => {
    questions.push(question.body.pair);
    if (left === 1) going.push(isRunning("curve"));
    if (left === 2 && !newer) newer = streamed("curve", "curves", { pair: "new" }, ({ n }) => heard.push(["new", n]));
  });
  assert.equal(await streamed("curve", "curves", { pair: "old" }, ({ n }) => heard.push(["old", n])), false);
  assert.equal(await newer, true);
  assert.deepEqual(heard, [["old", 1], ["new", 1], ["new", 2]]);
  assert.deepEqual([...new Set(questions)], ["old", "new"]);
  // The older one's end is not the newer one's.
  assert.deepEqual([going, isRunning("curve")], [[true], false]);
});

test("nothing more is heard of a question that was stopped by what was heard", async () => {
  const heard = [];
  answering(['{"type":"x","n":1}\n{"type":"x","n":2}\n{"type":"end"}\n']);
  assert.equal(await streamed("curve", "curves", {}, ({ n }) => { heard.push(n); stop("curve"); }), false);
  assert.deepEqual(heard, [1]);
});

test("channels do not end one another, and one can be stopped", async () => {
  answering(['{"type":"x","n":1}\n', '{"type":"end"}\n'], (left) => { if (left === 1) stop("layers"); });
  const both = await Promise.all(["curve", "layers"].map((channel) => streamed(channel, "curves", {}, () => {})));
  assert.deepEqual(both, [true, false]);
});
