// Lines: drawn by uPlot, read by pointer and arrow keys, told to screen readers, saved as files.

import { colour, csv, fixed, known, make, saveButtons, scheme, shape } from "./dom.js";

const FONT = "system-ui, 'Segoe UI', Roboto, sans-serif";
const charts = new Set();
const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    if (target.plot && contentRect.width > 0) target.plot.setSize({ width: Math.floor(contentRect.width), height: target.plot.height });
  }
});
scheme.addEventListener("change", () => setTimeout(() => charts.forEach((one) => one.repaint())));

export function swatch({ ink, dash = [], width = 2 }) {
  const line = shape("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": width, "stroke-dasharray": dash.join(" ") || null, class: `ink-${ink}` });
  return shape("svg", { class: "swatch", viewBox: "0 0 26 10", "aria-hidden": "true" }, line);
}

function axis(label, size) {
  return {
    label, size, labelSize: 18, gap: 4, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
    stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { stroke: () => colour("line"), width: 1 },
  };
}

export function spanOf(series, least = []) {
  const values = [...series.flatMap((one) => one.y), ...least].filter((value) => known(value) && Number.isFinite(value));
  if (!values.length) return [0, 1];
  const low = Math.min(...values), high = Math.max(...values), room = 0.04 * (high - low || Math.abs(high) || 1);
  return [low - room, high + room];
}

// `x`: its label, `read`, which says a place on it, `whole` where there is nothing between whole numbers; `y`: label; `least`: values that are always in view.
export class Chart {
  constructor(holder, { label, x, y, height = 280, least = [], range, onPlace, name }) {
    Object.assign(this, { label, x, y, height, least, range, onPlace, series: [], at: 0, name: name || (() => label) });
    this.plotted = make("div", { class: "plot", role: "slider", tabindex: 0, "aria-label": `${label}: ${x.label}`, "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": 0, "aria-valuetext": "nothing measured yet", keydown: (event) => this.key(event) });
    this.where = make("p", { class: "small soft where" }, "Point at the chart, or focus it and use the arrow keys, to read values.");
    this.legend = make("ul", { class: "legend" });
    holder.append(this.plotted, make("div", { class: "under" }, this.where, saveButtons(label, this.name, { csv: () => this.csv(), svg: () => this.svg() })), this.legend);
    charts.add(this);
  }

  // `series`: name, x, y, ink, dash, width; all on one x.
  draw(series) {
    const same = this.plot && series.length === this.series.length && series.every((one, at) => one.name === this.series[at].name && one.ink === this.series[at].ink);
    this.series = series;
    const data = series.length ? [series[0].x, ...series.map((one) => one.y)] : [[0, 1]];
    if (same) this.plot.setData(data);
    else this.build(data);
    this.tell();
  }

  build(data) {
    if (this.plot) this.plot.destroy();
    this.plot = new uPlot({
      width: Math.max(200, Math.floor(this.plotted.clientWidth)), height: this.height, legend: { show: false }, padding: [8, 10, 0, 0],
      scales: { x: { time: false, range: () => this.ends() }, y: { range: () => this.range || spanOf(this.series, this.least) } },
      axes: [{ ...axis(this.x.label, 40), space: 60, ...(this.x.whole ? { incrs: [1, 2, 5, 10, 20, 50, 100] } : {}) }, axis(this.y, 62)],
      series: [{ label: this.x.label }, ...this.series.map((one) => ({
        label: one.name, stroke: () => colour(one.ink), dash: one.dash || [], width: one.width || 2, points: { show: false }, spanGaps: false }))],
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      hooks: { setCursor: [(it) => { if (known(it.cursor.idx)) { this.at = it.cursor.idx; this.tell(); } }] },
    }, data, this.plotted);
    this.plotted.plot = this.plot;
    widths.observe(this.plotted);
    this.legend.replaceChildren(...this.series.map((one) => make("li", {}, swatch(one), make("span", {}, one.name), make("output", { "aria-live": "off" }))));
  }

  ends() {
    const x = this.series.length ? this.series[0].x : [0, 1];
    const [low, high] = this.x.ends || [x[0], x[x.length - 1]];
    // Without extent there would be no end of ticks.
    return low < high ? [low, high] : [low - 0.5, high + 0.5];
  }

  repaint() {
    if (this.plot) this.plot.redraw(false, true);
  }

