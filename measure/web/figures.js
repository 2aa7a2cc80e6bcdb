// ---- a figure for each claim: small multiples of what was measured, of its null and of the counterfeits

  const MOST_PANELS = 6;
  const HIGHEST = 2;
  const FIRST_GROUPS = ["trained", "norm-only null", "later blocks shuffled", "later neurons permuted", "all weights shuffled",
    "untrained weights", "patched after the last block"];

  function usedOf(entry) {
    return entry.specs.map(([id, name, role, group, series, shade]) => ({ ...report.results[id], name, role, group, series, shade }));
  }

  // A result's curves as one panel draws them: of few pairs each pair in the direction written, else quartiles.
  function curvesOf(result, looks, name) {
    const look = looks(result), alphas = result.curve ? result.curve.alphas : undefined;
    if (result.pairs) {
      const rows = result.pairs.relative.slice(0, Math.ceil(result.pairs.relative.length / 2));
      return rows.map((row, at) => ({ name, one: result.pairs.names[at], alphas: alphas || evenly(row.length), median: row, q25: row, q75: row, look, thin: true }));
    }
    const drawn = result.curve || (result.sketch ? { median: result.sketch } : null);
    return drawn ? [{ name, ...drawn, alphas: alphasOf(drawn), look, thin: look.thin }] : [];
  }

  // What is drawn of a case, panel by panel.
  function curvePanels(entry) {
    const used = usedOf(entry), looks = looksOf(used);
    const order = (group) => (FIRST_GROUPS.includes(group) ? FIRST_GROUPS.indexOf(group) : FIRST_GROUPS.length);
    const panels = distinct(used.map((result) => result.group)).map((group) => ({
      title: group, curves: used.filter((result) => result.group === group)
        .flatMap((result) => curvesOf(result, looks, result.series || "median and quartiles")) }));
    const nulls = used.filter((result) => result.group === "trained" && result.null && !result.pairs).map((result) => ({
      name: result.series || "median and quartiles", alphas: result.curve ? alphasOf(result.curve) : evenly(result.null.median.length), ...result.null, look: looks(result) }));
    if (nulls.length) panels.push({ title: "norm-only null", curves: nulls });
    const drawn = panels.filter((panel) => panel.curves.length).sort((one, other) => order(one.title) - order(other.title));
    for (const panel of drawn) for (const curve of panel.curves) curve.panel = panel.title;
    return drawn;
  }

  function rangeOf(panels) {
    const values = panels.flatMap((panel) => panel.curves.flatMap((curve) => curve.median)).filter(known);
    const highest = Math.max(1, ...values), lowest = Math.min(0, ...values);
    return { range: [Math.max(-0.5, lowest), Math.min(HIGHEST, highest) * 1.04], cut: highest > HIGHEST || lowest < -0.5 };
  }

  // Panels, redrawn as colours change.
  function panelGrid(label, panels, options) {
    const holders = panels.map(() => make("div", {}));
    const grid = make("div", { class: "panels", role: "img", "aria-label": label }, holders);
    painted(grid, () => holders.forEach((holder, at) => holder.replaceChildren(panelSvg(panels[at], { ...options, first: true }))));
    return grid;
  }

  function legendList(panels) {
    const keys = legendOf(panels);
    if (keys.length < 2) return null;
    return make("ul", { class: "keys small" }, keys.map((curve) => make("li", {}, swatch(curve.look), curve.name)));
  }

  function fillCurves(body, claim, entry) {
    const all = curvePanels(entry), panels = all.slice(0, MOST_PANELS), left = all.slice(MOST_PANELS).map((panel) => panel.title);
    if (!panels.length) return false;
    const { range, cut } = rangeOf(panels);
    const label = `${claim.title}, ${titled(entry)}`;
    const said = ["Medians, bands: quartiles over pairs; dotted: a straight line.", cut ? `Cut at ${HIGHEST}.` : "",
      left.length ? `Beside them were measured: ${left.join("; ")}.` : ""].filter(Boolean).join(" ");
    body.append(panelGrid(`Curves of d / d(1) over alpha: ${panels.map((panel) => panel.title).join(", ")}; their numbers are in the case, and in the CSV`, panels, { range }),
      legendList(panels) || "", make("p", { class: "small soft" }, said, " ", saveButtons(label, {
        csv: () => curvesCsv(all.flatMap((panel) => panel.curves.map((curve) => ({ ...curve, name: curve.one ? `${curve.name}: ${curve.one}` : curve.name }))), "d / d(1)"),
        svg: () => inPrint(() => panelsSvg(label, panels, { range })),
      })));
    return true;
  }

  // ---- slices, the first triple of each result

  function slicePanels(entry) {
    const used = usedOf(entry).filter((result) => result.slices);
    const trained = used.filter((result) => result.group === "trained");
    const others = used.filter((result, at) => result.group !== "trained" && used.findIndex((one) => one.group === result.group) === at);
    const few = trained.filter((_, at) => [0, 0.25, 0.5, 1].map((share) => Math.round(share * (trained.length - 1))).includes(at));
    return [...few, ...others].slice(0, MOST_PANELS);
  }

  function fillSlices(body, claim, entry) {
    const used = slicePanels(entry);
    if (!used.length) return false;
    const label = `${claim.title}, ${titled(entry)}`, title = (result) => (result.group === "trained" && result.series ? result.series : result.group);
    const canvases = used.map(() => make("canvas", {}));
    const grid = make("div", { class: "panels", role: "img", "aria-label": `Slices of the first triple: ${used.map(title).join(", ")}` },
      used.map((result, at) => make("div", { class: "mini" }, make("b", { class: "small" }, title(result)), canvases[at])));
    const paint = () => Promise.all(used.map(async (result, at) => paintSlice(canvases[at], result.slices, await unpack(result.slices), 0, true)));
    paint().catch(() => grid.replaceChildren(make("p", {}, "This browser cannot unpack the slices.")));
    body.append(grid, make("p", { class: "small soft" }, "The plane through A (red), B (green) and C (blue) of the first triple; colour is 1 − d / max d. ",
      saveButtons(label, {
        csv: async () => slicesCsv(used, 0),
        svg: async () => {
          await paint();
          return inPrint(() => panelsSvg(label, used.map((result, at) => ({ title: title(result), image: canvases[at].toDataURL("image/png") }))));
        },
      })));
    return true;
  }

  // ---- what earlier runs found

  function historyStrip(entry) {
    if (!entry.history) return null;
    const label = `Earlier runs of ${titled(entry)}`;
    const holder = make("div", { class: "history", role: "img", "aria-label": historyText(entry.history) });
    painted(holder, () => holder.replaceChildren(stripSvg(entry.history)));
    const head = ["started", "outcome", "estimate", "low", "high", "margin", "n", "code", "records"];
    const rows = () => entry.history.map(([run, outcome, ...rest]) => {
      const [started, hash, records] = report.runs[run];
      return [started, outcome, ...rest.slice(0, 5), hash, records];
    });
    return make("div", {}, holder, make("p", { class: "small soft" }, historyText(entry.history), " ", saveButtons(label, {
      csv: () => csv(head, rows()), svg: () => inPrint(() => stripSvg(entry.history)) })));
  }

  // Whether a run stood otherwise than before; of the first one shown nothing is known.
  function turned(history, at) {
    return at > 0 && history[at][7];
  }

  function historyText(history) {
    const counts = distinct(history.map(([, outcome]) => outcome)).map((word) => `${word} in ${history.filter(([, other]) => other === word).length}`);
    const [at, before] = [0, 1].map((back) => history[history.findLastIndex((_, place) => turned(history, place)) - back]);
    const told = ([run, outcome, estimate]) => `${signed(estimate)} ${outcome}${report.runs[run][1] ? ` by code ${report.runs[run][1]}` : ""}`;
    const last = before ? `last changed on ${report.runs[at[0]][0]}, from ${told(before)} to ${told(at)}.` : history.length > 1 ? "never changed." : "";
    return `${plural(history.length, "run")} since ${report.runs[history[0][0]][0]}: ${counts.join(", ")}; ${last}`;
  }

  const OUTCOME_INK = { supported: "good", contradicted: "bad", failed: "bad", inconclusive: "unsure" };

  function stripSvg(history) {
    const width = 640, height = 60;
    const values = history.flatMap(([, , estimate, low, high, margin]) => [estimate, low, high, margin]).filter(known);
    const [low, high] = span(values.length ? values : [0, 1]);
    const up = (value) => height - 4 - ((value - low) / (high - low || 1)) * (height - 8);
    const along = (at) => width - 10 - (history.length - 1 - at) * Math.min(36, (width - 20) / Math.max(1, history.length - 1));
    const drawing = shape("svg", { xmlns: SVG, viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    const line = (attributes, ink, wide = 1) => drawing.append(shape("line", { stroke: colour(ink), "stroke-width": wide, ...attributes }));
    if (low < 0 && high > 0) line({ x1: 0, x2: width, y1: up(0), y2: up(0) }, "line");
    const margin = history.at(-1)[5];
    if (known(margin)) line({ x1: 0, x2: width, y1: up(margin), y2: up(margin), "stroke-dasharray": "4 3" }, "unsure");
    history.forEach(([, outcome, estimate, from, to], at) => {
      const ink = OUTCOME_INK[outcome] || "none", x = along(at);
      if (turned(history, at)) line({ x1: x - 6, x2: x - 6, y1: 0, y2: height, "stroke-dasharray": "2 2" }, "ink");
      if (known(from) && known(to)) line({ x1: x, x2: x, y1: up(from), y2: up(to) }, ink, 2);
      const y = known(estimate) ? up(estimate) : height - 6;
      drawing.append(shape("rect", { x: x - 4, y: y - 4, width: 8, height: 8, fill: known(estimate) ? colour(ink) : "none", stroke: colour(ink), transform: outcome === "supported" ? `rotate(45 ${x} ${y})` : null }));
    });
    return drawing;
  }

  // ---- a claim's card

  function effectLine(entry) {
    const { lead } = entry;
    const line = make("p", { class: "verdict-line" }, badge(entry.state), " ");
    if (entry.expected !== "supported" && entry.state === entry.expected) line.append(make("span", { class: "soft" }, "as accepted before; "));
    if (lead) line.append(make("b", { class: "number" }, interval(lead)), ` ${lead.name}, margin ${lead.margin}, n = ${entry.n}`);
    else if (entry.facts.length) line.append(entry.facts.map((fact) => `${fact.name}: ${fact.agree} of ${fact.of}`).join("; "));
    return make("div", { class: "beside" }, line, lead ? effectWhisker(lead) : null);
  }

  function controlLine(entry) {
    const { state, counterfeits, strongest } = entry.control;
    if (!counterfeits.length) return make("p", { class: "small soft" }, "No counterfeit was asked here.");
    const refuted = counterfeits.filter((one) => !["supported", "not measured"].includes(one.outcome)).length;
    return make("p", { class: "small" }, badge(state, `control ${state}`), ` ${refuted} of ${plural(counterfeits.length, "counterfeit")} refuted. `,
      make("span", { class: "soft" }, strongest ? `${strongest[0].toUpperCase()}${strongest.slice(1)}.` : ""));
  }

  // Few numbers in a sentence, many in a table.
  function paperPart(entry) {
    if (!entry.printed) return null;
    if (entry.printed.length > MOST_PANELS) {
      return make("details", { class: "more" }, make("summary", {}, "Beside what the paper prints"),
        table("Numbers that the paper prints, and what stands for them here", ["What", "paper", "here"], entry.printed));
    }
    const told = entry.printed.map(([what, paper, here]) => [`${what} `, make("b", { class: "number" }, here), ` (paper: ${paper})`]);
    return make("p", { class: "small paper" }, "Beside the paper: ", told.flatMap((one, at) => (at ? ["; ", ...one] : one)), ".");
  }

  // Of a kind that has no drawing its metrics.
  function fillMetrics(body, entry) {
    const used = usedOf(entry), names = distinct(used.flatMap((result) => Object.keys(result.metrics)));
    const tables = names.map((name) => metricTable(name, used)).filter(known);
    body.append(tables.length ? make("div", { class: "metrics" }, tables) : make("p", { class: "soft" }, "No curve is drawn of this case."));
  }

  function fillCard(body, claim, entry) {
    // Where regions are asked for in slices their pictures say more than any curve.
    const drawn = fillSlices(body, claim, entry) || fillCurves(body, claim, entry);
    if (!drawn) fillMetrics(body, entry);
    const notes = distinct(usedOf(entry).filter((result) => result.group === "trained" && result.note).map((result) => result.note));
    const parts = [effectLine(entry), controlLine(entry), ...notes.map((note) => make("p", { class: "small soft" }, note)), historyStrip(entry), paperPart(entry)];
    body.append(...parts.filter(known), make("p", { class: "small print-out" }, link(entry.anchor, `Read the curves of ${titled(entry)}`)));
  }

  function card(claim) {
    const cases = claim.cases.filter((entry) => entry.judged && entry.measured);
    if (!cases.length) return null;
    const body = make("div", { class: "card-body" });
    const first = Math.max(0, cases.findIndex((entry) => entry.anchor === claim.drawn));
    const choice = make("select", { "aria-label": `Case drawn of ${claim.title}` },
      cases.map((entry, at) => make("option", { value: at, selected: at === first }, `${titled(entry)}: ${entry.state}`)));
    choice.addEventListener("change", () => { body.replaceChildren(); fillCard(body, claim, cases[Number(choice.value)]); });
    later(body, () => fillCard(body, claim, cases[first]));
    return make("figure", { class: "card", id: `${claim.anchor}~figure` },
      make("figcaption", {}, make("h3", {}, link(claim.anchor, claim.title), " ", anchorLink(`${claim.anchor}~figure`, `the figure of ${claim.title}`)),
        make("div", { class: "beside" }, verdictCell(claim), cases.length > 1 ? choice : make("span", { class: "small soft" }, titled(cases[0])))),
      body);
  }

  function figuresPart() {
    const cards = report.claims.map(card).filter(known);
    if (!cards.length) return null;
    return make("section", { id: "figures", "aria-labelledby": "figures-title" },
      make("h2", { id: "figures-title" }, "Every claim in a figure"), make("div", { class: "cards" }, cards));
  }

