"use strict";
// The runs behind a cell: what the island knows of them, as `aggregate/report/island.py` writes it.

const data = JSON.parse(document.getElementById("island").textContent);

function sign(state) {
  const [name, letter] = data.states[state];
  return make("i", { class: name }, letter);
}

// A list of terms and what they say; pairs without anything to say are left out.
function listFacts(pairs) {
  const list = make("dl");
  for (const [term, said] of pairs) {
    const parts = (Array.isArray(said) ? said : [said]).filter((part) => part !== null && part !== "");
    if (parts.length) list.append(make("dt", {}, term), make("dd", {}, ...parts));
  }
  return list;
}

// Details whose content is made when they are opened: a lineage may be long.
function fold(summary, build, open) {
  const details = make("details", {}, make("summary", {}, ...summary));
  const fill = () => details.childElementCount < 2 && details.append(...build());
  details.addEventListener("toggle", () => details.open && fill());
  if (open) fill();
  details.open = open;
  return details;
}

// Links lead from the page to files in the results folder and show their names below it.
function link(...parts) {
  return make("a", { href: [data.base, ...parts.map(encodeURIComponent)].join("/") }, parts.join("/"));
}

// `done`, or `failed (out of memory)`.
function tell(state, reason) {
  return data.texts[reason] ? `${state} (${data.texts[reason]})` : state;
}

function nameSeed(seed) {
  return seed === null ? "every seed" : `seed ${seed}`;
}

