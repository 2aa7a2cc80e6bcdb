// ---- charts as files, made here: nothing is asked of any server

  // Text that a spreadsheet would take for a formula is told to be text.
  function cell(value) {
    if (!known(value)) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  const csv = (head, rows) => [head, ...rows].map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n";

  function curvesCsv(curves, y) {
    const rows = curves.flatMap((curve) => curve.alphas.map((alpha, at) =>
      [curve.panel, curve.name, alpha, ...QUARTILES.map((quartile) => (curve[quartile] ? curve[quartile][at] : null))].filter((value) => value !== undefined)));
    const panels = curves.some((curve) => curve.panel !== undefined);
    return csv([...(panels ? ["panel"] : []), "curve", "alpha", ...QUARTILES.map((quartile) => `${quartile} of ${y}`)], rows);
  }

  function fileName(label, ending) {
    return `${label.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 100) || "chart"}.${ending}`;
  }

  function saveAs(content, type, name) {
    const address = URL.createObjectURL(new Blob([content], { type }));
    const away = make("a", { href: address, download: name, hidden: true });
    document.body.append(away);
    away.click();
    away.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  // `as`: makes the text of the CSV, and the drawing of the SVG, when they are asked for; either may be a promise.
  function saveButtons(label, as) {
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

