// Which cases are shown.

import { make, titled } from "./elements.js";
import { plural } from "./numbers.js";
import { report } from "./report.js";

const filters = { show: "measured", text: "", families: new Set() };

export function resetFilters() {
  filters.show = "all";
  filters.text = "";
  filters.families = new Set(report.families);
  document.querySelectorAll(".filters input[type=checkbox]").forEach((box) => { box.checked = true; });
  document.querySelectorAll(".filters input[type=search]").forEach((box) => { box.value = ""; });
  applyFilters();
}

function passes(claim, entry) {
  if (filters.show !== "all" && !entry[filters.show]) return false;
  if (entry.families.length && !entry.families.some((family) => filters.families.has(family))) return false;
  const said = `${claim.title} ${entry.subject} ${titled(entry)} ${entry.state}`.toLowerCase();
  return filters.text.split(/\s+/).every((word) => said.includes(word));
}

export function applyFilters() {
  let shown = 0, all = 0;
  for (const claim of report.claims) {
    let some = false;
    for (const entry of claim.cases) {
      const on = passes(claim, entry);
      const details = document.getElementById(entry.anchor);
      for (const one of [details, details.parentElement]) one.classList.toggle("hidden", !on);
      some = some || on;
      shown += on;
      all += 1;
    }
    document.getElementById(claim.anchor).classList.toggle("hidden", !some);
  }
  document.getElementById("shown").textContent = `${shown} of ${plural(all, "case")} shown`;
}

const counting = (name) => report.claims.flatMap((claim) => claim.cases).filter((entry) => name === "all" || entry[name]).length;

function showRadios() {
  // Where nothing was measured that is what is to be seen.
  if (!counting("measured")) filters.show = "all";
  return ["measured", "failed", "moved", "all"].map((name) => {
    const box = make("input", { type: "radio", name: "show", value: name, id: `show-${name}`, checked: name === filters.show });
    box.addEventListener("change", () => { filters.show = name; applyFilters(); });
    return make("label", {}, box, `${name} (${counting(name)})`);
  });
}

function familyBoxes() {
  filters.families = new Set(report.families);
  return report.families.map((family) => {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) filters.families.add(family); else filters.families.delete(family);
      applyFilters();
    });
    return make("label", {}, box, family);
  });
}

export function filterBar() {
  const boxes = familyBoxes();
  const search = make("input", { type: "search", "aria-label": "Find cases by name, claim or verdict", placeholder: "case or verdict" });
  search.addEventListener("input", () => { filters.text = search.value.toLowerCase(); applyFilters(); });
  const all = make("button", { type: "button" }, "Open those shown");
  all.addEventListener("click", () => document.querySelectorAll("details.case:not(.hidden)").forEach((one) => { if (!one.closest("section.hidden")) one.open = true; }));
  const none = make("button", { type: "button" }, "Close all");
  none.addEventListener("click", () => document.querySelectorAll("details.case").forEach((one) => { one.open = false; }));
  const bar = make("div", { class: "filters", role: "search", "aria-label": "Which cases are shown" },
    make("fieldset", {}, make("legend", {}, "Cases"), showRadios()),
    boxes.length > 1 ? make("fieldset", {}, make("legend", {}, "Families"), boxes) : null,
    search, all, none, make("span", { id: "shown", role: "status", class: "soft small" }));
  // What sticks below the bar has to know how high it is.
  new ResizeObserver(() => document.documentElement.style.setProperty("--bar", getComputedStyle(bar).position === "sticky" ? `${bar.offsetHeight}px` : "0px")).observe(bar);
  return bar;
}
