// The report that the page holds, unpacked; in its place a sentence where that cannot be done.

  function inflated(packed) {
    const text = atob(packed), bytes = new Uint8Array(text.length);
    // Several times as fast as `Uint8Array.from`, which calls a function for each.
    for (let place = 0; place < bytes.length; place += 1) bytes[place] = text.charCodeAt(place);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")));
  }

  function sayInstead(text) {
    const said = document.createElement("p");
    said.className = "problem";
    said.setAttribute("role", "alert");
    said.textContent = text;
    document.getElementById("head").append(said);
  }

  if (typeof DecompressionStream === "undefined") {
    sayInstead("This browser cannot unpack the report (it has no DecompressionStream); open this page in Chrome or Edge 80, Firefox 113, Safari 16.4, or anything newer.");
    return;
  }
  let report;
  try {
    report = await inflated(document.getElementById("report").textContent).json();
  } catch {
    sayInstead("The report in this page is damaged and cannot be unpacked; measure report makes the page again.");
    return;
  }