  // Says the values at the place that is pointed to.
  tell() {
    const outputs = this.legend.querySelectorAll("output");
    if (!this.series.length) return;
    const { x } = this.series[0];
    this.at = Math.min(this.at, x.length - 1);
    const place = this.x.read(x[this.at]);
    const said = this.series.map((one, number) => {
      const text = fixed(one.y[this.at]);
      if (outputs[number]) outputs[number].textContent = text;
      return `${one.name} ${text}`;
    });
    this.where.textContent = place;
    this.plotted.setAttribute("aria-valuemin", x[0]);
    this.plotted.setAttribute("aria-valuemax", x[x.length - 1]);
    this.plotted.setAttribute("aria-valuenow", x[this.at]);
    this.plotted.setAttribute("aria-valuetext", `${place}: ${said.join(", ")}`);
    if (this.onPlace) this.onPlace(this.at);
  }

  key(event) {
    if (!this.series.length) return;
    const last = this.series[0].x.length - 1;
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -last, End: last }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.at = Math.min(last, Math.max(0, this.at + step));
    this.plot.setCursor({ left: this.plot.valToPos(this.series[0].x[this.at], "x"), top: 10 });
    this.tell();
  }

  csv() {
    const head = [this.x.label, ...this.series.map((one) => one.name)];
    const rows = this.series.length ? this.series[0].x.map((x, at) => [x, ...this.series.map((one) => one.y[at])]) : [];
    return csv(head, rows);
  }

  svg() {
    return linesSvg({ title: this.name(), series: this.series, x: this.x.label, y: this.y, ends: this.ends(), whole: this.x.whole, range: this.range || spanOf(this.series, this.least) });
  }
}

// ---- the same as a drawing

export function words(x, y, text, more = {}) {
  // Half characters and control characters cannot stand in a file of XML.
  const whole = text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|[\u0000-\u001f\ufffe\uffff]/g, "\ufffd");
  return shape("text", { x, y, "font-family": FONT, "font-size": 12, fill: colour("ink"), ...more }, whole);
}

export function frame(title, width, height) {
  return shape("svg", { xmlns: "http://www.w3.org/2000/svg", width, height, viewBox: `0 0 ${width} ${height}`, role: "img" },
    shape("title", {}, document.createTextNode(title.replace(/[^\P{C}]/gu, "\ufffd"))), shape("rect", { width, height, fill: colour("page") }),
    words(14, 20, title.length > 90 ? `${title.slice(0, 89)}…` : title, { "font-weight": 600, "font-size": 13 }));
}

export function ticks(low, high, most = 6) {
  const rough = (high - low) / most || 1, unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * unit).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Number(value.toPrecision(10)));
  return found;
}

function linesSvg({ title, series, x, y, ends, whole, range }) {
  const width = 640, top = 34, left = 64, right = 620, bottom = 330, height = 372 + 18 * series.length;
  const drawing = frame(title, width, height);
  const across = (value) => left + ((value - ends[0]) / (ends[1] - ends[0] || 1)) * (right - left);
  const up = (value) => bottom - ((value - range[0]) / (range[1] - range[0] || 1)) * (bottom - top);
  for (const value of ticks(...ends).filter((one) => !whole || Number.isInteger(one))) drawing.append(shape("line", { x1: across(value), x2: across(value), y1: top, y2: bottom, stroke: colour("line") }), words(across(value), bottom + 16, String(value), { "text-anchor": "middle", fill: colour("soft") }));
  for (const value of ticks(...range)) drawing.append(shape("line", { x1: left, x2: right, y1: up(value), y2: up(value), stroke: colour("line") }), words(left - 6, up(value) + 4, String(value), { "text-anchor": "end", fill: colour("soft") }));
  drawing.append(words((left + right) / 2, bottom + 34, x, { "text-anchor": "middle", fill: colour("soft") }),
    words(16, (top + bottom) / 2, y, { "text-anchor": "middle", fill: colour("soft"), transform: `rotate(-90 16 ${(top + bottom) / 2})` }));
  series.forEach((one, at) => {
    const runs = [[]];
    one.x.forEach((value, place) => (known(one.y[place]) ? runs.at(-1).push(`${across(value).toFixed(2)} ${up(Math.min(range[1], Math.max(range[0], one.y[place]))).toFixed(2)}`) : runs.push([])));
    const look = { fill: "none", stroke: colour(one.ink), "stroke-width": one.width || 2, "stroke-dasharray": (one.dash || []).join(" ") || null };
    for (const run of runs) if (run.length > 1) drawing.append(shape("path", { d: `M${run.join("L")}`, "stroke-linejoin": "round", ...look }));
    const line = bottom + 54 + 18 * at;
    drawing.append(shape("line", { x1: left, x2: left + 28, y1: line - 4, y2: line - 4, ...look }), words(left + 36, line, one.name.slice(0, 80)));
  });
  return drawing;
}
