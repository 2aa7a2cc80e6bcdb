// Prompts, which come from outside and may hold anything.

import { make, table } from "./elements.js";
import { known, plural } from "./numbers.js";
import { report } from "./report.js";
import { quoted } from "./text.js";

const CLIP = 300;

// A prompt; of a long one its two ends, the whole where it is asked for.
function promptText(text) {
  const whole = quoted(text);
  if (whole.length <= CLIP) return make("bdi", { class: "prompt" }, whole);
  const ends = `${[...whole].slice(0, CLIP / 2).join("")} … ${[...whole].slice(-CLIP / 2).join("")}`;
  return make("details", { class: "more" }, make("summary", {}, make("bdi", { class: "prompt" }, ends)),
    make("bdi", { class: "prompt" }, whole), make("p", { class: "small soft" }, plural([...text].length, "character")));
}

export function promptRows(texts) {
  return texts.map((text, at) => [make("b", {}, "ABC"[at] || String(at + 1)), promptText(text)]);
}

export const promptsOf = (result) => (known(result.prompts) ? report.prompts[result.prompts] : null);

// The pairs of a case, each set once, with the names under which their curves are drawn.
export function promptPart(results) {
  const sets = new Map();
  for (const result of results) {
    const texts = promptsOf(result);
    if (texts && texts.every((pair) => pair.length < 3) && !sets.has(result.prompts)) sets.set(result.prompts, result);
  }
  if (!sets.size) return null;
  const rows = [...sets.values()].flatMap((result) => promptsOf(result).map((texts, at) => [
    result.pairs && result.pairs.names[at] ? result.pairs.names[at] : `pair ${at + 1}`, ...["A", "B"].map((_, side) => promptText(texts[side] || ""))]));
  return make("details", { class: "more" }, make("summary", {}, `Prompts of the ${plural(rows.length, "single pair")}`),
    table("Prompts as they were handed to the model, in quotation marks; the output is read in the context of A", ["Pair", "A", "B"], rows, "prose"));
}
