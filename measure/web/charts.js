// ---- colours and dashes

  // Steps of viridis, without its ends that are too pale on white, or too dark on black: for what has an order.
  const RAMP = {
    light: ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#4fae3d"],
    dark: ["#8a6fc9", "#6f8fd0", "#4fa8c9", "#35b8ae", "#4fc98a", "#9bd93c", "#fde725"],
  };
  // Colours of the style sheet for what has none: kinds of pairs, what is read, what was done to the weights.
  const PAIRINGS = { similar: "similar", printed_similar: "similar", dissimilar: "dissimilar", printed_dissimilar: "dissimilar" };
  const READS = { final_norm: ["accent", []], residual: ["shuffled", [7, 3]], logits: ["third", [2, 3]] };
  const GROUPS = {
    "norm-only null": ["soft", [1, 3]], "all weights shuffled": ["shuffled", [7, 4]], "untrained weights": ["untrained", [2, 2]],
    "later blocks shuffled": ["before", [9, 3]], "later rows shuffled": ["third", [5, 3]], "later spectrum kept": ["similar", [3, 3]],
    "later blocks Gaussian": ["dissimilar", [9, 3, 2, 3]], "later neurons permuted": ["good", [6, 2, 1, 2]],
  };

  const printing = () => document.documentElement.hasAttribute("data-print");
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => !printing() && scheme.matches;
  // The style sheet's, asked for once until they change: each asking makes the browser lay the page out.
  const palette = new Map();

  function colour(name) {
    if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
    return palette.get(name);
  }

  // As on paper, whatever the page is shown in.
  function inPrint(draw) {
    const before = printing();
    document.documentElement.setAttribute("data-print", "");
    palette.clear();
    try {
      return draw();
    } finally {
      if (!before) document.documentElement.removeAttribute("data-print");
      palette.clear();
    }
  }

  const distinct = (values) => [...new Set(values)];

  // How a case's results are drawn: an order by a ramp, categories by hues, the paper's own pairs thin.
  function looksOf(results) {
    const trained = results.filter((result) => result.group === "trained");
    const shades = distinct(trained.map((result) => result.shade));
    const reads = distinct(trained.map((result) => result.read || "final_norm"));
    return (result) => {
      const [ink, dash] = GROUPS[result.group] || ["third", [4, 2]];
      const other = result.group !== "trained";
      const [read, stroke] = READS[result.read || "final_norm"] || ["third", [2, 3]];
      const at = shades.indexOf(result.shade);
      const step = shades.length < 2 || at < 0 ? 2 : Math.round((at * 6) / (shades.length - 1));
      const base = { dash: other ? dash : [], thin: (result.pairing || "").startsWith("printed"), key: result.series };
      // Where the hue says which pairs, how thick a line is says the order.
      const wide = shades.length > 1 && at >= 0 ? 1 + step / 5 : undefined;
      if (PAIRINGS[result.pairing]) return { ...base, wide, ink: () => colour(PAIRINGS[result.pairing]) };
      if (reads.length > 1 && shades.length < 2) return { ...base, ink: () => colour(read), dash: other ? dash : stroke };
      if (other) return { ...base, ink: () => colour(ink), ramp: at < 0 ? null : step };
      return { ...base, ink: () => ramp(step), dash: reads.length > 1 ? stroke : [], ramp: step };
    };
  }

  const ramp = (step) => RAMP[dark() ? "dark" : "light"][step];

  function faded(ink, share) {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(ink.slice(at, at + 2), 16));
    return `rgba(${red}, ${green}, ${blue}, ${share})`;
  }

  function swatch(look) {
    const drawing = shape("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" });
    const line = shape("line", { x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": look.thin ? 1.5 : 1.5 * (look.wide || 2), "stroke-dasharray": look.dash.join(" ") });
    drawing.append(line);
    painted(drawing, () => line.setAttribute("stroke", look.ink()));
    return drawing;
  }

  // ---- charts: what is drawn by uPlot, and drawn again when the colours or the width change

  const plots = new Map();
  const repaints = [];

  // Paints now, and again as long as `element` stands in the page.
  function painted(element, paint) {
    paint();
    repaints.push({ element, paint });
  }

  function repaint() {
    palette.clear();
    const left = repaints.filter(({ element }) => element.isConnected);
    repaints.splice(0, repaints.length, ...left);
    for (const { paint } of left) paint();
    for (const plot of plots.values()) plot.redraw(false, true);
  }

  scheme.addEventListener("change", repaint);
  window.addEventListener("beforeprint", () => { work(Infinity); document.documentElement.setAttribute("data-print", ""); repaint(); });
  window.addEventListener("afterprint", () => { document.documentElement.removeAttribute("data-print"); repaint(); });
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
  const alphasOf = (curve) => curve.alphas || evenly(curve.median.length);

  // Curves of several lengths on the union of their alphas; where one has no point there is null, and its line goes on.
  function joined(curves) {
    const alphas = distinct(curves.flatMap((curve) => curve.alphas)).sort((a, b) => a - b);
    const place = new Map(alphas.map((alpha, at) => [alpha, at]));
    return [alphas, ...curves.flatMap((curve) => QUARTILES.map((quartile) => {
      const column = Array(alphas.length).fill(null);
      curve.alphas.forEach((alpha, at) => { column[place.get(alpha)] = curve[quartile][at]; });
      return column;
    }))];
  }

  // `curves`: name, alphas, q25, median, q75, shown, thin; `look`, or `ink` and `dash`. `read` says a value.
  function chart(holder, given, options) {
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