function showAttempt(run, attempt) {
  const [name, state, reason, started, hours, host, code, versions, ranks] = attempt;
  const logs = Array.isArray(ranks) ? ranks : Array.from({ length: ranks }, (_, rank) => `rank${rank}.log`);
  return listFacts([
    ["attempt", name],
    ["end", tell(data.texts[state], reason)],
    ["started", started === null ? "" : new Date(started * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC"],
    ["hours", hours === null ? "" : String(hours)],
    ["on", data.texts[host]],
    ["commit", data.texts[code]],
    ["versions", data.versions[versions].map((pair) => pair.join(" ")).join(", ")],
    ["logs", logs.map((log) => make("div", {}, link(run, "attempts", name, log)))],
  ]);
}

function showRun(number) {
  const [id, state, reason, config, parents, gpuHours, cpuHours, work, attempts] = data.runs[number];
  const settings = data.configs[config];
  const known = settings.length || attempts.length;
  const hours = gpuHours ? ["GPU-hours", String(gpuHours)] : ["CPU-hours", attempts.length ? String(cpuHours) : ""];
  return [
    listFacts([
      ["run", known ? link(id) : id],
      ["state", known ? [sign(state), ` ${tell(data.states[state][0], reason)}`] : "no folder of this name among the results"],
      hours,
      ...data.work.map((name, place) => [name.replaceAll("_", " "), work[place] === null ? "" : String(work[place])]),
      ["configuration", settings.map(([key, value]) => make("div", {}, make("b", {}, key), ` ${value}`))],
    ]),
    ...(attempts.length ? [make("h4", {}, "Attempts")] : []),
    ...attempts.map((attempt) => showAttempt(id, attempt)),
    ...(parents.length ? [make("h4", {}, "Built on")] : []),
    ...parents.map((parent) => fold([sign(data.runs[parent][1]), ` ${data.runs[parent][0]}`], () => showRun(parent), false)),
  ];
}

function showPlaces(row, target, open) {
  const places = data.cells[row][data.targets.findIndex(([name]) => name === target)] || [];
  return places.flatMap(([seed, state, reason, runs]) => {
    const told = `${nameSeed(seed)}: ${tell(data.states[state][0], reason)}`;
    const head = make("p", {}, sign(state), ` ${told}${runs.length ? "" : "; nobody names a run for it"}`);
    const few = open && places.length * runs.length <= 3;
    return [head, ...runs.map((run) => fold([data.runs[run][0]], () => showRun(run), few))];
  });
}

function spell(value, signed) {
  return (signed && value > 0 ? "+" : "") + value.toFixed(2);
}

function showNumbers(row, target) {
  const signed = data.rows[row][1] !== row;
  const told = data.columns.filter(([, own]) => own === target).map(([key, , metric]) => [metric, data.numbers[row][key]]);
  if (target === "avg") told.push(["Avg", data.numbers[row].avg]);
  return listFacts(
    told.filter(([, numbers]) => numbers).map(([metric, [mean, low, high, p, seeds]]) => {
      const interval = low === null ? "no interval" : `95 % interval ${spell(low, signed)} to ${spell(high, signed)}`;
      const tested = p === null || !signed ? "" : `, Holm-adjusted p ${p < 0.001 ? "< 0.001" : p.toFixed(3)}`;
      const single = seeds.map(([seed, value]) => `${nameSeed(seed)}: ${spell(value, signed)}`);
      return [metric === "Avg" ? metric : `${metric} (all languages)`, [`${spell(mean, signed)} (${interval}${tested})`, make("br"), single.join(", ")]];
    })
  );
}

function showBehind(row, target, name) {
  const base = data.rows[row][1];
  const targets = data.targets.filter(([key]) => target === "avg" || key === target);
  const close = make("button", { type: "button" }, "Close");
  const dialog = document.getElementById("behind");
  const list = (which, open) => targets.flatMap(([key, title]) => [
    ...(targets.length > 1 ? [make("h4", {}, title)] : []),
    ...showPlaces(which, key, open && targets.length === 1),
  ]);
  dialog.replaceChildren(
    make("header", {}, make("h2", { id: "behind-title" }, `${data.rows[row][0]}: ${name}`), close),
    make("div", {},
      showNumbers(row, target),
      ...list(row, true),
      base === row ? "" : fold([`Baseline: ${data.rows[base][0]}`], () => list(base, false), false))
  );
  close.addEventListener("click", () => dialog.close());
  dialog.showModal();
  dialog.scrollTop = 0;
}

function findTargets(table) {
  return table.id === "map" ? data.targets.map(([name]) => name) : table.dataset.targets.split(" ");
}

function openCell(cell) {
  const table = cell.closest("table");
  const target = findTargets(table)[cell.cellIndex - 1];
  const title = (data.targets.find(([name]) => name === target) || ["", "Avg"])[1];
  showBehind(Number(cell.parentNode.dataset.n), target, title);
}

// One stop for the tab key in each table, arrows from there.
function moveFocus(cell, key) {
  const rows = [...cell.closest("table").querySelectorAll("tr[data-n]")].filter((row) => !row.hidden);
  const down = { ArrowDown: 1, ArrowUp: -1 }[key] || 0, right = { ArrowRight: 1, ArrowLeft: -1 }[key] || 0;
  const row = rows[rows.indexOf(cell.parentNode) + down];
  const next = row && row.cells[cell.cellIndex + right];
  if (!next || next.tagName !== "TD") return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function addCells(table) {
  const first = table.querySelector("td");
  if (!first) return;
  first.tabIndex = 0;
  table.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (cell) openCell(cell);
  });
  table.addEventListener("keydown", (event) => {
    if (event.target.tagName !== "TD") return;
    if (event.key === "Enter" || event.key === " ") openCell(event.target);
    else if (event.key.startsWith("Arrow")) moveFocus(event.target, event.key);
    else return;
    event.preventDefault();
  });
}

function addTips(map) {
  map.addEventListener("mouseover", (event) => {
    const cell = event.target.closest("td");
    if (!cell || cell.title) return;
    const places = data.cells[Number(cell.parentNode.dataset.n)][cell.cellIndex - 1];
    cell.title = places
      .map(([seed, state, reason]) => `${nameSeed(seed)}: ${tell(data.states[state][0], reason)}`)
      .join("\n");
  });
}

document.querySelectorAll("#map, table[data-targets]").forEach(addCells);
addTips(document.getElementById("map"));
