// Links within the page, and what they open.

import { make } from "./elements.js";
import { resetFilters } from "./filters.js";
import { spelled } from "./text.js";

export function link(anchor, text, classes) {
  const made = make("a", { href: `#${encodeURIComponent(anchor).replaceAll("%2F", "/")}`, class: classes }, text);
  made.addEventListener("click", () => reveal(anchor));
  return made;
}

// A link to what it stands in, to be copied.
export function anchorLink(anchor, what) {
  const made = link(anchor, "#", "anchor");
  made.setAttribute("aria-label", `Link to ${what}`);
  made.title = `#${anchor}`;
  return made;
}

// The place that the address names; what is no encoded text names none.
export function asked() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

// What the address names is opened, and shown where it was filtered out.
export function reveal(anchor) {
  const target = document.getElementById(anchor), missing = document.getElementById("missing");
  missing.textContent = anchor && !target ? `This page has nothing that is called ${spelled(anchor).slice(0, 200)}.` : "";
  missing.hidden = !missing.textContent;
  if (!target) return;
  if (target.closest(".hidden")) { document.getElementById("show-all").checked = true; resetFilters(); }
  if (target.tagName === "DETAILS") target.open = true;
}
