// The list of pairs: labelled, laid over the curve, brought in and out as files, made a suite.

import { asked, isRunning, streamed } from "./asking.js";
import { button, exactCsv, make, plural, quoted, saveAs } from "./dom.js";
import { lacking, settingsAsked } from "./prompts.js";
import { change, onChange, packed, state } from "./state.js";

export function pairsPart(holder, told) {
  const it = { told, removed: null };
  it.said = make("p", { class: "small", role: "status" });
  it.list = make("tbody", {});
  const table = make("table", { class: "list" }, make("caption", {}, "Collected pairs; those ticked are drawn over the curve"),
    make("thead", {}, make("tr", {}, ["drawn", "label", "A", "B", "take"].map((one) => make("th", { scope: "col" }, one)))), it.list);
  it.table = make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Collected pairs" }, table);
  it.empty = make("p", { class: "soft" }, "No pair yet: add the one above, or bring in a file with columns a, b and label (CSV, JSONL), or records of Plateau Lab.");
  const file = make("input", { type: "file", accept: ".csv,.jsonl,.json,text/csv,application/json", change: () => { bring(it, file.files[0]); } });
  it.file = file;
  it.out = [
    button("CSV", () => saveAs(exactCsv(["label", "a", "b"], state.pairs.map((one, at) => [one.label || String(at + 1), one.a, one.b])), "text/csv;charset=utf-8", "pairs.csv"), { "aria-label": "Export pairs as CSV" }),
    button("JSONL", () => saveAs(state.pairs.map((one, at) => `${JSON.stringify({ label: one.label || String(at + 1), a: one.a, b: one.b })}\n`).join(""), "application/x-ndjson", "pairs.jsonl"), { "aria-label": "Export pairs as JSONL" }),
    button("Plateau Lab JSONL", () => plateauLab(it), { "aria-label": "Plateau Lab JSONL: measure every block of each pair, export records" }),
  ];
  it.claim = [button("Make a suite of these pairs", () => suite(it, "suite"), { class: "main" }), button("Copy as Python", () => suite(it, "python")), button("Copy for the shell", () => suite(it, "shell"))];
  holder.append(make("h2", {}, "Pairs"),
    make("p", { class: "row" }, button("Add this pair", () => add(it), { class: "main", title: "Ctrl+Enter" }), make("label", { class: "file" }, make("span", {}, "Bring in a file"), file), button("Copy the link", () => link(it))),
    it.empty, it.table, make("p", { class: "row", id: "exports" }, make("span", { class: "soft" }, "Export:"), it.out), make("p", { class: "row" }, it.claim), it.said);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); add(it); }
  });
  onChange((names) => { if (names.has("pairs")) show(it); });
  show(it);
  return it;
}

function say(it, text, ...more) {
  it.said.replaceChildren(text, ...more);
}

function show(it) {
  const none = !state.pairs.length;
  it.empty.hidden = !none;
  it.table.hidden = none;
  for (const one of it.out) one.disabled = none;
  for (const one of it.claim) one.disabled = none && one.textContent.startsWith("Make");
  // What is being written in stays as it is.
  if (it.list.contains(document.activeElement) && document.activeElement.type === "text" && it.list.children.length === state.pairs.length) return;
  it.list.replaceChildren(...state.pairs.map((pair, at) => row(it, pair, at)));
}

const renewed = (at, values) => change({ pairs: state.pairs.map((one, place) => (place === at ? { ...one, ...values } : one)) });

function row(it, pair, at) {
  const drawn = make("input", { type: "checkbox", change: () => renewed(at, { show: drawn.checked }) });
  drawn.checked = pair.show;
  const label = make("input", { type: "text", maxlength: 200, placeholder: `pair ${at + 1}`, "aria-label": `Label of pair ${at + 1}`, input: () => { renewed(at, { label: label.value }); name(); } });
  label.value = pair.label;
  const look = button("Look", () => change({ a: pair.a, b: pair.b })), away = button("Remove", () => remove(it, at));
  // Told with the label as it is being written.
  function name() {
    const called = label.value || `pair ${at + 1}`;
    drawn.setAttribute("aria-label", `Draw ${called} over the curve`);
    look.setAttribute("aria-label", `Look at ${called}`);
    away.setAttribute("aria-label", `Remove ${called}`);
  }
  name();
  return make("tr", {}, make("td", {}, drawn), make("td", {}, label), ...[pair.a, pair.b].map((text) => make("td", { class: "text" }, make("bdi", {}, quoted(text)))), make("td", {}, make("div", { class: "row" }, look, away)));
}

