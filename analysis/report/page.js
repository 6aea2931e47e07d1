"use strict";
// Tables sort on a click of a header, filter by typing and show some rows until all are wanted; a
// figure names the task that is pointed at, tapped or reached by keyboard; #task=NAME finds a task.

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  if (name === "button") made.type = "button";
  return made;
}

// ---------------------------------------------------------------- tables

function valueOf(row, column, isNumber) {
  const text = row.cells[column].textContent.trim();
  if (!isNumber) return text.toLowerCase();
  const number = parseFloat(text.replace("−", "-"));
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
  showRows(table);
}

function showRows(table) {
  // a filter looks through all rows
  const search = document.querySelector(`input[data-for="${table.id}"]`);
  const query = search ? search.value.trim().toLowerCase() : "";
  const limit = query || table.dataset.all ? Infinity : Number(table.dataset.limit);
  Array.from(table.tBodies[0].rows).forEach((row, i) => row.classList.toggle("over", i >= limit));
}

for (const table of document.querySelectorAll("table[data-limit]")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = element("button", "", header.textContent);
    if (header.dataset.help) button.title = header.dataset.help;
    button.addEventListener("click", () => sortBy(table, header));
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
  }
  const count = table.tBodies[0].rows.length;
  if (count <= Number(table.dataset.limit)) continue;
  const more = element("button", "plain all", `all ${count} rows`);
  more.setAttribute("aria-expanded", "false");
  more.addEventListener("click", () => {
    table.dataset.all = table.dataset.all ? "" : "1";
    more.textContent = table.dataset.all ? `${table.dataset.limit} rows` : `all ${count} rows`;
    more.setAttribute("aria-expanded", String(Boolean(table.dataset.all)));
    showRows(table);
  });
  table.closest(".box").after(more);
  showRows(table);
}

for (const input of document.querySelectorAll("input[data-for]")) {
  const table = document.getElementById(input.dataset.for);
  const rows = Array.from(table.tBodies[0].rows);
  const count = input.closest(".find").querySelector("output");
  input.closest(".find").hidden = false;
  input.addEventListener("input", () => {
    const query = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(query);
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = query ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
    showRows(table);
  });
}

// ---------------------------------------------------------------- commands

for (const place of document.querySelectorAll(".command")) {
  const button = element("button", "plain copy", "copy");
  button.addEventListener("click", async () => {
    const text = place.firstElementChild.textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      // a page from disk may not write there: what is selected can be copied by keyboard
      getSelection().selectAllChildren(place.firstElementChild);
      button.textContent = "selected";
    }
  });
  place.append(button);
}

// ---------------------------------------------------------------- figures

const tip = document.getElementById("tip");

function hideTip() {
  tip.hidden = true;
  for (const figure of document.querySelectorAll(".lit")) figure.classList.remove("lit");
  for (const point of document.querySelectorAll(".same")) point.classList.remove("same");
}

function light(figure, group) {
  figure.classList.add("lit");
  for (const other of figure.querySelectorAll("[data-tip]")) {
    other.classList.toggle("same", other.dataset.group === group);
  }
}

function showTip(point, x, y) {
  hideTip();
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  light(point.closest("svg"), point.dataset.group);
  const room = document.documentElement;
  tip.style.left = `${Math.max(4, Math.min(x + 12, room.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 16, room.clientHeight - tip.offsetHeight - 4))}px`;
}

function showTipBeside(point) {
  const box = point.getBoundingClientRect();
  showTip(point, box.right, box.bottom);
}

for (const name of ["pointerover", "pointerdown"]) {
  document.addEventListener(name, (event) => {
    const point = event.target.closest("[data-tip]");
    if (point) showTip(point, event.clientX, event.clientY);
    else hideTip();
  });
}
document.addEventListener("focusin", (event) => {
  const point = event.target.closest("[data-tip]");
  if (point) showTipBeside(point);
});
document.addEventListener("focusout", hideTip);
document.addEventListener("scroll", hideTip, true);

