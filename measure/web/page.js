// Draws the report that stands in the page as JSON. Text from the report becomes text nodes, never markup.
"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const QUARTILES = ["q25", "median", "q75"];
  const MARK = {
    supported: "✓", contradicted: "✗", inconclusive: "≈", "not measured": "–", "no verdict": "–", held: "✓", broken: "✗",
    "as accepted": "✓", moved: "✗", incomplete: "✗", refused: "✗", new: "?", failed: "✗",
  };
  const KIND = {
    supported: "supported", contradicted: "contradicted", inconclusive: "inconclusive", held: "good", broken: "bad",
    "as accepted": "good", moved: "bad", incomplete: "bad", refused: "bad", failed: "bad", new: "unsure",
  };
  const NOT_ACCEPTED = ["moved", "incomplete", "refused", "new"];
  // Steps of viridis, without its ends that are too pale on white, or too dark on black.
  const RAMP = {
    light: ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#4fae3d"],
    dark: ["#8a6fc9", "#6f8fd0", "#4fa8c9", "#35b8ae", "#4fc98a", "#9bd93c", "#fde725"],
  };

  // ---- elements

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  function shape(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  const known = (value) => value !== null && value !== undefined;
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  const signed = (value) => (known(value) ? `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}` : "none");
  const fixed = (value, digits = 3) => (known(value) ? value.toFixed(digits).replace("-", "−") : "none");
  const interval = (effect) => `${signed(effect.estimate)} [${signed(effect.low)}, ${signed(effect.high)}]`;

  function badge(word, text) {
    return make("span", { class: `badge ${KIND[word] || "none"}` }, `${MARK[word] || "–"} ${text || word}`);
  }

  function table(caption, head, rows, classes) {
    const titles = head.map((title) => make("th", { scope: "col" }, title));
    const lines = rows.map((cells) => make("tr", {}, cells.map((cell, place) =>
      place ? make("td", { class: /^[+−\d]/.test(cell) ? "number" : null }, cell) : make("th", { scope: "row" }, cell))));
    const whole = make("table", { class: classes }, make("caption", {}, caption),
      make("thead", {}, make("tr", {}, titles)), make("tbody", {}, lines));
    return scroll(caption, whole);
  }

  // What is too wide scrolls by itself, and can then be reached by the keyboard.
  const overflow = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const wide = target.scrollWidth > target.clientWidth;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", target.label]]) {
      if (wide) target.setAttribute(name, value); else target.removeAttribute(name);
    }
  }));

  function scroll(label, whole) {
    const around = make("div", { class: "scroll" }, whole);
    around.label = label;
    overflow.observe(around);
    return around;
  }

  // An estimate with its interval on a scale shared by its table; `margin` is where the interval must lie beyond.
  function whisker(entry, [low, high], margin) {
    const place = (value) => (100 * (value - low)) / (high - low || 1);
    const drawing = shape("svg", { class: "whisker", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    const upright = (at, kind) => drawing.append(shape("line", {
      x1: place(at), x2: place(at), y1: 0, y2: 12, class: kind, "vector-effect": "non-scaling-stroke" }));
    const level = (from, to, kind) => drawing.append(shape("line", {
      x1: place(from), x2: place(to), y1: 6, y2: 6, class: kind, "vector-effect": "non-scaling-stroke" }));
    if (known(margin)) {
      upright(0, "zero");
      if (margin) upright(margin, "margin");
    }
    if (known(entry.q25)) level(entry.q25, entry.q75, "thin");
    if (known(entry.low)) level(entry.low, entry.high, "thick");
    const middle = known(entry.estimate) ? entry.estimate : entry.median;
    if (known(middle)) drawing.append(shape("rect", { x: place(middle) - 0.8, y: 3, width: 1.6, height: 6, class: "point" }));
    return drawing;
  }

  function span(values) {
    const finite = values.filter(known);
    const low = Math.min(...finite), high = Math.max(...finite), room = 0.04 * (high - low || 1);
    return [low - room, high + room];
  }

  // ---- colours and dashes

  const printing = () => document.documentElement.hasAttribute("data-print");
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => !printing() && scheme.matches;
  // The style sheet's, asked for once until they change: each asking makes the browser lay the page out.
  const palette = new Map();

  function colour(name) {
    if (!palette.has(name)) palette.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
    return palette.get(name);
  }

  function looks(curves) {
    const trained = curves.filter((curve) => curve.weights === "stored").length;
    const seen = { stored: 0, scrambled: 0, untrained: 0 };
    return curves.map((curve) => {
      const place = seen[curve.weights] === undefined ? 0 : seen[curve.weights]++;
      if (curve.weights === "scrambled") return { ink: () => colour("shuffled"), dash: place ? [2, 3] : [7, 4] };
      if (curve.weights === "untrained") return { ink: () => colour("untrained"), dash: place ? [1, 4] : [2, 2] };
      const step = trained < 2 ? 2 : Math.round((place * 6) / (trained - 1));
      return { ink: () => RAMP[dark() ? "dark" : "light"][step], dash: [] };
    });
  }

  function faded(ink, share) {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(ink.slice(at, at + 2), 16));
    return `rgba(${red}, ${green}, ${blue}, ${share})`;
  }

  function swatch(look) {
    const drawing = shape("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" });
    const line = shape("line", { x1: 0, x2: 30, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": look.dash.join(" ") });
    drawing.append(line);
    const paint = () => line.setAttribute("stroke", look.ink());
    paint();
    repaints.push(paint);
    return drawing;
  }

  // ---- charts: what is drawn by uPlot, and drawn again when the colours or the width change

  const plots = new Map();
  const repaints = [];

  function repaint() {
    palette.clear();
    for (const paint of repaints) paint();
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

  const tiny = (value) => (known(value) ? (value ? value.toExponential(1).replaceAll("-", "−") : "0") : "none");
  const evenly = (count) => Array.from({ length: count }, (_, place) => place / (count - 1));

  // Curves of several lengths on the union of their alphas; where one has no point there is null, and its line goes on.
  function joined(curves) {
    const alphas = [...new Set(curves.flatMap((curve) => curve.alphas))].sort((a, b) => a - b);
    const place = new Map(alphas.map((alpha, at) => [alpha, at]));
    return [alphas, ...curves.flatMap((curve) => QUARTILES.map((quartile) => {
      const column = Array(alphas.length).fill(null);
      curve.alphas.forEach((alpha, at) => { column[place.get(alpha)] = curve[quartile][at]; });
      return column;
    }))];
  }

  // `curves`: name, alphas, q25, median, q75, weights, shown, thin. `read` says a value.
  function chart(holder, curves, { label, y, height = 290, range, read = (value) => fixed(value), lines = [], digits }) {
    const appearance = looks(curves);
    curves.forEach((curve, at) => { if (curve.ink) appearance[at] = { ink: () => colour(curve.ink), dash: curve.dash || [] }; });
    const plotted = make("div", {
      class: height < 200 ? "plot low" : "plot", role: "slider", tabindex: 0, "aria-label": `${label}: alpha`,
      "aria-valuemin": 0, "aria-valuemax": 1, "aria-valuenow": 0, "aria-valuetext": "arrow keys read the curves",
    });
    const values = curves.map(() => make("output", { "aria-live": "off" }));
    const buttons = curves.map((curve, at) => make("button", { type: "button", "aria-pressed": String(curve.shown !== false) },
      swatch(appearance[at]), curve.name));
    const where = make("p", { class: "small soft readout" }, "Hover, or focus and use the arrow keys, to read values.");
    const legend = make("ul", { class: "legend" }, curves.map((_, at) => make("li", {}, buttons[at], values[at])));
    holder.append(plotted, make("div", {}, where, legend));
    const narrow = curves.filter((curve) => curve.shown !== false).length > 4;
    const series = curves.flatMap((curve, at) => QUARTILES.map((quartile) => ({
      label: `${curve.name} ${quartile}`, show: curve.shown !== false, spanGaps: true, points: { show: false },
      stroke: () => appearance[at].ink(), dash: appearance[at].dash, width: quartile === "median" ? (curve.thin ? 1 : 2) : 0,
    })));
    const bands = curves.flatMap((curve, at) => (curve.thin ? [] : [{
      series: [3 * at + 3, 3 * at + 1], fill: () => faded(appearance[at].ink(), narrow ? 0.1 : 0.2) }]));
    const plot = new uPlot({
      width: Math.max(200, Math.floor(plotted.clientWidth)), height, legend: { show: false }, padding: [8, 8, 0, 0],
      scales: { x: { time: false, range: [0, 1] }, y: { range: range || ((_, low, high) => span([low, high])) } },
      axes: [{ ...axis("alpha", 28), space: 70 }, { ...axis(y, digits ? 78 : 44), ...(digits ? { values: (_, splits) => splits.map(tiny) } : {}) }],
      series: [{ label: "alpha" }, ...series], bands,
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      hooks: { setCursor: [(it) => tell(it.cursor.idx)], drawClear: [(it) => lines.forEach((line) => rule(it, line))] },
    }, joined(curves), plotted);
    plots.set(plotted, plot);
    widths.observe(plotted);

    function tell(at) {
      const alphas = plot ? plot.data[0] : [];
      if (!known(at) || !known(alphas[at])) return;
      const alpha = alphas[at];
      where.textContent = `alpha = ${alpha.toFixed(3)}: median [quartiles]`;
      const said = curves.map((curve, number) => {
        const near = curve.alphas.reduce((best, other, place) =>
          (Math.abs(other - alpha) < Math.abs(curve.alphas[best] - alpha) ? place : best), 0);
        const [low, middle, high] = QUARTILES.map((quartile) => read(curve[quartile][near]));
        const text = curve.thin ? middle : `${middle} [${low}, ${high}]`;
        values[number].textContent = plot.series[3 * number + 1].show ? text : "";
        return plot.series[3 * number + 1].show ? `${curve.name} ${middle}` : null;
      });
      plotted.setAttribute("aria-valuenow", alpha.toFixed(3));
      plotted.setAttribute("aria-valuetext", `alpha ${alpha.toFixed(3)}: ${said.filter(known).join(", ")}`);
    }

    let current = 0;
    plotted.addEventListener("keydown", (event) => {
      const last = plot.data[0].length - 1;
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -last, End: last }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      current = Math.min(last, Math.max(0, (known(plot.cursor.idx) ? plot.cursor.idx : current) + step));
      plot.setCursor({ left: plot.valToPos(plot.data[0][current], "x"), top: 10 });
    });
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
      button.addEventListener("pointerleave", () => heavy(curves[at].thin ? 1 : 2));
    });
    return { plot, buttons, curves };
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

  const WORDS = [
    ["curve", "r = d / d(1), d being how far the output has moved from that at A when the activation has gone the share alpha of the way from A to B."],
    ["effect", "signed so that positive is what the claim says, with its 95 % interval by paired bootstrap over n independent units; curves and quartiles are of all pairs, of which two may share a prompt."],
    ["margin", "supported: the whole interval of every effect lies beyond its margin; contradicted: beyond it on the other side; else inconclusive."],
    ["control", "the same judgement on counterfeits: the norm-only null, no block after the patch, the blocks after the patch shuffled in five ways with A and B kept, all weights shuffled, untrained weights, swapped labels, reversed order. Refuted: not supported. Held: all are refuted. Beside them the claim must be supported by planted data that have what it says."],
    ["norm-only null", "what the final norm alone makes of a straight line before it."],
    ["as accepted", "every number of the curve lies within the tolerance of the baseline that was accepted before."],
  ];

  // ---- the top: what was run, the tally, one line for each claim

  function facts(pairs) {
    return make("dl", { class: "facts" }, pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  }

  function head() {
    document.getElementById("head").append(
      make("p", { class: "soft" }, "Each claim of the paper, measured, with its interval, its control and its accepted curves."),
      facts(report.facts),
      make("ul", { class: "tally", "aria-label": "The run in numbers" },
        report.tally.map(({ word, count }) => make("li", {}, make("b", {}, String(count)), word))),
      make("details", { class: "more" }, make("summary", {}, "How to read this page"), make("dl", { class: "facts" },
        WORDS.concat(Object.values(report.metrics).filter(({ told }) => told).map(({ label, told }) => [label, told])).flatMap(([word, text]) => [make("dt", {}, word), make("dd", {}, text)]))),
      ...report.problems.map((text) => make("p", { class: "problem", role: "note" }, text)));
  }

  function link(anchor, text) {
    const made = make("a", { href: `#${anchor}` }, text);
    made.addEventListener("click", () => reveal(anchor));
    return made;
  }

  function reveal(anchor) {
    const target = document.getElementById(anchor);
    if (!target) return;
    if (target.closest(".hidden")) { document.getElementById("show-all").checked = true; resetFilters(); }
    if (target.tagName === "DETAILS") target.open = true;
  }

  function verdictCell(claim) {
    const badges = claim.verdicts.map(({ word, count, unexpected }) =>
      badge(word, `${word}${unexpected ? ", not expected," : ""} ${word === "not measured" ? "" : "on "}${count}`));
    return make("div", { class: "badges" }, badges.length ? badges : "no verdict");
  }

  function leastCell({ least, cases }) {
    if (least) {
      return make("div", {}, make("span", { class: "number" }, interval(least.effect)), ` ${least.effect.name}, margin ${least.effect.margin} `,
        make("span", { class: "soft" }, "(", link(least.anchor, least.subject), ")"));
    }
    const agreed = cases.flatMap((entry) => entry.facts);
    if (!agreed.length) return "–";
    const sum = (name) => agreed.reduce((total, fact) => total + fact[name], 0);
    return `${sum("agree")} of ${sum("of")} facts agree`;
  }

  function controlCell(claim) {
    if (claim.broken.length) return make("div", {}, badge("broken", `BROKEN on ${claim.broken.join(", ")}`));
    if (!claim.controls) return "not run";
    return make("div", {}, badge(claim.held < claim.controls ? "not measured" : "held", `held on ${claim.held} of ${claim.controls}`),
      make("div", { class: "small soft" }, claim.counterfeits.join("; ")));
  }

  function answers() {
    const columns = ["Claim", "Verdict, by case", "Weakest effect [95 % interval]", "n", "Control: refuted were", "Against baselines"];
    const rows = report.claims.map((claim) => {
      const size = claim.n ? (claim.n[0] === claim.n[1] ? String(claim.n[0]) : `${claim.n[0]} to ${claim.n[1]}`) : "–";
      const drift = claim.drift.length ? make("div", { class: "badges" }, claim.drift.map(([word, count]) => badge(word, `${count} ${word}`))) : "–";
      const cells = [verdictCell(claim), leastCell(claim), size, controlCell(claim), drift];
      return make("tr", {}, make("th", { scope: "row" }, link(claim.anchor, claim.title)),
        cells.map((cell, place) => make("td", { "data-label": columns[place + 1] }, cell)));
    });
    const caption = "One line a claim. Weakest: of the case that is farthest from being supported, or least beyond it, the effect that decides. n: independent units.";
    return make("section", { id: "answers", "aria-labelledby": "answers-title" }, make("h2", { id: "answers-title" }, "The answers"),
      rows.length ? scroll("The answers",
        make("table", { class: "answers" }, make("caption", {}, caption),
          make("thead", {}, make("tr", {}, columns.map((title) => make("th", { scope: "col" }, title)))), make("tbody", {}, rows)))
        : make("p", {}, "There are no claims in these records."));
  }

  function drifted() {
    const moved = report.claims.flatMap((claim) => claim.cases.flatMap((entry) =>
      entry.baselines.filter((line) => NOT_ACCEPTED.includes(line.state)).map((line) => ({ claim, entry, line }))));
    if (!moved.length) return null;
    return make("section", { id: "drift", "aria-labelledby": "drift-title" }, make("h2", { id: "drift-title" }, "What drifted"),
      table("Curves that are not as accepted", ["Curve", "State", "Claim and case", "First of the reasons"], moved.map(({ claim, entry, line }) => [
        line.subject, badge(line.state), make("span", {}, `${claim.title}: `, link(entry.anchor, entry.subject)),
        line.why.slice(0, 2).join(" ") || "no baseline yet"])));
  }

  function compared() {
    const found = report.compared;
    if (!found) return null;
    const verdicts = found.verdicts.map(([title, subject, anchor, before, after]) =>
      [link(anchor, subject), title, badge(before), badge(after)]);
    return make("section", { id: "compared", "aria-labelledby": "compared-title" },
      make("h2", { id: "compared-title" }, "Compared with the run before"),
      table("What was different about the runs", ["What", "before", "now"], found.facts),
      verdicts.length ? table("Verdicts and controls that changed", ["Case", "Claim", "before", "now"], verdicts)
        : make("p", {}, "No verdict and no control changed."),
      found.curves.length
        ? table(`Results that moved, ${found.curves.length} of ${found.common} in both runs`, ["Result", "largest change of a quartile"],
          found.curves.map(([name, change]) => [name, change >= 1e9 ? "another grid" : change.toPrecision(2)]))
        : make("p", {}, `None of the ${found.common} results in both runs moved.`),
      found.gone.length ? make("p", {}, `Only in the run before: ${found.gone.join("; ")}.`) : null);
  }

  // ---- filters

  const filters = { show: "all", text: "", families: new Set(report.families) };

  function resetFilters() {
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
    const said = `${claim.title} ${entry.subject} ${entry.state}`.toLowerCase();
    return filters.text.split(/\s+/).every((word) => said.includes(word));
  }

  function applyFilters() {
    let shown = 0, all = 0;
    for (const claim of report.claims) {
      let some = false;
      for (const entry of claim.cases) {
        const on = passes(claim, entry);
        document.getElementById(entry.anchor).classList.toggle("hidden", !on);
        some = some || on;
        shown += on;
        all += 1;
      }
      document.getElementById(claim.anchor).classList.toggle("hidden", !some);
    }
    document.getElementById("shown").textContent = `${shown} of ${plural(all, "case")} shown`;
  }

  function filterBar() {
    const count = (name) => report.claims.flatMap((claim) => claim.cases).filter((entry) => name === "all" || entry[name]).length;
    const radios = ["all", "measured", "failed", "moved"].map((name) => {
      const box = make("input", { type: "radio", name: "show", value: name, id: `show-${name}`, checked: name === "all" });
      box.addEventListener("change", () => { filters.show = name; applyFilters(); });
      return make("label", {}, box, `${name} (${count(name)})`);
    });
    const boxes = report.families.map((family) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => {
        if (box.checked) filters.families.add(family); else filters.families.delete(family);
        applyFilters();
      });
      return make("label", {}, box, family);
    });
    const search = make("input", { type: "search", "aria-label": "Find cases by name, claim or verdict", placeholder: "case or verdict" });
    search.addEventListener("input", () => { filters.text = search.value.toLowerCase(); applyFilters(); });
    const all = make("button", { type: "button" }, "Open those shown");
    all.addEventListener("click", () => document.querySelectorAll("details.case:not(.hidden)").forEach((one) => { if (!one.closest("section.hidden")) one.open = true; }));
    const none = make("button", { type: "button" }, "Close all");
    none.addEventListener("click", () => document.querySelectorAll("details.case").forEach((one) => { one.open = false; }));
    return make("div", { class: "filters", role: "search", "aria-label": "Which cases are shown" },
      make("fieldset", {}, make("legend", {}, "Cases"), radios),
      boxes.length > 1 ? make("fieldset", {}, make("legend", {}, "Families"), boxes) : null,
      search, all, none, make("span", { id: "shown", role: "status", class: "soft small" }));
  }

  // ---- claims and cases

  // What was opened is filled in turn, a little at a time, so that opening hundreds keeps the page alive.
  const waiting = new Map();

  function later(inside, fill) {
    if (inside.hasChildNodes()) return;
    if (!waiting.size) setTimeout(() => work(performance.now() + 40));
    waiting.set(inside, fill);
    document.documentElement.setAttribute("data-busy", "");
  }

  function work(until) {
    for (const [inside, fill] of waiting) {
      fill();
      waiting.delete(inside);
      if (performance.now() > until) break;
    }
    if (waiting.size) setTimeout(() => work(performance.now() + 40));
    else document.documentElement.removeAttribute("data-busy");
  }

  function claimSection(claim) {
    return make("section", { id: claim.anchor, "aria-labelledby": `${claim.anchor}-title` },
      make("h2", { id: `${claim.anchor}-title` }, claim.title), claim.cases.map(caseDetails));
  }

  function counted(words) {
    return [...new Set(words)].map((word) => badge(word, `${words.filter((other) => other === word).length} ${word}`));
  }

  function caseDetails(entry) {
    const { lead } = entry;
    const line = make("summary", {}, make("span", { class: "name" }, entry.subject));
    if (entry.judged) line.append(badge(entry.state));
    else line.append(...counted(entry.baselines.map((test) => test.state)));
    if (entry.expected !== "supported" && entry.state === entry.expected) line.append(make("span", { class: "small soft" }, "as expected"));
    if (entry.failed) line.append(badge("failed"));
    if (entry.moved) line.append(badge("moved"));
    if (entry.before && entry.before.state !== entry.state) line.append(make("span", { class: "small soft" }, `before: ${entry.before.state}`));
    if (lead) line.append(make("span", { class: "small readout" }, `${lead.name} ${interval(lead)}, n = ${entry.n}`));
    const inside = make("div", { class: "inside" });
    const details = make("details", { class: "case", id: entry.anchor }, line, inside);
    // Charts are drawn when a case is first opened: a page of hundreds is usable at once.
    details.addEventListener("toggle", () => { if (details.open) later(inside, () => fillCase(inside, entry)); });
    if (entry.failed) details.open = true;
    return details;
  }

  function fillCase(inside, entry) {
    if (entry.reason) inside.append(make("pre", {}, entry.reason));
    const used = entry.specs.map(([id, name, role]) => ({ name, role, ...report.results[id] }));
    const curves = used.filter((result) => result.curve);
    if (curves.length) curveFigure(inside, entry, curves);
    const slices = used.filter((result) => result.slices);
    const gates = used.filter((result) => result.gates);
    if (gates.length) gateFigure(inside, entry, gates);
    if (slices.length) sliceExplorer(inside, entry, slices);
    if (entry.effects.length) inside.append(effectTable(entry));
    if (entry.trends.length) {
      inside.append(table("Trends", ["Trend", "p", "Conditions", "Outcome"], entry.trends.map((trend) =>
        [trend.name, !known(trend.p) ? "none" : trend.p < 1e-16 ? "< 1e-16" : trend.p.toPrecision(1), String(trend.treatments), badge(trend.outcome)])));
    }
    if (entry.facts.length) {
      inside.append(table("Facts", ["Fact", "Agree", "Outcome"], entry.facts.map((fact) =>
        [fact.name, `${fact.agree} of ${fact.of}`, badge(fact.outcome)])));
    }
    if (entry.notes.length) inside.append(make("ul", { class: "small" }, entry.notes.map((note) => make("li", {}, note))));
    if (entry.judged) inside.append(controlPart(entry));
    if (used.length) inside.append(metricPart(used));
    if (entry.baselines.length) inside.append(baselinePart(entry));
  }

  function effectTable(entry) {
    // Each on a scale of its own: effects of one verdict differ in unit.
    const scale = (effect) => span([0, effect.margin, effect.low, effect.high, effect.estimate]);
    const before = entry.before && entry.before.effects.length ? new Map(entry.before.effects.map((effect) => [effect.name, effect])) : null;
    return table(`Effects, positive as claimed; supported where the whole interval lies beyond the margin (dashed); each drawn on a scale of its own. n = ${entry.n}`,
      ["Effect", "Estimate [95 %]", "Margin", "Drawn", "Outcome", ...(before ? ["Run before"] : [])], entry.effects.map((effect) => [
        effect.name, interval(effect), String(effect.margin), whisker(effect, scale(effect), effect.margin), badge(effect.outcome),
        ...(before ? [before.has(effect.name) ? interval(before.get(effect.name)) : "–"] : [])]));
  }

  const REFUTED = { supported: "bad", "not measured": "none" };

  function controlPart(entry) {
    const { state, counterfeits, reason, strongest } = entry.control;
    const part = make("section", {}, make("h3", {}, "Control ", badge(state)));
    if (!counterfeits.length || state === "not measured") {
      part.append(make("p", { class: "soft" }, reason || "No control ran for this case."));
    }
    if (!counterfeits.length) return part;
    if (strongest) part.append(make("p", { class: "small soft" }, strongest));
    const leads = counterfeits.map((one) => one.effects.reduce((worst, effect) =>
      (!worst || effect.low - effect.margin < worst.low - worst.margin ? effect : worst), null));
    part.append(table("The same judgement on counterfeits: none may be supported. Shown is the effect that refutes each best",
      ["Counterfeit", "Verdict", "Effect", "Estimate [95 %]", "Margin"], counterfeits.map((one, at) => [one.name,
        make("span", { class: `badge ${REFUTED[one.outcome] || "good"}` },
          one.outcome === "supported" ? "✗ supported: it must not be" : one.outcome === "not measured" ? "– not measured" : `✓ refuted (${one.outcome})`),
        leads[at] ? leads[at].name : "–", leads[at] ? interval(leads[at]) : "–", leads[at] ? String(leads[at].margin) : "–"])));
    return part;
  }

  const FIRST = ["max_slope", "edge_speed", "two_sided_drift", "solid_share", "boundary_width"];

  function called(name) {
    return report.metrics[name] ? report.metrics[name].label : name.replaceAll("_", " ");
  }

  function metricPart(used) {
    const part = make("section", {}, make("h3", {}, "Metrics"));
    const names = [...new Set(used.flatMap((result) => Object.keys(result.metrics)))];
    const pairs = make("div", { class: "metrics" }), rest = [];
    names.forEach((name) => {
      const with_it = used.filter((result) => result.metrics[name] && known(result.metrics[name].median));
      if (!with_it.length) return;
      const scale = span(with_it.flatMap(({ metrics }) => QUARTILES.concat("low", "high").map((key) => metrics[name][key])));
      const shown = table(`${called(name)}: median, quartiles (thin), 95 % interval (thick)`,
        ["Result", "Median [95 %]", "Drawn", "n"], with_it.map((result) => {
          const metric = result.metrics[name];
          const middle = fixed(known(metric.estimate) ? metric.estimate : metric.median);
          const text = known(metric.low) ? `${middle} [${fixed(metric.low)}, ${fixed(metric.high)}]` : middle;
          return [result.name, text, whisker(metric, scale), String(metric.n === undefined ? "–" : metric.n)];
        }));
      if (FIRST.includes(name)) pairs.append(shown);
      else rest.push(make("details", { class: "more" }, make("summary", {}, called(name)), shown));
    });
    part.append(pairs, ...rest);
    part.append(make("details", { class: "more" }, make("summary", {}, "Where these numbers come from"),
      table("Provenance", ["Result", "Degenerate", "Measured on"], used.map((result) => [make("span", {}, result.name, make("br"),
        make("code", {}, result.id)), String(known(result.degenerate) ? result.degenerate : "–"),
        result.provenance.map(([name, text]) => `${name} ${text}`).join(", ")]))));
    return part;
  }

  function curveFigure(inside, entry, results) {
    const trained = results.filter((result) => result.weights === "stored").length;
    const curves = results.map((result) => ({
      name: result.name, weights: result.weights, ...result.curve,
      shown: result.role === "claim" || trained === 0,
    }));
    const beside = (kind, name, ink, dash) => results.filter((result) => result[kind] && result[kind].median).map((result) => ({
      name: `${result.name}: ${name}`, weights: kind, alphas: result.curve.alphas, ...result[kind], shown: kind === "before", thin: true,
      ink, dash, group: name,
    }));
    const single = results.filter((result) => result.pairs).flatMap((result) => result.pairs.relative.map((row, at) => ({
      name: `${result.name}: ${result.pairs.names[at] || `pair ${at + 1}`}`, weights: "pair", alphas: result.curve.alphas,
      q25: row, median: row, q75: row, shown: false, thin: true, ink: ["accent", "before", "good"][at % 3], dash: [], group: "single pairs",
    })));
    const all = [...curves, ...beside("before", "run before", "before", [6, 3]), ...beside("null", "norm-only null", "soft", [1, 3]),
      ...beside("logit", "logit difference", "unsure", [8, 3]), ...single];
    const choices = make("div", { class: "badges small" });
    const holder = make("div", { class: "chart two" });
    inside.append(make("h3", {}, "Relative distance along the segment: median and quartiles over pairs"), choices, holder);
    const drawn = chart(holder, all, { label: `Curves of ${entry.subject}`, y: "r = d / d(1)", lines: [{ from: 0, to: 1, ink: "soft" }] });
    const rows = holder.querySelectorAll(".legend li");
    const groups = [["trained", "stored"], ["shuffled", "scrambled"], ["untrained", "untrained"]].map(([name, kind]) => [name, (curve) => curve.weights === kind]);
    for (const name of ["run before", "norm-only null", "logit difference", "single pairs"]) groups.push([name, (curve) => curve.group === name]);
    for (const [name, belongs] of groups) {
      const members = all.map((curve, at) => (belongs(curve) ? at : -1)).filter((at) => at >= 0);
      if (!members.length) continue;
      const some = members.some((at) => all[at].shown);
      const box = make("input", { type: "checkbox", checked: some });
      const show = (on) => members.forEach((at) => {
        drawn.buttons[at].toggle(on);
        if (all[at].group) rows[at].hidden = !on;
      });
      box.addEventListener("change", () => show(box.checked));
      if (!some) show(false);
      choices.append(make("label", {}, box, name));
    }
  }

  function gateFigure(inside, entry, results) {
    const crossings = make("div", { class: "chart" }), flat = make("div", { class: "chart" });
    inside.append(make("h3", {}, "Sign changes of gates along the segment (running means), and the share of pairs whose output moves at less than half its mean speed"),
      make("div", { class: "two" }, crossings, flat));
    const range = (_, low, high) => [0, 1.05 * high || 1];
    const drawn = ({ name, role, weights, gates }, values, thin) =>
      ({ name, weights, alphas: gates.alphas, ...values, thin, shown: role === "claim" });
    const still = results.filter((result) => result.gates.flat);
    chart(crossings, results.map((result) => drawn(result, result.gates.crossings, false)),
      { label: `Gates that change sign, ${entry.subject}`, y: "sign changes a gate and alpha", range });
    if (!still.length) return;
    chart(flat, still.map((result) => drawn(result, Object.fromEntries(QUARTILES.map((q) => [q, result.gates.flat])), true)),
      { label: `Share of pairs below half their mean speed, ${entry.subject}`, y: "pairs below half speed", range });
  }

  // ---- baselines

  function baselinePart(entry) {
    const part = make("section", {}, make("h3", {}, entry.judged ? "Against the accepted curves" : "Tests"));
    for (const line of entry.baselines) {
      const inside = make("div", { class: "inside" });
      const details = make("details", { class: "more" }, make("summary", {}, `${line.subject} `, badge(line.state)), inside);
      details.addEventListener("toggle", () => { if (details.open) later(inside, () => fillBaseline(inside, line)); });
      part.append(details);
      if (line.state === "moved" || line.outcome === "failed") details.open = true;
    }
    return part;
  }

  // Of each kind of number compared the one that is farthest off: how much of its tolerance it takes.
  function farthestTable(farthest) {
    if (farthest.every((one) => one.excess === 0)) return make("p", {}, "Every number compared is exactly the accepted one.");
    const most = Math.max(1.2, ...farthest.map((one) => (known(one.excess) ? Math.min(one.excess, 3) : 3)));
    const said = (value) => (known(value) ? String(+value.toPrecision(6)).replace("-", "−") : "none");
    return table("Of each kind of number the one farthest off (as accepted: the five nearest their tolerance), and how many times its tolerance that is (dashed: once; drawn up to three)",
      ["Number", "accepted", "measured", "off by", "tolerance", "times", "Drawn"], farthest.map((one) => {
        const off = known(one.measured) && known(one.accepted) ? one.measured - one.accepted : null;
        const share = known(one.excess) ? Math.min(one.excess, most) : most;
        return [one.what, said(one.accepted), said(one.measured), known(off) ? `${off < 0 ? "−" : "+"}${tiny(Math.abs(off))}` : "none",
          tiny(one.tolerance), known(one.excess) ? one.excess.toPrecision(2) : "no number", whisker({ median: share, q25: 0, q75: share }, [0, most], 1)];
      }));
  }

  function fillBaseline(inside, line) {
    const said = line.why.length ? line.why.join("\n") : line.reason;
    if (said) inside.append(make("pre", {}, said));
    if (line.notes) inside.append(make("ul", { class: "small" }, line.notes.map((note) => make("li", {}, note))));
    if (line.farthest.length) inside.append(farthestTable(line.farthest));
    if (line.changed.length) inside.append(table("What else differs since it was accepted", ["What", "accepted", "measured"], line.changed));
    if (!line.curve) {
      if (line.state !== "as accepted") inside.append(make("p", { class: "soft" }, "There is no accepted curve beside it in these records."));
      return;
    }
    const { accepted, residual, tolerance } = line.curve;
    const alphas = evenly(accepted.median.length);
    const measured = Object.fromEntries(QUARTILES.map((q) => [q, accepted[q].map((value, at) =>
      (known(value) && known(residual[q][at]) ? value + residual[q][at] / 1e6 : null))]));
    const spread = Object.fromEntries([["q25", -tolerance], ["median", 0], ["q75", tolerance]].map(([q, by]) =>
      [q, accepted.median.map((value) => (known(value) ? value + by : null))]));
    const curves = make("div", { class: "chart" }), rest = make("div", { class: "chart" });
    inside.append(make("div", { class: "two" }, curves, rest));
    chart(curves, [
      { name: "measured", weights: "stored", alphas, ...measured },
      { name: `accepted ± ${tolerance}`, weights: "accepted", ink: "focus", dash: [5, 4], alphas, ...spread },
    ], { label: `${line.subject}, measured and accepted`, y: "r = d / d(1)" });
    const off = Object.fromEntries(QUARTILES.map((q) => [q, residual[q].map((value) => (known(value) ? value / 1e6 : null))]));
    const far = Math.max(1.3 * tolerance, ...QUARTILES.flatMap((q) => off[q].filter(known).map((value) => 1.1 * Math.abs(value))));
    chart(rest, QUARTILES.map((q, at) => ({
      name: { q25: "lower quartile", median: "median", q75: "upper quartile" }[q], weights: "stored", alphas, thin: true,
      q25: off[q], median: off[q], q75: off[q], ink: ["untrained", "accent", "before"][at], dash: [[2, 3], [], [6, 3]][at],
    })), {
      label: `${line.subject}, measured minus accepted`, y: "measured − accepted", range: () => [-far, far], digits: true,
      read: tiny, lines: [{ band: tolerance, ink: "focus" }, { from: 0, to: 0, ink: "soft" }],
    });
    inside.append(make("p", { class: "small soft" }, `Shaded: the accepted curve with its tolerance of ${tolerance}.`));
  }

  // ---- slices

  const unpacked = new Map();

  // Colours, then a place in `tokens` for each cell, two bytes each.
  async function unpack(slices) {
    if (!unpacked.has(slices)) {
      const bytes = Uint8Array.from(atob(slices.packed), (character) => character.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      const whole = await new Response(stream).arrayBuffer();
      const cells = slices.largest.length * slices.size ** 2;
      unpacked.set(slices, { rgb: new Uint8Array(whole, 0, 3 * cells), tokens: new DataView(whole, 3 * cells) });
    }
    return unpacked.get(slices);
  }

  // Orange, yellow and blue, as in the figures: told apart by every eye; the closer to its reference the stronger.
  const NEAREST = [[213, 94, 0], [245, 230, 99], [0, 114, 178]];

  function cellColour(rgb, plain) {
    if (plain) return rgb;
    const best = rgb.indexOf(Math.max(...rgb));
    return NEAREST[best].map((channel) => Math.round(255 - ((255 - channel) * rgb[best]) / 255));
  }

  function paintSlice(canvas, slices, cells, triple, plain) {
    const { size } = slices;
    canvas.width = canvas.height = size;
    const image = new ImageData(size, size);
    for (let row = 0; row < size; row += 1) {
      for (let column = 0; column < size; column += 1) {
        const at = 3 * ((triple * size + row) * size + column), to = 4 * ((size - 1 - row) * size + column);
        const [red, green, blue] = cellColour(Array.from(cells.rgb.subarray(at, at + 3)), plain);
        image.data.set([red, green, blue, 255], to);
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  function sliceExplorer(inside, entry, results) {
    const state = { result: results.findLastIndex((result) => result.role === "claim" && result.weights === "stored"), triple: 0, plain: true, row: 0, column: 0 };
    if (state.result < 0) state.result = 0;
    const canvas = make("canvas", { "aria-hidden": "true" });
    const marks = shape("svg", { viewBox: "0 0 100 100", "aria-hidden": "true", class: "marks" });
    const plane = make("div", { class: "slice-plot", tabindex: 0, role: "application", "aria-roledescription": "slice",
      "aria-label": `Slice of ${entry.subject}: arrow keys go from cell to cell` }, canvas, marks);
    const readout = make("dl", { class: "facts readout", "aria-live": "polite" });
    const triples = make("select", {}, Array.from({ length: results[0].slices.largest.length }, (_, at) => make("option", { value: at }, String(at + 1))));
    const plain = make("input", { type: "checkbox" });
    const strip = results.map((result, at) => {
      const small = make("canvas", { "aria-hidden": "true" });
      const button = make("button", { type: "button", "aria-pressed": "false" }, small, result.name);
      button.addEventListener("click", () => { state.result = at; draw(); });
      return { button, small };
    });
    const low = make("span"), high = make("span");
    inside.append(make("h3", {}, "Slices"),
      make("p", { class: "small soft" }, "The plane through A, B and C; colour is 1 − d / max d: red near A, green near B, blue near C. Alpha to the right, beta up."),
      make("p", {}, make("label", {}, "Triple ", triples), " ", make("label", {}, plain, "nearest reference in colours that every eye tells apart: A orange, B yellow, C blue; paler farther off")),
      make("div", { class: "slices" }, make("div", {}, make("div", { class: "ends" }, make("span", {}, "beta, up")), plane, make("div", { class: "ends" }, low, "alpha", high)),
        make("div", {}, make("h4", {}, "At the cell"), readout)),
      make("h4", {}, "The same triple in each of the results"), make("div", { class: "strip" }, strip.map(({ button }) => button)));

    async function draw() {
      try {
        for (const [at, { button, small }] of strip.entries()) {
          button.setAttribute("aria-pressed", String(at === state.result));
          paintSlice(small, results[at].slices, await unpack(results[at].slices), state.triple, state.plain);
        }
        const { slices } = results[state.result];
        paintSlice(canvas, slices, await unpack(slices), state.triple, state.plain);
        low.textContent = fixed(slices.extent[0], 2);
        high.textContent = fixed(slices.extent[1], 2);
        mark(slices);
        await tell(false);
      } catch (error) {
        readout.replaceChildren(make("dt", {}, "not drawn"), make("dd", {}, `this browser cannot unpack the cells (${error.name})`));
      }
    }

    const along = ({ extent, size }, place) => extent[0] + ((extent[1] - extent[0]) * place) / (size - 1);
    const right = (slices, alpha) => 100 * (0.5 + ((slices.size - 1) * (alpha - slices.extent[0])) / (slices.extent[1] - slices.extent[0])) / slices.size;
    const down = (slices, beta) => 100 - 100 * (0.5 + ((slices.size - 1) * (beta - slices.extent[0])) / (slices.extent[1] - slices.extent[0])) / slices.size;

    function mark(slices) {
      marks.replaceChildren(...slices.points[state.triple].map(([alpha, beta], at) => {
        const text = shape("text", { x: right(slices, alpha), y: down(slices, beta) });
        text.textContent = "ABC"[at];
        return text;
      }));
    }

    async function tell(moved = true) {
      const { slices } = results[state.result], { size } = slices;
      const cells = await unpack(slices), at = (state.triple * size + state.row) * size + state.column;
      const rgb = cells.rgb.subarray(3 * at, 3 * at + 3), token = slices.tokens[cells.tokens.getUint16(2 * at, true)];
      const distance = (place) => {
        const share = 1 - rgb[place] / 255;
        return `${(share * slices.largest[state.triple][place]).toPrecision(3)} (${share.toFixed(2)} of the largest)`;
      };
      const pairs = [["alpha", fixed(along(slices, state.column))], ["beta", fixed(along(slices, state.row))],
        ...["A", "B", "C"].map((name, place) => [`distance from ${name}`, distance(place)]), ["top token", JSON.stringify(token)]];
      readout.replaceChildren(...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
      const old = marks.querySelector("rect");
      if (old) old.remove();
      if (moved) marks.append(shape("rect", { x: (100 * state.column) / size, y: 100 - (100 * (state.row + 1)) / size, width: 100 / size, height: 100 / size }));
    }

    const inRange = (value) => Math.min(results[state.result].slices.size - 1, Math.max(0, value));
    plane.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect(), { size } = results[state.result].slices;
      state.column = inRange(Math.floor((size * (event.clientX - box.left)) / box.width));
      state.row = inRange(size - 1 - Math.floor((size * (event.clientY - box.top)) / box.height));
      tell();
    });
    plane.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      state.row = inRange(state.row + step[0]);
      state.column = inRange(state.column + step[1]);
      tell();
    });
    triples.addEventListener("change", () => { state.triple = Number(triples.value); draw(); });
    plain.addEventListener("change", () => { state.plain = !plain.checked; draw(); });
    draw();
  }

  // ---- all of it

  head();
  const parts = [compared(), answers(), drifted(), report.claims.length ? filterBar() : null, ...report.claims.map(claimSection)];
  document.getElementById("main").append(...parts.filter(known));
  if (report.claims.length) applyFilters();
  window.addEventListener("hashchange", () => reveal(decodeURIComponent(location.hash.slice(1))));
  if (location.hash) {
    reveal(decodeURIComponent(location.hash.slice(1)));
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target) target.scrollIntoView();
  }
  document.documentElement.setAttribute("data-ready", "");
})();