function add(it) {
  const why = lacking();
  if (why) return say(it, why);
  if (state.pairs.length >= it.told.limits.pairs) return say(it, `The list holds ${it.told.limits.pairs} pairs, as many as the page takes; export them.`);
  if (state.pairs.some((one) => one.a === state.a && one.b === state.b)) return say(it, "This pair is in the list already.");
  change({ pairs: [...state.pairs, { a: state.a, b: state.b, label: "", show: false }] });
  return say(it, `Added: ${plural(state.pairs.length, "pair")}.`);
}

function remove(it, at) {
  const before = state.pairs;
  change({ pairs: before.filter((_, place) => place !== at) });
  say(it, "Removed. ", button("Undo", () => { change({ pairs: before }); say(it, "It is back."); }));
}

async function bring(it, file) {
  if (!file) return;
  try {
    if (file.size > 3e6) throw new Error(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; the page takes 3 MB and ${it.told.limits.pairs} pairs: measure curve --pairs-from takes more.`);
    const { rows } = await asked("pairs", { name: file.name, text: await file.text() });
    const had = new Set(state.pairs.map((one) => JSON.stringify([one.a, one.b])));
    const fresh = rows.filter((one) => !had.has(JSON.stringify([one.a, one.b])));
    const room = it.told.limits.pairs - state.pairs.length;
    change({ pairs: [...state.pairs, ...fresh.slice(0, room).map(({ a, b, label }) => ({ a, b, label, show: false }))] });
    const layers = [...new Set(rows.map((one) => one.layer).filter(Boolean))];
    const depth = it.told.models.find((one) => one.name === state.model).layers;
    if (layers.length === 1 && layers[0] <= depth) change({ layer: layers[0], path: rows[0].path || state.path });
    say(it, `${plural(Math.min(room, fresh.length), "pair")} brought in${rows.length - fresh.length ? `, ${rows.length - fresh.length} were there already` : ""}${fresh.length > room ? `, ${fresh.length - room} left out: the list is full` : ""}.`);
  } catch (error) {
    say(it, error.message);
  }
  it.file.value = "";
}

async function suite(it, kind) {
  try {
    const rows = state.pairs.length ? state.pairs : [state];
    const made = await asked("suite", { ...settingsAsked(it.told), layer: state.layer, rows: rows.map(({ a, b, label }) => ({ a, b, label: label || "" })) });
    if (kind === "suite") {
      saveAs(made.suite, "text/x-python;charset=utf-8", made.file);
      say(it, `${made.file} is saved. Run it: pytest -p measure.plugin ${made.file}`);
    } else await copy(it, made[kind], kind === "shell" ? "The first pair's command is copied." : "The lines are copied.");
  } catch (error) {
    say(it, error.message);
  }
}

async function copy(it, text, said) {
  try {
    await navigator.clipboard.writeText(text);
    say(it, said);
  } catch {
    // Where the browser does not allow it, it is shown to be copied by hand.
    const area = make("textarea", { readonly: true, rows: 6, "aria-label": "To be copied" });
    area.value = text;
    say(it, "The browser does not let this page copy; here it is:", area);
    area.select();
  }
}

async function link(it) {
  await copy(it, `${location.href.split("#")[0]}#${await packed()}`, "The link is copied: it holds prompts, settings and pairs. At another start of the server put the part from # on behind its address.");
}

async function plateauLab(it) {
  if (isRunning("file")) return;
  const records = [];
  say(it, "measuring every block of each pair");
  try {
    const { model, ...settings } = settingsAsked(it.told);
    const whole = await streamed("file", "plateau-lab", { model, ...settings, layer: state.layer, rows: state.pairs.map(({ a, b, label }) => ({ a, b, label })) }, (event) => {
      if (event.type !== "record") return;
      records.push(JSON.stringify(event.record));
      say(it, `${records.length} of ${state.pairs.length} pairs measured`);
    });
    if (!whole) return;
    saveAs(`${records.join("\n")}\n`, "application/x-ndjson", "plateau-lab.jsonl");
    say(it, `${plural(records.length, "record")} saved, in Plateau Lab's schema 7.`);
  } catch (error) {
    say(it, error.message);
  }
}