// One mark of a figure is in the order of tabs; arrow keys go on from it.
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
for (const svg of document.querySelectorAll("figure svg")) {
  const points = Array.from(svg.querySelectorAll("[data-tip]"));
  points.forEach((point, i) => point.setAttribute("tabindex", i === 0 ? "0" : "-1"));
  svg.addEventListener("keydown", (event) => {
    const i = points.indexOf(event.target.closest("[data-tip]"));
    if (event.key === "Escape") hideTip();
    if (i < 0 || !(event.key in STEPS)) return;
    event.preventDefault();
    const next = points[(i + STEPS[event.key] + points.length) % points.length];
    points[i].setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus({ preventScroll: true });
    showTipBeside(next);
  });
}

// The map of codes: colour by kind or by recovery, a subcategory highlighted.
for (const figure of document.querySelectorAll('figure[id^="figure-codes"]')) {
  const svg = figure.querySelector("svg");
  const bar = element("p", "switch", "");
  const colour = element("button", "plain", "colour by recovery");
  colour.setAttribute("aria-pressed", "false");
  colour.addEventListener("click", () => {
    const isOn = figure.classList.toggle("by-recovery");
    colour.setAttribute("aria-pressed", String(isOn));
    legend.hidden = !isOn;
  });
  const legend = element("span", "aside", "red: none of prompt tuning, grey: half, blue: all");
  legend.hidden = true;
  const label = element("label", "", "highlight ");
  const list = element("select", "", "");
  const groups = new Set(Array.from(svg.querySelectorAll("[data-tip]"), (point) => point.dataset.group));
  for (const group of ["", ...Array.from(groups).sort()]) {
    if (group || list.length === 0) list.add(new Option(group || "no subcategory", group));
  }
  list.addEventListener("change", () => {
    hideTip();
    if (list.value) light(svg, list.value);
  });
  label.append(list);
  bar.append(colour, label, legend);
  figure.querySelector(".box").before(bar);
}

// ---------------------------------------------------------------- width, links to tasks

function hintAtWidth() {
  for (const box of document.querySelectorAll(".box")) {
    const isWide = box.scrollWidth > box.clientWidth + 1;
    const before = box.previousElementSibling;
    const hint = before && before.classList.contains("hint") ? before : null;
    if (isWide && !hint) box.before(element("p", "hint", "scroll sideways →"));
    else if (hint) hint.hidden = !isWide;
  }
}
addEventListener("resize", hintAtWidth);
document.addEventListener("toggle", hintAtWidth, true);
hintAtWidth();

function findTask() {
  for (const old of document.querySelectorAll(".found")) old.classList.remove("found");
  let hash = location.hash;
  try {
    hash = decodeURIComponent(hash);
  } catch {
    return; // no text in percent signs
  }
  if (!hash.startsWith("#task=")) {
    // what a link points at may be folded
    const place = document.getElementById(hash.slice(1));
    const folded = place && place.closest("details");
    if (folded) folded.open = true;
    return;
  }
  const name = hash.slice("#task=".length);
  for (const point of document.querySelectorAll("[data-task]")) {
    point.classList.toggle("found", point.dataset.task === name);
  }
  for (const table of document.querySelectorAll('table[id^="table-tasks"]')) {
    const row = Array.from(table.tBodies[0].rows).find((one) => one.cells[0].textContent === name);
    if (!row) continue;
    row.classList.add("found");
    row.classList.remove("over");
    table.closest("details").open = true;
  }
  const first = document.querySelector("figure .found") || document.querySelector("tr.found");
  if (first) first.scrollIntoView({ block: "center" });
}
addEventListener("hashchange", findTask);
document.addEventListener("click", (event) => {
  const point = event.target.closest("[data-task]");
  if (point) history.replaceState(null, "", `#task=${encodeURIComponent(point.dataset.task)}`);
});
findTask();
document.documentElement.dataset.ready = "";
