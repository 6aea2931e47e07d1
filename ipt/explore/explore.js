// The explorer's page as one module. It asks through a transport, an object with
//   live: whether any place can be asked about, or only those that were stored
//   ask(route, body): a promise of the answer, an error with one line where there is none
// so that a server, a file with stored answers or a notebook can stand behind it.

const MOST_IN_FLIGHT = 3;
const SLOW = 0.4; // seconds; slower answers are asked for when a drag has ended
const MOST_GROUPS = 12; // of answers to one's own text
const MARK = 6; // pixels: radius of a task's mark
const REACH = 16; // pixels from a mark that still mean it
const NUDGE = 0.1; // of a standard deviation: an arrow key's step
const COARSE = 12; // places a side of the first plane
const PATIENCE = 20; // seconds that a finer plane may take
// Okabe and Ito's colours, lightened so that dark letters can be read on them.
const COLOURS = ["#8cc5f0", "#f5c26b", "#7fcfae", "#f2a48a", "#d9a7c7", "#efe58a", "#a9b8dd"];
const OTHERS = "#c9ced4";
const WORDS = ["", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"];
const SVG = "http://www.w3.org/2000/svg";

// --- transports

export function fetchTransport(base) {
  return {
    live: true,
    async ask(route, body) {
      let response;
      try {
        response = await fetch(base + route, {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(body),
        });
      } catch {
        throw new Error("No answer: is ipt explore still running?");
      }
      const record = await response.json();
      if (!response.ok) throw new Error(record.error);
      return record;
    },
  };
}

export function storedTransport(stored) {
  return {
    live: false,
    async ask(route, body) {
      const found = stored[route]?.[keyOf(route, body)];
      if (found === undefined) throw new Error("This page has no answer for this; a running ipt explore has.");
      return found;
    },
  };
}

// What tells a stored question from others of its route.
function keyOf(route, body) {
  if (route === "way" || route === "plane") return body.tasks.join(" ");
  if (route === "everyone") return body.text;
  return body.task ?? "";
}

// --- questions: one of a channel at a time, the latest wins, never more than three in flight

class Questions {
  constructor(transport, changed) {
    this.transport = transport;
    this.changed = changed;
    this.waiting = new Map(); // by channel, its latest question
    this.inFlight = new Set(); // channels
  }

  get isIdle() {
    return this.waiting.size === 0 && this.inFlight.size === 0;
  }

  // answered: told the record; a question that a later one has overtaken is never asked.
  ask(channel, route, body, answered) {
    this.waiting.delete(channel); // the latest goes to the end
    this.waiting.set(channel, { route, body, answered });
    this.next();
    this.changed();
  }

  drop(channel) {
    this.waiting.delete(channel);
  }

  next() {
    for (const [channel, question] of this.waiting) {
      if (this.inFlight.size >= MOST_IN_FLIGHT) return;
      if (this.inFlight.has(channel)) continue;
      this.waiting.delete(channel);
      this.inFlight.add(channel);
      this.send(channel, question);
    }
  }

  async send(channel, { route, body, answered }) {
    try {
      const record = await this.transport.ask(route, body);
      answered(record, null);
    } catch (error) {
      answered(null, error.message);
    }
    this.inFlight.delete(channel);
    this.next();
    this.changed();
  }
}

// --- small numbers

const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
const minus = (a, b) => a.map((value, k) => value - b[k]);
const along = (a, direction, by) => a.map((value, k) => value + by * direction[k]);
const rounded = (a) => a.map((value) => Math.round(value * 1e4) / 1e4 || 0);
const equal = (a, b) => a.length === b.length && a.every((value, k) => value === b[k]);
const percent = (share) => `${Math.round(100 * share)} %`;
const seconds = (time) => (time < 1 ? `${Math.round(1000 * time)} ms` : `${time.toFixed(1)} s`);
const signed = (number) => number.toFixed(2).replace("-", "−");

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

// --- the page

export function explore(root, transport) {
  return new Page(root, transport);
}

class Page {
  constructor(root, transport) {
    this.root = root;
    this.transport = transport;
    this.live = transport.live;
    this.questions = new Questions(transport, () => this.mark());
    this.time = 0; // seconds that the last answers took
    this.steps = []; // places before the last ways of tuning, for undo
    this.path = [];
    this.part = "dev";
    this.count = 8;
    this.shownRows = null;
    this.plane = null;
    this.way = null;
    this.questions.ask("world", "world", {}, (world, error) => {
      if (error) this.say(error);
      else this.begin(world);
    });
  }

  $(id) {
    return this.root.querySelector(`#${id}`);
  }

  say(text) {
    this.$("message").hidden = !text;
    this.$("message").textContent = text;
  }

  mark() {
    this.root.dataset.ready = String(this.questions.isIdle && this.world !== undefined);
  }

  ask(channel, route, body, answered) {
    this.questions.ask(channel, route, body, (record, error) => {
      this.say(error ?? "");
      if (!error) answered(record);
    });
  }

  begin(world) {
    this.world = world;
    this.tasks = new Map(world.tasks.map((task) => [task.name, task]));
    const count = world.tasks.length;
    this.$("about").textContent =
      `${world.run}: the frozen model ${world.model}; ${world.dim} numbers a task stand for the ` +
      `${world.size.toLocaleString("en")} of ${world.tuner}; ${count} tasks. ` +
      (this.live
        ? "Move, click, type: the model answers."
        : "Its answers were stored: for others run ipt explore.");
    const [dim, noun] = [WORDS[world.dim] ?? world.dim, world.dim === 1 ? "number" : "numbers"];
    const axes = world.axes.length < world.dim ? `, along ${world.axes.length} principal directions` : "";
    this.$("numbers-title").textContent = `${dim} ${noun}${axes}`;
    this.fillLists();
    this.makeSliders();
    this.listen();
    this.state = { task: world.start, z: [], text: "", way: [], t: 0, plane: [] };
    const [first] = world.planes ?? [];
    if (first) this.state.text = first.text;
    this.readAddress();
    // To the farthest task: on the way there most happens.
    const { task } = this.state;
    const others = this.nearest(task);
    if (this.state.way.length === 0) this.state.way = [task, others.at(-1) ?? task];
    if (this.state.plane.length === 0) this.state.plane = [task, others[0] ?? task, others.at(-1) ?? task];
    // Of one number a task there is no plane, and in a file perhaps none was stored.
    const hasPlane = world.dim > 1 && (this.live || first !== undefined);
    this.$("plane-title").parentElement.hidden = !hasPlane;
    if (hasPlane) this.makePlaneTasks();
    this.showAll();
    this.askTask();
    this.askWay();
    if (hasPlane && !this.live) this.askPlane();
    new ResizeObserver(() => this.drawMap()).observe(this.$("map"));
  }

  // Other tasks, the nearest first.
  nearest(name) {
    const { code } = this.tasks.get(name);
    const distance = (task) => Math.hypot(...minus(task.code, code));
    const others = this.world.tasks.filter((task) => task.name !== name);
    return others.sort((a, b) => distance(a) - distance(b)).map((task) => task.name);
  }

  fillLists() {
    const names = [...this.tasks.keys()];
    this.$("names").append(...names.map((name) => element("option", "", { value: name })));
    const pairs = this.world.ways;
    for (const id of ["way-from", "way-to"]) this.$(id).append(...names.map((name) => element("option", name)));
    if (pairs) {
      const firsts = new Set(pairs.map((pair) => pair[0]));
      this.$("way-from").replaceChildren(...[...firsts].map((name) => element("option", name)));
    }
  }

  makePlaneTasks() {
    const place = this.$("plane-tasks");
    place.replaceChildren();
    if (!this.live) {
      const select = element("select", "", { id: "plane-0" });
      select.append(...this.world.planes.map((plane, k) => element("option", plane.tasks.join(", "), { value: k })));
      const label = element("label", "Tasks ");
      label.append(select);
      place.append(label);
      select.addEventListener("change", () => {
        const chosen = this.world.planes[select.value];
        this.state.plane = chosen.tasks;
        this.state.text = chosen.text;
        this.$("text").value = chosen.text;
        this.askPlane();
      });
      this.state.plane = this.world.planes[0].tasks;
      this.$("plane-draw").hidden = true;
      return;
    }
    for (let k = 0; k < 3; k += 1) {
      const select = element("select", "", { id: `plane-${k}` });
      select.append(...[...this.tasks.keys()].map((name) => element("option", name)));
      select.value = this.state.plane[k];
      select.addEventListener("change", () => {
        this.state.plane[k] = select.value;
        this.keep(false);
      });
      const label = element("label", k === 0 ? "Through " : k === 1 ? ", " : "and ");
      label.append(select);
      place.append(label);
    }
  }

  // --- numbers

  makeSliders() {
    const list = this.$("sliders");
    this.sliders = this.world.axes.map((axis, k) => {
      const seen = this.world.tasks.filter((task) => task.seen);
      const ticks = (seen.length ? seen : this.world.tasks).map((task) => dot(task.code, axis.direction));
      const mean = ticks.reduce((sum, value) => sum + value, 0) / ticks.length;
      const spread = Math.sqrt(ticks.reduce((sum, value) => sum + (value - mean) ** 2, 0) / ticks.length) || 1;
      const all = this.world.tasks.map((task) => dot(task.code, axis.direction));
      // Three deviations of the seen codes, and as far as any task lies.
      const low = Math.min(mean - 3 * spread, ...all);
      const high = Math.max(mean + 3 * spread, ...all);
      const range = element("input", "", {
        type: "range", min: low, max: high, step: "any", id: `z${k}`, "aria-label": `${axis.name}, slider`,
      });
      const field = element("input", "", { type: "number", step: "any", "aria-label": `${axis.name}, number` });
      const marks = drawn("svg", { class: "ticks", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
      for (const value of ticks) {
        const x = (100 * (value - low)) / (high - low);
        marks.append(drawn("line", { x1: x, x2: x, y1: 0, y2: 6 }));
      }
      const track = element("span", "", { class: "track" });
      track.append(range, marks);
      const line = element("div", "", { class: "slider" });
      line.append(element("span", axis.name), track, field);
      list.append(line);
      range.addEventListener("input", () => this.moveAxis(k, Number(range.value), false));
      range.addEventListener("change", () => this.moveAxis(k, Number(range.value), true));
      range.addEventListener("keydown", (event) => this.sliderKey(event, k, spread));
      range.addEventListener("dblclick", () => this.moveAxis(k, mean, true));
      field.addEventListener("change", () => {
        if (field.value !== "" && Number.isFinite(Number(field.value))) this.moveAxis(k, Number(field.value), true);
        else this.showNumbers();
      });
      return { axis, range, field };
    });
  }

  // The browser's own step of a range without steps is a hundredth of it, or nothing.
  sliderKey(event, k, spread) {
    const ways = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
    if (!(event.key in ways)) return;
    event.preventDefault();
    const by = ways[event.key] * NUDGE * spread * (event.shiftKey ? 5 : 1);
    this.moveAxis(k, dot(this.state.z, this.sliders[k].axis.direction) + by, true);
  }

  moveAxis(k, value, isEnd) {
    const { direction } = this.sliders[k].axis;
    this.go(along(this.state.z, direction, value - dot(this.state.z, direction)), isEnd);
  }

  // Move to a place; isEnd: the hand has let go.
  go(z, isEnd) {
    this.state.z = rounded(z);
    this.showNumbers();
    this.drawCross();
    if (isEnd) {
      this.keep(true);
      this.showCopies();
    }
    this.askHere(isEnd);
  }

  showNumbers() {
    for (const { axis, range, field } of this.sliders) {
      const value = dot(this.state.z, axis.direction);
      range.value = value;
      range.setAttribute("aria-valuetext", signed(value));
      field.value = value.toFixed(2);
    }
  }

  // --- asking

  get isSlow() {
    return this.time > SLOW;
  }

  askTask() {
    const { task } = this.state;
    const { part, count } = this;
    this.ask("rows", "rows", { task, part, count }, (record) => {
      if (task !== this.state.task || part !== this.part || count !== this.count) return;
      this.shownRows = record;
      this.showRows();
      this.$("more").disabled = record.rows.length < count;
    });
    this.askHere(true);
    this.askEveryone();
  }

  askHere(isEnd) {
    const { task, z } = this.state;
    if (!this.live) {
      this.askStored();
      return;
    }
    if (!isEnd && this.isSlow) return;
    const { part, count } = this;
    const begin = performance.now();
    this.ask("answers", "answers", { task, part, count, vector: z }, (record) => {
      this.time = (performance.now() - begin) / 1000;
      if (task !== this.state.task || part !== this.part || count !== this.count) return;
      this.here = record;
      this.showAnswers();
    });
    if (this.state.text) {
      this.ask("text", "text", { task, text: this.state.text, vector: z }, (record) => this.showText(record));
    } else {
      this.showText(null);
    }
    if (isEnd) {
      this.ask("score", "score", { task, vector: z }, (record) => {
        if (task !== this.state.task) return;
        this.scored = record;
        this.showScore();
      });
    }
  }

  // Of a file: answers are there at the task's own place.
  askStored() {
    const own = this.tasks.get(this.state.task);
    this.here = null;
    this.scored = null;
    this.showAnswers();
    if (!equal(this.state.z, own.code)) return;
    const { task } = this.state;
    this.ask("answers", "answers", { task, vector: own.code }, (record) => {
      if (task !== this.state.task) return;
      this.here = record;
      this.showAnswers();
    });
  }

  askEveryone() {
    const { text } = this.state;
    if (!text) {
      this.questions.drop("everyone");
      this.showEveryone(null);
      return;
    }
    if (!this.live && !this.world.planes.some((plane) => plane.text === text)) return;
    this.ask("everyone", "everyone", { text }, (record) => {
      if (text === this.state.text) this.showEveryone(record);
    });
  }

  askWay() {
    const [first, second] = this.state.way;
    this.$("way-from").value = first;
    if (this.world.ways) {
      const seconds = this.world.ways.filter((pair) => pair[0] === first).map((pair) => pair[1]);
      this.$("way-to").replaceChildren(...seconds.map((name) => element("option", name)));
      if (!seconds.includes(second)) this.state.way[1] = seconds[0];
    }
    this.$("way-to").value = this.state.way[1];
    const tasks = [...this.state.way];
    this.ask("way", "way", { tasks }, (record) => {
      if (!equal(tasks, this.state.way)) return;
      this.way = record;
      this.showWay();
    });
  }

  askPlane(side = COARSE) {
    const { text } = this.state;
    const tasks = [...this.state.plane];
    if (!text) {
      this.$("plane-about").textContent = "Type a text of your own first.";
      return;
    }
    const begin = performance.now();
    this.$("plane-about").textContent = `asking at ${side} × ${side} places …`;
    this.questions.ask("plane", "plane", { text, tasks, side }, (record, error) => {
      if (text !== this.state.text || !equal(tasks, this.state.plane)) return;
      if (error) {
        this.say(error);
        this.$("plane-about").textContent = "";
        return;
      }
      const time = (performance.now() - begin) / 1000;
      this.plane = { ...record, text };
      this.drawPlane();
      this.$("plane-about").textContent = `${record.up.length} × ${record.across.length} places`;
      // Four times the places, four times the seconds.
      const finer = Math.min(2 * side, this.world.side);
      if (this.live && finer > side && 4 * time < PATIENCE) this.askPlane(finer);
    });
  }

  // --- events

  listen() {
    const on = (id, event, action) => this.$(id).addEventListener(event, action);
    on("find", "change", () => {
      const name = this.$("find").value.trim();
      if (this.tasks.has(name)) {
        this.choose(name);
        this.$("find").value = "";
        this.say("");
      } else if (name) {
        this.say(`No task is called ${name}.`);
      }
    });
    on("to-task", "click", () => this.go(this.tasks.get(this.state.task).code, true));
    on("to-mean", "click", () => this.go(this.world.mean, true));
    on("tune", "click", () => this.tune());
    on("undo", "click", () => this.undo());
    on("more", "click", () => this.chooseRows(this.part, this.count + 8));
    on("test", "click", () => this.chooseRows(this.part === "dev" ? "test" : "dev", 8));
    on("text", "input", () => {
      this.state.text = this.$("text").value.trim();
      this.askHere(false);
    });
    on("take", "click", () => {
      const row = this.shownRows?.rows[0];
      if (!row) return;
      this.$("text").value = row.typed ?? row.input;
      this.$("text").dispatchEvent(new Event("input"));
      this.$("text").dispatchEvent(new Event("change"));
    });
    on("text", "change", () => {
      this.keep(false);
      this.showCopies();
      this.askHere(true);
      this.askEveryone();
    });
    for (const [k, id] of ["way-from", "way-to"].entries()) {
      on(id, "change", () => {
        this.state.way[k] = this.$(id).value;
        this.state.t = 0;
        this.$("way-t").value = 0;
        this.askWay();
        this.keep(false);
      });
    }
    on("way-t", "input", () => this.goOnWay(Number(this.$("way-t").value) / 100, false));
    on("way-t", "change", () => this.goOnWay(Number(this.$("way-t").value) / 100, true));
    on("plane-draw", "click", () => this.askPlane());
    on("plane", "click", (event) => this.clickPlane(event));
    for (const button of this.root.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => this.copy(button.dataset.copy));
    }
    addEventListener("popstate", () => {
      this.readAddress();
      this.showAll();
      this.askTask();
    });
    const still = ["tune", "undo", "to-mean", "more", "test", "text", "take", ...(this.live ? [] : ["way-t"])];
    if (!this.live) for (const id of still) this.$(id).disabled = true;
  }

  choose(name) {
    this.state.task = name;
    this.part = "dev";
    this.count = 8;
    this.path = [];
    this.shownRows = null;
    this.state.z = this.tasks.get(name).code;
    this.keep(true);
    this.showAll();
    this.askTask();
  }

  chooseRows(part, count) {
    this.part = part;
    this.count = Math.min(count, 64);
    this.askTask();
  }

  goOnWay(t, isEnd) {
    const [first, second] = this.state.way.map((name) => this.tasks.get(name).code);
    this.state.t = t;
    this.$("way-share").textContent = percent(t);
    this.go(along(first, minus(second, first), t), isEnd);
  }

  tune() {
    const { task, z } = this.state;
    this.$("tune").disabled = true;
    this.$("tuned").textContent = "tuning …";
    this.questions.ask("tune", "tune", { task, vector: z, steps: this.world.steps }, (record, error) => {
      this.$("tune").disabled = false;
      this.$("tuned").textContent = "";
      this.say(error ?? "");
      if (error || task !== this.state.task) return;
      this.steps.push(z);
      this.$("undo").disabled = false;
      this.path = record.path;
      this.$("tuned").textContent =
        `${record.path.length - 1} steps of IST, dev loss ${record.loss.toFixed(3)}, ${seconds(record.seconds)}`;
      this.go(record.path.at(-1), true);
    });
  }

  undo() {
    this.path = [];
    this.$("tuned").textContent = "";
    this.go(this.steps.pop(), true);
    this.$("undo").disabled = this.steps.length === 0;
  }

  async copy(id) {
    try {
      await navigator.clipboard.writeText(this.$(id).textContent);
      this.$("copied").textContent = "copied";
    } catch {
      this.$("copied").textContent = "mark the text and copy it";
    }
  }

  // --- the address: whoever has it comes to the same place

  keep(isStep) {
    const { task, z, text, way, plane } = this.state;
    const parts = new URLSearchParams({ task, z: z.join(","), way: way.join(","), plane: plane.join(",") });
    if (text) parts.set("text", text);
    const address = `#${parts}`;
    if (address === location.hash) return;
    if (isStep) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
  }

  readAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const known = (text, count) => {
      const names = (text ?? "").split(",");
      return names.length === count && names.every((name) => this.tasks.has(name)) ? names : null;
    };
    const task = parts.get("task");
    if (task && !this.tasks.has(task)) this.say(`This run has no task ${task}.`);
    this.state.task = this.tasks.has(task) ? task : this.world.start;
    const z = (parts.get("z") ?? "").split(",").map(Number);
    const isPlace = parts.get("z") && z.length === this.world.dim && z.every(Number.isFinite);
    this.state.z = isPlace ? rounded(z) : this.tasks.get(this.state.task).code;
    this.state.way = known(parts.get("way"), 2) ?? this.state.way;
    this.state.plane = known(parts.get("plane"), 3) ?? this.state.plane;
    if (this.live) this.state.text = parts.get("text") ?? "";
  }

  // --- showing

  showAll() {
    const { task, text } = this.state;
    const about = this.tasks.get(task);
    this.$("rows-title").textContent = task;
    const kind = [about.subcategory, about.seen ? "seen" : "unseen", about.metric].filter(Boolean).join(", ");
    this.$("definition").textContent = `${about.definition} (${kind})`.trim();
    this.$("text").value = text;
    this.here = null;
    this.scored = null;
    this.showNumbers();
    this.showRows();
    this.showCopies();
    this.drawMap();
  }

  showRows() {
    const body = this.$("rows").tBodies[0];
    const rows = this.shownRows?.task === this.state.task ? this.shownRows.rows : [];
    body.replaceChildren(
      ...rows.map((row) => {
        const line = element("tr");
        line.append(element("td", row.input), element("td", row.wanted), element("td", "…"), this.cell(row.tuned));
        return line;
      }),
    );
    const hasTuned = rows.some((row) => row.tuned);
    this.$("rows").classList.toggle("without", rows.length > 0 && !hasTuned);
    this.$("test").setAttribute("aria-pressed", String(this.part === "test"));
    const notes = [
      this.part === "test"
        ? "Test rows: look, but choose no place by them."
        : "Few-shot rows, which a task’s numbers were chosen on.",
    ];
    if (rows.length > 0 && !hasTuned) notes.push("The bank of this run, with the answers of full tuning, is not here.");
    this.$("rows-about").textContent = notes.join(" ");
    this.showAnswers();
  }

  cell(answer, kind = "") {
    const cell = element("td");
    if (!answer) {
      cell.textContent = "–";
      return cell;
    }
    // By a sign and not by colour alone.
    cell.className = answer.right ? "right" : "wrong";
    const sign = element("span", answer.right ? "✓" : "✗", { class: "sign", role: "img", "aria-label": answer.right ? "right" : "wrong" });
    const text = element("span", "", { class: kind });
    text.append(sign, ` ${answer.text || "(nothing)"}`);
    cell.append(text);
    return cell;
  }

  showAnswers() {
    const lines = this.$("rows").tBodies[0].rows;
    const answers = this.here?.task === this.state.task ? this.here.answers : [];
    for (const [k, line] of [...lines].entries()) {
      const cell = this.live || answers[k] ? this.cell(answers[k]) : element("td", "–");
      if (this.live && !answers[k]) cell.textContent = "…";
      line.cells[2].replaceWith(cell);
    }
    this.showScore();
  }

  showScore() {
    const parts = [];
    if (this.here) {
      const count = this.here.answers.length;
      parts.push(`${this.tasks.get(this.state.task).metric} of these ${count} rows: ${this.here.score.toFixed(2)} here`);
    }
    if (this.shownRows?.task === this.state.task && this.shownRows.tuned_score !== null) {
      parts.push(`${this.shownRows.tuned_score.toFixed(2)} full tuning`);
    }
    if (this.scored) parts.push(`${this.scored.rows} dev rows: ${this.scored.score.toFixed(2)}, loss ${this.scored.loss.toFixed(2)}`);
    if (this.time && this.live) parts.push(seconds(this.time) + (this.isSlow ? " (slow: answers come when you let go)" : ""));
    if (!this.live && !this.here) parts.push("No answers are stored for this place.");
    this.$("score").textContent = parts.join(" · ");
  }

  showText(record) {
    this.$("answer").textContent = record ? record.answer || "(nothing)" : "–";
    this.$("likelihood").textContent = record ? `likelihood ${percent(record.likelihood)}` : "";
    const shares = Object.entries(record?.shares ?? {}).sort((a, b) => b[1] - a[1]);
    this.$("shares").replaceChildren(
      ...shares.map(([option, share]) => {
        const item = element("li");
        const bar = element("span", "", { class: "share" });
        bar.style.width = `${Math.max(1, 100 * share)}px`;
        item.append(bar, ` ${option} ${percent(share)}`);
        return item;
      }),
    );
  }

  showEveryone(record) {
    const body = this.$("everyone").tBodies[0];
    this.$("everyone").hidden = !record;
    if (!record) {
      this.$("everyone-about").textContent = "Type a text, and Enter: the numbers of each task answer it.";
      body.replaceChildren();
      return;
    }
    const asked = record.groups.reduce((sum, group) => sum + group.tasks.length, 0);
    const more = record.groups.length - MOST_GROUPS;
    this.$("everyone-about").textContent =
      `${record.groups.length} different answers of ${asked} tasks` +
      (record.without.length ? `; ${record.without.length} tasks have rows of another kind` : "") +
      (more > 0 ? `; the ${MOST_GROUPS} most frequent` : "");
    body.replaceChildren(
      ...record.groups.slice(0, MOST_GROUPS).map((group) => {
        const line = element("tr");
        const names = element("td", "", { class: "names" });
        for (const name of group.tasks) {
          const button = element("button", name, { type: "button", class: "name" });
          button.addEventListener("click", () => this.choose(name));
          names.append(button, " ");
        }
        line.append(element("th", group.answer || "(nothing)", { scope: "row" }), names);
        return line;
      }),
    );
  }

  showWay() {
    const { way } = this;
    const steps = way.vectors.map((_, k) => k / (way.vectors.length - 1));
    const head = element("tr");
    head.append(element("th", "row, wanted", { scope: "col" }));
    for (const [k, t] of steps.entries()) {
      const cell = element("th", "", { scope: "col" });
      const button = element("button", percent(t), { type: "button", "aria-label": `go to ${percent(t)} of the way` });
      button.addEventListener("click", () => {
        this.$("way-t").value = 100 * t;
        this.$("way-share").textContent = percent(t);
        this.go(way.vectors[k], true);
      });
      cell.append(button);
      head.append(cell);
    }
    this.$("way").tHead.replaceChildren(head);
    const lines = [];
    for (const [k, name] of way.tasks.entries()) {
      const line = element("tr", "", { class: "strong" });
      line.append(element("th", `score on ${name}`, { scope: "row" }));
      line.append(...way.scores[k].map((score) => element("td", score.toFixed(2), { class: "number" })));
      lines.push(line);
    }
    for (const row of way.rows) {
      const line = element("tr");
      const header = element("th", "", { scope: "row", title: `${row.task}: ${row.input}, wanted ${row.wanted}` });
      header.append(element("span", row.input, { class: "short" }), element("span", `wanted ${row.wanted}`, { class: "short wanted" }));
      line.append(header);
      const words = [...new Set(row.answers.map((answer) => answer.text))];
      for (const answer of row.answers) {
        const cell = this.cell(answer, "short");
        cell.title = answer.text;
        const colour = COLOURS[words.indexOf(answer.text)] ?? OTHERS;
        cell.style.background = colour;
        cell.classList.add("tile");
        line.append(cell);
      }
      lines.push(line);
    }
    this.$("way").tBodies[0].replaceChildren(...lines);
    this.$("way-about").textContent =
      `A row’s colours tell its answers apart. Scores are of ${way.scored} few-shot dev rows of each task.`;
  }

  showCopies() {
    const { task, z, text } = this.state;
    const { run, out } = this.world;
    const numbers = z.join(",");
    const own = equal(z, rounded(this.tasks.get(task).code));
    const row = text || "YOUR TEXT";
    // Behind two dashes a text may begin with one.
    const word = row.startsWith("-") ? `-- ${shellWord(row)}` : shellWord(row);
    this.$("as-command").textContent =
      `ipt predict --run ${shellWord(run)} --out ${shellWord(out)} --task ${task} --vector=${numbers} ${word}`;
    this.$("as-python").textContent = [
      "import ipt",
      "import torch",
      "",
      `walk = ipt.open_walk(ipt.load_run(${JSON.stringify(run)}, ${JSON.stringify(out)}))`,
      `place = torch.tensor([[${z.join(", ")}]])`,
      `answers = walk.answers(place, ${JSON.stringify(task)}, [${JSON.stringify(row)}], max_tokens=16)`,
      "print(answers[0][0].text)",
      `delta = walk.deltas(place, ${JSON.stringify(task)})[0]  # all of its numbers`,
    ].join("\n");
    const vector = own ? "" : ` --vector=${numbers}`;
    this.$("as-folder").textContent =
      `ipt export ${shellWord(run)} ${task} --out ${shellWord(out)} --to ${task}-peft${vector}`;
  }

  // --- the map

  position(z) {
    const from = minus(z, this.world.mean);
    return [dot(from, this.world.map[0]), this.world.map[1] ? dot(from, this.world.map[1]) : 0];
  }

  drawMap() {
    if (!this.state) return;
    const place = this.$("map");
    const width = place.clientWidth || 600;
    const height = Math.round(Math.min(0.8 * width, 560));
    const points = this.world.tasks.map((task) => this.position(task.code));
    const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
    const margin = 28;
    const scale = Math.min(
      (width - 2 * margin) / (Math.max(...xs) - Math.min(...xs) || 1),
      (height - 2 * margin) / (Math.max(...ys) - Math.min(...ys) || 1),
    );
    const centre = [(Math.max(...xs) + Math.min(...xs)) / 2, (Math.max(...ys) + Math.min(...ys)) / 2];
    this.toScreen = ([x, y]) => [width / 2 + scale * (x - centre[0]), height / 2 - scale * (y - centre[1])];
    this.fromScreen = ([x, y]) => [centre[0] + (x - width / 2) / scale, centre[1] - (y - height / 2) / scale];
    const hadFocus = place.contains(document.activeElement);
    const svg = drawn("svg", {
      viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "application",
      "aria-label": "Map of tasks. Arrow keys move the cross, Enter goes to the nearest task.",
    });
    this.marks = this.world.tasks.map((task, k) => {
      const [x, y] = this.toScreen(points[k]);
      const share = task.score !== null && task.reference > 0 ? Math.max(0, Math.min(1, task.score / task.reference)) : null;
      const shape = task.seen
        ? drawn("circle", { cx: x, cy: y, r: MARK })
        : drawn("path", { d: `M${x} ${y - MARK - 2}l${MARK + 2} ${MARK + 2}l${-MARK - 2} ${MARK + 2}l${-MARK - 2} ${-MARK - 2}z` });
      shape.setAttribute("class", `task ${task.seen ? "seen" : "unseen"}${share === null ? " unknown" : ""}`);
      shape.setAttribute("fill-opacity", share ?? 0);
      shape.dataset.task = task.name;
      const about = share === null ? "" : `: ${percent(share)} of full tuning`;
      shape.append(drawn("title", {}, `${task.name}${about}. ${task.definition}`));
      svg.append(shape);
      return { name: task.name, x, y };
    });
    svg.append(...this.labels(width));
    this.track = drawn("polyline", { class: "track-of-tuning" });
    this.cross = drawn("path", { class: "cross", d: "M-13 0H13M0 -13V13" });
    svg.append(this.track, this.cross);
    place.replaceChildren(svg);
    this.svg = svg;
    if (hadFocus) svg.focus();
    this.listenToMap();
    this.drawCross();
    const shares = this.world.shares.map(percent);
    this.$("map-about").textContent =
      `Two principal directions of the codes, with ${shares.join(" and ")} of the seen tasks’ variance. ` +
      "○ seen, ◇ unseen task; the fuller a mark, the larger its share of full tuning’s score (dashed: not measured). The cross is where you are.";
  }

  // Names that find room beside their marks: the chosen task's first, then unseen ones.
  labels(width) {
    const order = [...this.marks].sort((a, b) => this.rank(a.name) - this.rank(b.name));
    const taken = this.marks.map(({ x, y }) => [x - MARK, y - MARK, x + MARK, y + MARK]);
    const made = [];
    for (const { name, x, y } of order) {
      const size = 6.4 * name.length;
      const left = x + MARK + 4 + size < width ? x + MARK + 4 : x - MARK - 4 - size;
      const box = [left, y - 7, left + size, y + 7];
      const isChosen = name === this.state.task;
      const isFree = taken.every((other) => box[2] < other[0] || box[0] > other[2] || box[3] < other[1] || box[1] > other[3]);
      if (!isFree && !isChosen) continue;
      taken.push(box);
      made.push(drawn("text", { x: left, y: y + 4, class: isChosen ? "chosen" : "" }, name));
    }
    return made;
  }

  rank(name) {
    if (name === this.state.task) return 0;
    return this.tasks.get(name).seen ? 2 : 1;
  }

  drawCross() {
    if (!this.cross) return;
    const [x, y] = this.toScreen(this.position(this.state.z));
    this.cross.setAttribute("transform", `translate(${x.toFixed(2)} ${y.toFixed(2)})`);
    const points = this.path.map((z) => this.toScreen(this.position(z)).join(","));
    this.track.setAttribute("points", points.join(" "));
  }

  listenToMap() {
    const at = (event) => {
      const box = this.svg.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    this.svg.addEventListener("pointerdown", (event) => {
      const point = at(event);
      const near = this.nearestMark(point);
      drag = { point, mark: near, moved: false };
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const point = at(event);
      if (Math.hypot(point[0] - drag.point[0], point[1] - drag.point[1]) > 4) drag.moved = true;
      if (drag.moved) this.goOnMap(point, false);
    });
    this.svg.addEventListener("pointerup", (event) => {
      const ended = drag;
      drag = null;
      if (!ended) return;
      if (!ended.moved && ended.mark) this.choose(ended.mark);
      else this.goOnMap(at(event), true);
    });
    this.svg.addEventListener("pointercancel", () => {
      drag = null;
    });
    this.svg.addEventListener("keydown", (event) => {
      const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      if (event.key in ways) {
        event.preventDefault();
        const by = event.shiftKey ? 5 * NUDGE : NUDGE;
        const [x, y] = this.position(this.state.z);
        this.goTo([x + by * ways[event.key][0], y + by * ways[event.key][1]], true);
      } else if (event.key === "Enter") {
        const [x, y] = this.toScreen(this.position(this.state.z));
        this.choose(this.nearestMark([x, y], Infinity));
      }
    });
  }

  nearestMark([x, y], reach = REACH) {
    let best = null;
    for (const mark of this.marks) {
      const distance = Math.hypot(mark.x - x, mark.y - y);
      if (distance < reach && (best === null || distance < best.distance)) best = { name: mark.name, distance };
    }
    return best?.name ?? null;
  }

  goOnMap(point, isEnd) {
    this.goTo(this.fromScreen(point), isEnd);
  }

  // Within the map's plane: what lies across it stays.
  goTo([x, y], isEnd) {
    const [nowX, nowY] = this.position(this.state.z);
    let z = along(this.state.z, this.world.map[0], x - nowX);
    if (this.world.map[1]) z = along(z, this.world.map[1], y - nowY);
    this.go(z, isEnd);
  }

  // --- the plane

  drawPlane() {
    const { cells, words, likelihoods, across, up } = this.plane;
    const canvas = this.$("plane");
    canvas.hidden = false;
    const width = Math.min(canvas.parentElement.clientWidth || 480, 640);
    const density = devicePixelRatio || 1;
    canvas.width = width * density;
    canvas.height = width * density;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${width}px`;
    const brush = canvas.getContext("2d");
    brush.scale(density, density);
    const size = width / across.length;
    const counts = words.map((_, word) => cells.flat().filter((cell) => cell === word).length);
    const order = words.map((_, word) => word).sort((a, b) => counts[b] - counts[a]);
    const colour = new Map(order.map((word, k) => [word, COLOURS[k] ?? OTHERS]));
    brush.fillStyle = "#ffffff";
    brush.fillRect(0, 0, width, width);
    const topOf = (line) => width - (line + 1) * size; // the lowest line is the first
    // Whole pixels: no seam between two places.
    const whole = (length) => Math.round(length * density) / density;
    for (const [line, row] of cells.entries()) {
      for (const [column, word] of row.entries()) {
        const [left, top] = [whole(column * size), whole(topOf(line))];
        // Paler where the model is less sure.
        brush.globalAlpha = likelihoods ? 0.35 + 0.65 * likelihoods[line][column] : 1;
        brush.fillStyle = colour.get(word);
        brush.fillRect(left, top, whole((column + 1) * size) - left, whole(topOf(line - 1)) - top);
      }
    }
    brush.globalAlpha = 1;
    const total = cells.length * across.length;
    const named = order.filter((word) => counts[word] / total > 0.01).slice(0, COLOURS.length);
    brush.font = "600 13px system-ui, sans-serif";
    brush.textAlign = "center";
    const poles = named.map((word) => [word, pole(cells, word)]);
    const spots = [];
    const unit = across.length > 1 ? across[1] - across[0] : 1;
    const inside = (x, text) => {
      const half = brush.measureText(text).width / 2 + 4;
      return Math.min(Math.max(x, half), width - half);
    };
    const anchors = this.plane.anchors.map(([x, y]) => [
      ((x - across[0]) / unit + 0.5) * size,
      width - ((y - up[0]) / unit + 0.5) * size,
    ]);
    for (const [left, top] of anchors) spots.push([left, top - 6]);
    for (const [word, [line, column]] of poles) {
      const text = `“${shortened(words[word])}”`;
      const x = inside((column + 0.5) * size, text);
      let y = topOf(line) + size / 2 + 4;
      const isTaken = () => spots.some((spot) => Math.abs(spot[0] - x) < 100 && Math.abs(spot[1] - y) < 20);
      if (isTaken()) y += 34;
      if (isTaken() || y > width - 4) continue;
      spots.push([x, y]);
      outlined(brush, text, x, y);
    }
    brush.font = "12px system-ui, sans-serif";
    for (const [k, name] of this.plane.tasks.entries()) {
      const [left, top] = anchors[k];
      brush.beginPath();
      brush.arc(left, top, 5, 0, 2 * Math.PI);
      brush.fillStyle = "#ffffff";
      brush.fill();
      brush.strokeStyle = "#000000";
      brush.lineWidth = 2;
      brush.stroke();
      outlined(brush, name, inside(left, name), top - 10);
    }
    const about = named.map((word) => `${words[word] || "(nothing)"} ${percent(counts[word] / total)}`);
    canvas.setAttribute("aria-label", `Answers to ${this.plane.text}: ${about.join(", ")}`);
    this.$("plane-words").replaceChildren(
      ...poles.map(([word, [line, column]]) => {
        const item = element("li");
        const swatch = element("span", "", { class: "swatch" });
        swatch.style.background = colour.get(word);
        const button = element("button", `${words[word] || "(nothing)"} ${percent(counts[word] / total)}`, { type: "button", class: "name" });
        button.addEventListener("click", () => this.goOnPlane(across[column], up[line]));
        item.append(swatch, button);
        return item;
      }),
    );
  }

  clickPlane(event) {
    if (!this.plane) return;
    const box = this.$("plane").getBoundingClientRect();
    const { across, up } = this.plane;
    const column = ((event.clientX - box.left) / box.width) * across.length - 0.5;
    const line = (1 - (event.clientY - box.top) / box.height) * up.length - 0.5;
    const unit = across.length > 1 ? across[1] - across[0] : 1;
    this.goOnPlane(across[0] + unit * column, up[0] + unit * line);
  }

  goOnPlane(x, y) {
    const { origin, axes } = this.plane;
    this.go(along(along(origin, axes[0], x), axes[1], y), true);
  }
}

// The place of a word that lies deepest in its region: [line, column].
function pole(cells, word) {
  let best = { depth: -1, place: [0, 0] };
  const isIn = (line, column) => cells[line]?.[column] === word;
  for (let line = 0; line < cells.length; line += 1) {
    for (let column = 0; column < cells[line].length; column += 1) {
      if (!isIn(line, column)) continue;
      let depth = 0;
      while (isSquare(isIn, line, column, depth + 1)) depth += 1;
      if (depth > best.depth) best = { depth, place: [line, column] };
    }
  }
  return best.place;
}

function isSquare(isIn, line, column, depth) {
  for (let k = -depth; k <= depth; k += 1) {
    if (!isIn(line - depth, column + k) || !isIn(line + depth, column + k)) return false;
    if (!isIn(line + k, column - depth) || !isIn(line + k, column + depth)) return false;
  }
  return true;
}

function shortened(text) {
  return text.length > 24 ? `${text.slice(0, 22)} …` : text || "(nothing)";
}

function outlined(brush, text, x, y) {
  brush.textAlign = "center";
  brush.lineWidth = 3;
  brush.strokeStyle = "#ffffff";
  brush.strokeText(text, x, y);
  brush.fillStyle = "#1f2328";
  brush.fillText(text, x, y);
}

const root = document.getElementById("explore");
if (root) {
  const stored = document.getElementById("stored");
  const transport = stored ? storedTransport(JSON.parse(stored.textContent)) : fetchTransport("");
  explore(root, transport);
}
