// ---- all of it

  function show() {
    const main = document.getElementById("main");
    head();
    const parts = [compared(), figuresPart(), answers(), drifted(), report.claims.length ? filterBar() : null, ...report.claims.map(claimSection)];
    main.append(make("p", { id: "missing", class: "problem", role: "status", hidden: true }), ...parts.filter(known));
    if (report.claims.length) applyFilters();
    window.addEventListener("hashchange", () => reveal(asked()));
    if (location.hash) {
      reveal(asked());
      const target = document.getElementById(asked());
      if (target) target.scrollIntoView();
    }
    document.documentElement.setAttribute("data-ready", "");
  }

  show();
