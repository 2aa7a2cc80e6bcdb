// What takes long is done in turn, a little at a time, so that opening hundreds of cases keeps the page alive.

import { make } from "./elements.js";

const waiting = new Map();

export function later(inside, fill) {
  if (inside.hasChildNodes()) return;
  if (!waiting.size) setTimeout(() => work(performance.now() + 40));
  waiting.set(inside, fill);
  document.documentElement.setAttribute("data-busy", "");
}

export function work(until) {
  for (const [inside, fill] of waiting) {
    waiting.delete(inside);
    try {
      fill();
    } catch (error) {
      // One that cannot be drawn costs itself alone.
      inside.append(make("p", { class: "problem" }, `The rest of this cannot be drawn (${error}); measure report makes the page again.`));
      console.error(error);
    }
    if (performance.now() > until) break;
  }
  if (waiting.size) setTimeout(() => work(performance.now() + 40));
  else document.documentElement.removeAttribute("data-busy");
}
