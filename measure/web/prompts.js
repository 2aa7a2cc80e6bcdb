// ---- prompts, which come from outside and may hold anything

  const CLIP = 300;
  // Characters that cannot be seen, or turn around the text beside them.
  const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\u2028\u2029\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u115f\u1160\u3164\uffa0]/gu;
  const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

  const code = (character) => [...Array(character.length).keys()].map((at) =>
    `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");

  // Of what cannot be seen the code.
  const spelled = (text) => text.replace(UNSEEN, (found) => SHORT[found] || code(found));

  // A text in quotation marks, so that blanks at its ends are seen, and what cannot be seen spelled out.
  function quoted(text) {
    return `"${spelled(text.replaceAll("\\", "\\\\").replaceAll('"', '\\"'))}"`;
  }

  // A prompt; of a long one its two ends, the whole where it is asked for.
  function promptText(text) {
    const whole = quoted(text);
    if (whole.length <= CLIP) return make("bdi", { class: "prompt" }, whole);
    const ends = `${[...whole].slice(0, CLIP / 2).join("")} … ${[...whole].slice(-CLIP / 2).join("")}`;
    return make("details", { class: "more" }, make("summary", {}, make("bdi", { class: "prompt" }, ends)),
      make("bdi", { class: "prompt" }, whole), make("p", { class: "small soft" }, plural([...text].length, "character")));
  }

  function promptRows(texts) {
    return texts.map((text, at) => [make("b", {}, "ABC"[at] || String(at + 1)), promptText(text)]);
  }

  const promptsOf = (result) => (known(result.prompts) ? report.prompts[result.prompts] : null);

  // The pairs of a case, each set once, with the names under which their curves are drawn.
  function promptPart(results) {
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

