// Charts as files, made here: nothing is asked of any server.

import { fileName } from "./csv.js";
import { make } from "./elements.js";

function saveAs(content, type, name) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  const away = make("a", { href: address, download: name, hidden: true });
  document.body.append(away);
  away.click();
  away.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// `as`: makes the text of the CSV, and the drawing of the SVG, when they are asked for; either may be a promise.
export function saveButtons(label, as) {
  const button = (kind, save) => {
    const made = make("button", { type: "button", class: "save", "aria-label": `Save ${label} as ${kind}` }, kind);
    made.addEventListener("click", save);
    return made;
  };
  return make("span", { class: "saves print-out" },
    button("CSV", async () => saveAs(await as.csv(), "text/csv;charset=utf-8", fileName(label, "csv"))),
    button("SVG", async () => {
      const drawing = await as.svg();
      drawing.removeAttribute("aria-hidden");
      saveAs(`<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(drawing)}`, "image/svg+xml", fileName(label, "svg"));
    }));
}
