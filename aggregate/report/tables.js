"use strict";
// Tables that can be sorted and filtered.

const collator = new Intl.Collator("en", { numeric: true });
document.documentElement.classList.add("js");

// An element with attributes and children: nodes or texts. What the data says enters the page as text, never as HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// ---- sorting: numbers as numbers, then texts, empty cells last in either direction; ties stay as they are

function readKey(row, column, isText) {
  const first = row.cells[column] && row.cells[column].firstChild;
  const text = ((first && first.nodeValue) || "").trim();
  if (text === "" || text === "--") return [2, 0];
  const number = isText ? null : text.match(/^[<>]?([+-]?\d+(?:\.\d+)?)/);
  return number ? [0, parseFloat(number[1])] : [1, text];
}

function compareKeys(a, b, direction) {
  if (a[0] !== b[0]) return a[0] - b[0];
  return direction * (a[0] === 1 ? collator.compare(a[1], b[1]) : a[1] - b[1]);
}

function sortTable(table, column, ascending) {
  const isText = table.tHead.rows[0].cells[column].classList.contains("text");
  for (const body of table.tBodies) {
    const keyed = [...body.rows].map((row) => [readKey(row, column, isText), row]);
    keyed.sort((a, b) => compareKeys(a[0], b[0], ascending ? 1 : -1));
    body.append(...keyed.map((pair) => pair[1]));
  }
}

function addSorting(table) {
  const heads = [...table.tHead.rows[0].cells];
  const written = new Map([...table.tBodies].map((body) => [body, [...body.rows]]));
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      table.dataset.sorted = "";
      sortTable(table, column, ascending);
    });
  });
  return () => {
    for (const head of heads) head.setAttribute("aria-sort", "none");
    delete table.dataset.sorted;
    for (const [body, rows] of written) body.append(...rows);
  };
}

// ---- filtering: rows that have every word somewhere

function filterTable(table, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  let title = null, shown = 0, all = 0;
  for (const body of table.tBodies) {
    if (body.classList.contains("title")) {
      title = body;
      title.hidden = words.length > 0;
      continue;
    }
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      all += 1;
      shown += row.hidden ? 0 : 1;
      if (title && !row.hidden) title.hidden = false;
    }
  }
  return `${shown} of ${all} rows`;
}

function addTools(details) {
  const table = details.querySelector("table");
  const name = details.querySelector("h3").textContent;
  const unsort = addSorting(table);
  const input = make("input", { type: "search", placeholder: "filter rows", "aria-label": `Filter rows of ${name}` });
  const count = make("span", { role: "status" }, filterTable(table, ""));
  const reset = make("button", { type: "button" }, "Reset");
  input.addEventListener("input", () => (count.textContent = filterTable(table, input.value)));
  reset.addEventListener("click", () => {
    input.value = "";
    count.textContent = filterTable(table, "");
    unsort();
  });
  details.querySelector(".tools").append(input, reset, count);
}

// ---- folded tables open where something leads to them

function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named && named.tagName === "DETAILS" && !named.open) {
    named.open = true;
    named.scrollIntoView();
  }
}

document.querySelectorAll("#tables > details").forEach(addTools);
openNamed();
addEventListener("hashchange", openNamed);
addEventListener("beforeprint", () => document.querySelectorAll("#tables > details").forEach((one) => (one.open = true)));
