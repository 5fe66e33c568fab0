"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const names = ["id", "stage", "state", "x", "y", "needs", "reason", "job", "spent", "estimate", "attempts",
    "started", "ended", "node", "failure"];
  const runs = data.runs.map((row, number) => {
    const run = Object.fromEntries(names.map((name, position) => [name, row[position]]));
    run.number = number;
    run.needs = data.needs[run.needs];
    for (const name of ["reason", "node", "failure"]) run[name] = data.texts[run[name]];
    run.stage = data.stages[run.stage];
    run.state = data.states[run.state];
    run.words = `${run.id} ${run.stage} ${run.state} ${run.reason} ${run.failure} ${run.job}`.toLowerCase();
    return run;
  });
  const children = runs.map(() => []);
  for (const run of runs) for (const need of run.needs) children[need].push(run.number);

  const canvas = document.getElementById("dag"), pen = canvas.getContext("2d");
  const tip = document.getElementById("tip"), facts = document.getElementById("facts");
  const search = document.getElementById("search"), found = document.getElementById("found");
  const results = document.getElementById("results");
  const MARKED = { failed: "cross", blocked: "bar", cancelled: "slash", stale: "dot" };
  const MOST_LINES = 900, MOST_RESULTS = 50, SIZE = 0.78;

  const shown = new Set(data.states);
  let chosen = null, hovered = null, matches = null, kin = new Set();
  let scale = 10, left = 0, top = 0, colours = {}, asked = false;

  const columns = Math.max(...runs.map((run) => run.x)) + 1, rows = Math.max(...runs.map((run) => run.y)) + 1;
  const grid = new Map(runs.map((run) => [run.x * 100003 + run.y, run]));

  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of [...data.states, "ink", "line", "choice", "panel", "soft"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }

  function fit() {
    const box = canvas.getBoundingClientRect(), room = 26;
    scale = Math.min((box.width - 2 * room) / columns, (box.height - 2 * room) / rows, 34);
    left = (box.width - columns * scale) / 2;
    top = (box.height - rows * scale) / 2 + 8;
    redraw();
  }

  function redraw() {
    if (!asked) { asked = true; requestAnimationFrame(draw); }
  }

  function draw() {
    asked = false;
    const box = canvas.getBoundingClientRect(), dense = window.devicePixelRatio || 1;
    const width = Math.round(box.width * dense), height = Math.round(box.height * dense);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    drawStages(box);
    drawLines();
    const side = Math.max(1, scale * SIZE), pad = (scale - side) / 2;
    for (const state of data.states) {
      pen.fillStyle = colours[state];
      for (const run of runs) {
        if (run.state !== state) continue;
        const x = left + run.x * scale + pad, y = top + run.y * scale + pad;
        if (x > box.width || y > box.height || x + side < 0 || y + side < 0) continue;
        pen.globalAlpha = isDim(run) ? 0.13 : 1;
        pen.fillRect(x, y, side, side);
        if (side > 6 && MARKED[state]) mark(MARKED[state], x, y, side);
      }
    }
    pen.globalAlpha = 1;
    if (scale > 90) drawNames(side, pad, box);
    for (const run of [hovered, chosen]) if (run) frame(run, side, pad);
  }

  function isDim(run) {
    return !shown.has(run.state) || (matches !== null && !matches.has(run.number)) ||
      (matches === null && chosen !== null && !kin.has(run.number));
  }

  function mark(kind, x, y, side) {
    pen.save();
    pen.strokeStyle = colours.panel;
    pen.lineWidth = Math.max(1, side / 9);
    pen.beginPath();
    const a = x + side * 0.25, b = x + side * 0.75, c = y + side * 0.25, d = y + side * 0.75;
    if (kind === "cross") { pen.moveTo(a, c); pen.lineTo(b, d); pen.moveTo(a, d); pen.lineTo(b, c); }
    if (kind === "slash") { pen.moveTo(a, d); pen.lineTo(b, c); }
    if (kind === "bar") { pen.moveTo(a, (c + d) / 2); pen.lineTo(b, (c + d) / 2); }
    if (kind === "dot") pen.arc((a + b) / 2, (c + d) / 2, side / 8, 0, 7);
    pen.stroke();
    pen.restore();
  }

  function drawStages(box) {
    pen.fillStyle = colours.soft;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "left";
    let right = -Infinity;
    for (const [stage, x] of stageEdges) {
      const at = Math.max(left + x * scale, right + 8);
      pen.fillText(stage, at, Math.max(14, top - 8));
      right = at + pen.measureText(stage).width;
    }
  }

  function drawLines() {
    const lines = [];
    const add = (run) => { for (const need of run.needs) if (lines.length < 4 * MOST_LINES) lines.push([runs[need], run]); };
    if (chosen) for (const number of kin) add(runs[number]);
    else if (runs.length <= MOST_LINES / 3) runs.forEach(add);
    const both = chosen ? lines.filter(([a, b]) => kin.has(a.number) && kin.has(b.number)) : lines;
    pen.strokeStyle = colours.line;
    pen.lineWidth = 1;
    pen.globalAlpha = both.length > 150 ? 0.22 : 0.5;
    pen.beginPath();
    for (const [from, to] of both.slice(0, MOST_LINES)) {
      const x1 = left + (from.x + 0.5) * scale, y1 = top + (from.y + 0.5) * scale;
      const x2 = left + (to.x + 0.5) * scale, y2 = top + (to.y + 0.5) * scale, middle = (x1 + x2) / 2;
      pen.moveTo(x1, y1);
      pen.bezierCurveTo(middle, y1, middle, y2, x2, y2);
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  function drawNames(side, pad, box) {
    pen.fillStyle = colours.choice;
    pen.font = "11px ui-monospace, monospace";
    pen.save();
    for (const run of runs) {
      const x = left + run.x * scale + pad, y = top + run.y * scale + pad;
      if (x > box.width || y > box.height || x + side < 0 || y + side < 0) continue;
      for (let part = 0; part * 13 < run.id.length && 14 + part * 13 < side; part++) {
        pen.fillText(run.id.slice(part * 13, part * 13 + 13), x + 3, y + 13 + part * 13, side - 6);
      }
    }
    pen.restore();
  }

  function frame(run, side, pad) {
    pen.strokeStyle = colours.choice;
    pen.lineWidth = run === chosen ? 2.5 : 1.5;
    const grow = Math.max(0, 4 - side / 2);
    pen.strokeRect(left + run.x * scale + pad - grow, top + run.y * scale + pad - grow, side + 2 * grow, side + 2 * grow);
  }

  function runAt(x, y) {
    const column = Math.floor((x - left) / scale), row = Math.floor((y - top) / scale);
    return grid.get(column * 100003 + row) || null;
  }

  function walk(number, next) {
    const seen = new Set([number]), waiting = [number];
    while (waiting.length) for (const other of next(waiting.pop())) if (!seen.has(other)) { seen.add(other); waiting.push(other); }
    return seen;
  }

  function choose(run, move) {
    chosen = run;
    kin = new Set();
    if (run) {
      kin = new Set([...walk(run.number, (n) => runs[n].needs), ...walk(run.number, (n) => children[n])]);
      show(run);
      if (move) centre(run);
      history.replaceState(null, "", `#${encodeURIComponent(run.id)}`);
    } else {
      facts.hidden = true;
      history.replaceState(null, "", location.pathname + location.search);
    }
    redraw();
  }

  function centre(run) {
    const box = canvas.getBoundingClientRect();
    scale = Math.max(scale, 14);
    left = box.width / 2 - (run.x + 0.5) * scale;
    top = box.height / 2 - (run.y + 0.5) * scale;
  }

  function element(tag, text, parent, className) {
    const made = document.createElement(tag);
    if (text !== null) made.textContent = text;
    if (className) made.className = className;
    parent.append(made);
    return made;
  }

  function clock(seconds) {
    return seconds ? new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 16) + " UTC" : "";
  }

  function show(run) {
    facts.replaceChildren();
    const close = element("button", "×", facts, "close");
    close.title = "close";
    close.addEventListener("click", () => choose(null));
    element("h2", run.id, facts);
    const list = element("dl", null, facts);
    const fact = (name, value) => { if (value !== "" && value !== 0) { element("dt", name, list); element("dd", String(value), list); } };
    fact("state", run.state);
    fact("why", run.reason);
    fact("failure", run.failure);
    fact("stage", run.stage);
    fact("Slurm job", run.job);
    fact("attempts", run.attempts);
    fact("node", run.node);
    fact("begun", clock(run.started));
    fact("ended", clock(run.ended));
    fact("GPU-hours", `${run.spent} spent, ${run.estimate} estimated`);
    fact("folder", `${data.root}/${run.id}`);
    kinsfolk("built on", run.needs);
    kinsfolk("builds", children[run.number]);
    const log = data.logs[run.number];
    if (log) { element("h2", "end of its log", facts); element("pre", log, facts); }
    else element("p", run.attempts ? `its log: ${data.root}/${run.id}/attempts/` : "it has no log yet", facts, "none");
    facts.hidden = false;
    facts.scrollTop = 0;
  }

  function kinsfolk(title, numbers) {
    if (!numbers.length) return;
    element("h2", `${title} ${numbers.length} run${numbers.length === 1 ? "" : "s"}`, facts);
    for (const number of numbers.slice(0, 8)) {
      const link = element("button", `${runs[number].id} (${runs[number].state})`, facts, "kin");
      link.addEventListener("click", () => choose(runs[number], true));
    }
    if (numbers.length > 8) element("p", `and ${numbers.length - 8} more`, facts, "none");
  }

  function look() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    results.replaceChildren();
    if (!words.length) {
      matches = null;
      found.textContent = "";
      results.hidden = true;
      return redraw();
    }
    const hits = runs.filter((run) => words.every((word) => run.words.includes(word)));
    matches = new Set(hits.map((run) => run.number));
    found.textContent = `${hits.length.toLocaleString("en")} found`;
    for (const run of hits.slice(0, MOST_RESULTS)) {
      const link = element("button", `${run.id} (${run.state})`, element("li", null, results));
      link.addEventListener("click", () => choose(run, true));
    }
    results.hidden = !hits.length;
    redraw();
  }

  function zoom(factor, x, y) {
    const box = canvas.getBoundingClientRect();
    const atX = x ?? box.width / 2, atY = y ?? box.height / 2;
    const next = Math.min(240, Math.max(0.4, scale * factor));
    left = atX - (atX - left) * next / scale;
    top = atY - (atY - top) * next / scale;
    scale = next;
    redraw();
  }

  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.offsetX, y: event.offsetY, left, top, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag) {
      drag.moved ||= Math.hypot(event.offsetX - drag.x, event.offsetY - drag.y) > 4;
      if (drag.moved) {
        canvas.classList.add("dragged");
        left = drag.left + event.offsetX - drag.x;
        top = drag.top + event.offsetY - drag.y;
        tip.hidden = true;
        return redraw();
      }
    }
    hovered = runAt(event.offsetX, event.offsetY);
    tip.hidden = !hovered;
    if (hovered) {
      tip.textContent = `${hovered.id} (${hovered.state})`;
      const box = canvas.getBoundingClientRect();
      tip.style.left = `${Math.max(0, Math.min(event.offsetX + 12, box.width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${event.offsetY + 30 > box.height ? event.offsetY - 28 : event.offsetY + 14}px`;
    }
    redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag && !drag.moved) choose(runAt(event.offsetX, event.offsetY));
    drag = null;
    canvas.classList.remove("dragged");
  });
  canvas.addEventListener("pointerleave", () => { hovered = null; tip.hidden = true; redraw(); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (steps) { left += steps[0]; top += steps[1]; event.preventDefault(); redraw(); }
    if (event.key === "+") zoom(1.4);
    if (event.key === "-") zoom(1 / 1.4);
    if (event.key === "0") fit();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") choose(null); });
  document.getElementById("closer").addEventListener("click", () => zoom(1.5));
  document.getElementById("farther").addEventListener("click", () => zoom(1 / 1.5));
  document.getElementById("whole").addEventListener("click", fit);
  search.addEventListener("input", look);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && matches && matches.size) choose(runs[Math.min(...matches)], true);
  });
  for (const button of document.querySelectorAll("button.state")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(on));
      if (on) shown.add(button.dataset.state); else shown.delete(button.dataset.state);
      redraw();
    });
  }
  const stageEdges = data.stages
    .map((stage) => [stage, Math.min(...runs.filter((run) => run.stage === stage).map((run) => run.x))])
    .sort((one, other) => one[1] - other[1]);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
  new ResizeObserver(redraw).observe(canvas);
  readColours();
  fit();
  const named = runs.find((run) => run.id === decodeURIComponent(location.hash.slice(1)));
  if (named) choose(named, true);
  // What the tests ask: where a run is drawn, and how many are not dimmed.
  window.campaign = {
    where: (id) => { const run = runs.find((other) => other.id === id); return [left + (run.x + 0.5) * scale, top + (run.y + 0.5) * scale]; },
    bright: () => runs.filter((run) => !isDim(run)).length,
    scale: () => scale,
    draw: () => { const began = performance.now(); draw(); return performance.now() - began; },
  };
})();
