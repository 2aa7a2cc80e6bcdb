// Charts by uPlot: read by pointer and arrow keys, told to readers of screens, saved as files.

import { colour, faded, inPrint } from "./colours.js";
import { curvesCsv } from "./csv.js";
import { alphasOf, joined } from "./curves.js";
import { panelsSvg } from "./drawing.js";
import { make } from "./elements.js";
import { fixed, known, QUARTILES, span, tiny } from "./numbers.js";
import { plots, swatch } from "./painting.js";
import { saveButtons } from "./saving.js";

const widths = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const plot = plots.get(target);
    if (plot && contentRect.width > 0) plot.setSize({ width: Math.floor(contentRect.width), height: plot.height });
  }
});

function axis(label, size) {
  return {
    label, size, labelSize: 20, gap: 4, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
    stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { stroke: () => colour("line"), width: 1 },
  };
}

const widthOf = (curve) => (curve.thin ? 1 : curve.look.wide || 2);

// `curves`: name, alphas, q25, median, q75, shown, thin; `look`, or `ink` and `dash`. `read` says a value.
export function chart(holder, given, options) {
  const curves = given.map((curve) => ({
    ...curve, alphas: alphasOf(curve), look: curve.look || { ink: () => colour(curve.ink || "accent"), dash: curve.dash || [], thin: curve.thin } }));
  const parts = chartParts(curves, options);
  holder.append(parts.plotted, make("div", {}, parts.where, parts.legend, saveButtons(options.label, {
    csv: () => curvesCsv(curves, options.y),
    svg: () => inPrint(() => panelsSvg(options.label, [{ title: options.label, curves: curves.filter((_, at) => plot.series[3 * at + 1].show) }],
      { y: options.y, lines: options.lines, range: [plot.scales.y.min, plot.scales.y.max] })),
  })));
  const plot = uPlotted(parts, curves, options);
  plots.set(parts.plotted, plot);
  widths.observe(parts.plotted);
  keyboard(parts.plotted, plot);
  toggles(parts, plot, curves);
  return { plot, buttons: parts.buttons, curves };
}

function chartParts(curves, { label, height = 290 }) {
  const plotted = make("div", {
    class: height < 200 ? "plot low" : "plot", role: "slider", tabindex: 0, "aria-label": `${label}: alpha`,
    "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": 0, "aria-valuetext": "arrow keys read the curves",
  });
  const values = curves.map(() => make("output", { "aria-live": "off" }));
  const buttons = curves.map((curve) => make("button", { type: "button", "aria-pressed": String(curve.shown !== false) },
    swatch(curve.look), curve.name));
  const where = make("p", { class: "small soft readout" }, "Hover, or focus and use the arrow keys, to read values.");
  const legend = make("ul", { class: "legend" }, curves.map((_, at) => make("li", {}, buttons[at], values[at])));
  return { plotted, values, buttons, where, legend };
}

function uPlotted(parts, curves, { y, height = 290, range, read = (value) => fixed(value), lines = [], digits }) {
  const narrow = curves.filter((curve) => curve.shown !== false).length > 4;
  const series = curves.flatMap((curve) => QUARTILES.map((quartile) => ({
    label: `${curve.name} ${quartile}`, show: curve.shown !== false, spanGaps: true, points: { show: false },
    stroke: () => curve.look.ink(), dash: curve.look.dash, width: quartile === "median" ? widthOf(curve) : 0,
  })));
  const bands = curves.flatMap((curve, at) => (curve.thin ? [] : [{
    series: [3 * at + 3, 3 * at + 1], fill: () => faded(curve.look.ink(), narrow ? 0.1 : 0.2) }]));
  return new uPlot({
    width: Math.max(200, Math.floor(parts.plotted.clientWidth)), height, legend: { show: false }, padding: [8, 8, 0, 0],
    scales: { x: { time: false, range: [0, 1] }, y: { range: range || ((_, low, high) => span([low, high])) } },
    axes: [{ ...axis("alpha", 28), space: 70 }, { ...axis(y, digits ? 78 : 44), ...(digits ? { values: (_, splits) => splits.map(tiny) } : {}) }],
    series: [{ label: "alpha" }, ...series], bands,
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    hooks: { setCursor: [(it) => readOut(parts, it, curves, read)], drawClear: [(it) => lines.forEach((line) => rule(it, line))] },
  }, joined(curves), parts.plotted);
}

// Says the curves' values at the place that is pointed to.
function readOut(parts, plot, curves, read) {
  const alpha = known(plot.cursor.idx) ? plot.data[0][plot.cursor.idx] : null;
  if (!known(alpha)) return;
  parts.where.textContent = `alpha = ${alpha.toFixed(3)}: median [quartiles]`;
  const said = curves.map((curve, number) => {
    const near = curve.alphas.reduce((best, other, place) =>
      (Math.abs(other - alpha) < Math.abs(curve.alphas[best] - alpha) ? place : best), 0);
    const [low, middle, high] = QUARTILES.map((quartile) => read(curve[quartile][near]));
    const text = curve.thin ? middle : `${middle} [${low}, ${high}]`;
    parts.values[number].textContent = plot.series[3 * number + 1].show ? text : "";
    return plot.series[3 * number + 1].show ? `${curve.name} ${middle}` : null;
  });
  parts.plotted.setAttribute("aria-valuenow", alpha.toFixed(3));
  parts.plotted.setAttribute("aria-valuetext", `alpha ${alpha.toFixed(3)}: ${said.filter(known).join(", ")}`);
}

function keyboard(plotted, plot) {
  let current = 0;
  plotted.addEventListener("keydown", (event) => {
    const last = plot.data[0].length - 1;
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -last, End: last }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    current = Math.min(last, Math.max(0, (known(plot.cursor.idx) ? plot.cursor.idx : current) + step));
    plot.setCursor({ left: plot.valToPos(plot.data[0][current], "x"), top: 10 });
  });
}

// The legend's buttons show and hide curves.
function toggles({ buttons, values }, plot, curves) {
  buttons.forEach((button, at) => {
    const show = (on) => {
      button.setAttribute("aria-pressed", String(on));
      plot.batch(() => [1, 2, 3].forEach((part) => plot.setSeries(3 * at + part, { show: on })));
      values[at].textContent = "";
    };
    button.addEventListener("click", () => show(button.getAttribute("aria-pressed") !== "true"));
    button.toggle = show;
    const heavy = (width) => { plot.series[3 * at + 2].width = width; plot.redraw(false, true); };
    button.addEventListener("pointerenter", () => heavy(4));
    button.addEventListener("pointerleave", () => heavy(widthOf(curves[at])));
  });
}

// A straight line behind the curves, from one end of alpha to the other; a band where it has two heights.
function rule(plot, { from, to, band, ink }) {
  const { ctx, bbox } = plot;
  const place = (value) => plot.valToPos(value, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  if (band) {
    ctx.fillStyle = faded(colour(ink), 0.18);
    ctx.fillRect(bbox.left, place(band), bbox.width, place(-band) - place(band));
  } else {
    ctx.beginPath();
    ctx.strokeStyle = colour(ink);
    ctx.setLineDash([3, 4]);
    ctx.moveTo(bbox.left, place(from));
    ctx.lineTo(bbox.left + bbox.width, place(to));
    ctx.stroke();
  }
  ctx.restore();
}
