// The page put together: models as tabs, parts below.

import { about } from "./asking.js";
import { curvePart } from "./curve.js";
import { make } from "./dom.js";
import { layersPart } from "./layers.js";
import { pairsPart } from "./pairs.js";
import { settings } from "./prompts.js";
import { slicePart } from "./slice.js";
import { standingPart } from "./standing.js";
import { change, onChange, restore, state } from "./state.js";
import { say } from "./status.js";

function tabs(told) {
  const holder = document.getElementById("models");
  const facts = document.getElementById("facts");
  const made = told.models.map((one) => make("button", { type: "button", role: "tab", id: `tab${told.models.indexOf(one)}`, "aria-controls": "panel", click: () => choose(one) }, one.name));
  const choose = (one) => change({ model: one.name, layer: Math.min(state.layer, one.layers), read: state.read.startsWith("block:") ? "final_norm" : state.read });
  holder.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = (told.models.findIndex((one) => one.name === state.model) + step + made.length) % made.length;
    choose(told.models[at]);
    made[at].focus();
  });
  function follow() {
    const at = told.models.findIndex((one) => one.name === state.model), one = told.models[at];
    made.forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === at));
      tab.tabIndex = place === at ? 0 : -1;
    });
    document.getElementById("panel").setAttribute("aria-labelledby", made[at].id);
    facts.textContent = `${one.layers} blocks, width ${one.width}, ${one.dtype} on ${one.device}, revision ${one.revision}, weights ${one.weights_sha256.slice(0, 12)}`;
  }
  onChange(follow);
  holder.append(...made);
  follow();
}

async function show() {
  let told;
  try {
    told = await about();
  } catch (error) {
    return say(error.message || "The server does not answer.");
  }
  const said = await restore(told);
  tabs(told);
  settings(document.getElementById("ask"), told);
  const curve = curvePart(document.getElementById("curve"), told);
  pairsPart(document.getElementById("pairs"), told);
  layersPart(document.getElementById("layers"), told);
  standingPart(document.getElementById("standing"), told, curve);
  slicePart(document.getElementById("slice"), told);
  window.addEventListener("hashchange", () => location.reload());
  if (said) document.querySelector("header").append(make("p", { class: "problem", role: "alert" }, said));
  document.documentElement.setAttribute("data-ready", "");
  return undefined;
}

show();
