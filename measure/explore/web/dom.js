// Elements, numbers as words, files made here. Text from outside becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const known = (value) => value !== null && value !== undefined;

export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && known(value)) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter(known));
  return element;
}

export function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) if (known(value)) element.setAttribute(name, value);
  element.append(...children.flat().filter(known));
  return element;
}

export const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits).replace("-", "−") : "none");
export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
// A prompt or token as one sees it: in quotes, line ends and the like spelled, half characters as they are sent.
export const quoted = (text) => JSON.stringify(text).replace(/[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, (one) => `\\u${one.charCodeAt(0).toString(16)}`);

export function button(text, click, more = {}) {
  return make("button", { type: "button", click, ...more }, text);
}

// A label, and what it is of, in one line.
export function field(label, control, more = {}) {
  return make("label", { class: "field", ...more }, make("span", {}, label), control);
}

export function choice(options, value, change, more = {}) {
  const made = make("select", { change: () => change(made.value), ...more }, options.map(([one, text]) => make("option", { value: one }, text)));
  made.value = value;
  return made;
}

// ---- colours: the style sheet's, asked for once until they change

const palette = new Map();
export const scheme = window.matchMedia("(prefers-color-scheme: dark)");
scheme.addEventListener("change", () => palette.clear());

export function colour(name) {
  if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return palette.get(name);
}

// As on white paper: for files.
export function inPrint(draw) {
  document.documentElement.setAttribute("data-print", "");
  palette.clear();
  try {
    return draw();
  } finally {
    document.documentElement.removeAttribute("data-print");
    palette.clear();
  }
}

// ---- files

// Text that a spreadsheet would take for a formula is told to be text.
function cell(value) {
  if (!known(value)) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csv = (head, rows) => `${[head, ...rows].map((cells) => cells.map(cell).join(",")).join("\r\n")}\r\n`;
// As it is, for what is read back: a prompt may begin with a sign.
const exact = (value) => (/[",\n\r]/.test(value) || value !== value.trim() ? `"${value.replaceAll('"', '""')}"` : value);
export const exactCsv = (head, rows) => `${[head, ...rows].map((cells) => cells.map(exact).join(",")).join("\r\n")}\r\n`;

export function saveAs(content, type, name) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const away = make("a", { href: address, download: name, hidden: true });
  document.body.append(away);
  away.click();
  away.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

const fileName = (label, ending) => `${label.toLowerCase().replace(/[^a-z0-9.]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "chart"}.${ending}`;

function svgText(drawing) {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(drawing)}`;
}

async function png(drawing) {
  const address = URL.createObjectURL(new Blob([svgText(drawing)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const [width, height] = ["width", "height"].map((side) => 2 * Number(drawing.getAttribute(side)));
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(image, 0, 0, width, height);
    return await new Promise((done) => { canvas.toBlob(done, "image/png"); });
  } finally {
    URL.revokeObjectURL(address);
  }
}

// `as`: makes the text of the CSV, and the drawing, when they are asked for; `label()` names the file.
export function saveButtons(what, label, as) {
  const named = (kind, save) => button(kind, save, { class: "save", "aria-label": `Save ${what} as ${kind}` });
  return make("span", { class: "saves" },
    named("PNG", async () => saveAs(await png(inPrint(as.svg)), "image/png", fileName(label(), "png"))),
    named("SVG", () => saveAs(svgText(inPrint(as.svg)), "image/svg+xml", fileName(label(), "svg"))),
    named("CSV", () => saveAs(as.csv(), "text/csv;charset=utf-8", fileName(label(), "csv"))));
}
