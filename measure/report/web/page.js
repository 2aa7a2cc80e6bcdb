// All of it.

import { claimSection } from "./cases.js";
import { make } from "./elements.js";
import { figuresPart } from "./figures.js";
import { applyFilters, filterBar } from "./filters.js";
import { asked, reveal } from "./links.js";
import { known } from "./numbers.js";
import { report } from "./report.js";
import { answers, compared, drifted, head } from "./top.js";

function show() {
  const main = document.getElementById("main");
  head();
  const parts = [compared(), figuresPart(), answers(), drifted(), report.claims.length ? filterBar() : null, ...report.claims.map(claimSection)];
  main.append(make("p", { id: "missing", class: "problem", role: "status", hidden: true }), ...parts.filter(known));
  if (report.claims.length) applyFilters();
  window.addEventListener("hashchange", () => reveal(asked()));
  if (location.hash) {
    reveal(asked());
    const target = document.getElementById(asked());
    if (target) target.scrollIntoView();
  }
  document.documentElement.setAttribute("data-ready", "");
}

if (report) show();
