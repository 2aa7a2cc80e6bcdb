// The report that the page holds, unpacked; in its place a sentence where that cannot be done.

import { inflated } from "./unpacking.js";

// Null where there is nothing to be shown.
export const report = await read();

function sayInstead(text) {
  const said = document.createElement("p");
  said.className = "problem";
  said.setAttribute("role", "alert");
  said.textContent = text;
  document.getElementById("head").append(said);
}

async function read() {
  if (typeof DecompressionStream === "undefined") {
    sayInstead("This browser cannot unpack the report (it has no DecompressionStream); open this page in Chrome or Edge 80, Firefox 113, Safari 16.4, or anything newer.");
    return null;
  }
  try {
    return await inflated(document.getElementById("report").textContent).json();
  } catch {
    sayInstead("The report in this page is damaged and cannot be unpacked; measure report makes the page again.");
    return null;
  }
}
