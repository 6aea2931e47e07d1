"use strict";
// Tables sort on a click of a header and filter by typing; a figure names the task pointed at.

function valueOf(row, column, isNumber) {
  const text = row.cells[column].textContent.trim();
  if (!isNumber) return text.toLowerCase();
  const number = parseFloat(text);
  return Number.isNaN(number) ? null : number;
}

function compare(a, b, direction) {
  // missing values come last, in both directions
  if (a === null || b === null) return (a === null) - (b === null);
  return direction * (typeof a === "string" ? a.localeCompare(b) : a - b);
}

function sortBy(table, header) {
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const isNumber = header.classList.contains("number");
  const rows = Array.from(table.tBodies[0].rows, (row) => [valueOf(row, header.cellIndex, isNumber), row]);
  rows.sort((a, b) => compare(a[0], b[0], direction));
  table.tBodies[0].append(...rows.map((pair) => pair[1]));
}

for (const table of document.querySelectorAll("table")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    button.addEventListener("click", () => sortBy(table, header));
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
  }
}

for (const input of document.querySelectorAll("input[data-for]")) {
  const rows = Array.from(document.getElementById(input.dataset.for).tBodies[0].rows);
  const count = input.closest(".find").querySelector("output");
  input.closest(".find").hidden = false;
  input.addEventListener("input", () => {
    const query = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(query);
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = query ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  });
}

const tip = document.getElementById("tip");

function hideTip() {
  tip.hidden = true;
  for (const figure of document.querySelectorAll(".lit")) figure.classList.remove("lit");
  for (const point of document.querySelectorAll(".same")) point.classList.remove("same");
}

document.addEventListener("pointerover", (event) => {
  hideTip();
  const point = event.target.closest("[data-tip]");
  if (!point) return;
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  const figure = point.closest("svg");
  figure.classList.add("lit");
  for (const other of figure.querySelectorAll("[data-tip]")) {
    other.classList.toggle("same", other.dataset.group === point.dataset.group);
  }
  const room = document.documentElement;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, room.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(event.clientY + 16, room.clientHeight - tip.offsetHeight - 4))}px`;
});
document.addEventListener("scroll", hideTip, true);
