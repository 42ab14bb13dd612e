/**
 * The viewer of traces: one page that draws what two peers said to each other.
 *
 * @module
 */

/// <reference lib="dom" />

import { traceCapture, unpacked } from "../../src/trace/capture.ts";
import { bytesText, type Delivery, type Item, type Model, readModel, timeText, waitsAt } from "./model.ts";
import { drawPlot, legendAt, placeOf, type Plot, plotsOf, type Span, timeAt } from "./plots.ts";
import { kindGroup, noFilter, passes, type Row, rowsOf } from "./rows.ts";

const ROW_HEIGHT = 26;
const MOST_LANES = 4;
const LIGHT = ["#2f6fed", "#c2570c", "#0f8a5f", "#9333ea", "#b4236b", "#0e7490", "#8a6d00", "#5b6472"];
const DARK = ["#7aa5ff", "#ff9d5c", "#4fd1a1", "#c58bff", "#ff86bd", "#5fd0e6", "#e3c34d", "#a9b1bf"];

/** The one element with this id. */
function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Makes an element out of its name, classes, and what is in it. */
function make(name: string, className: string, ...content: (Node | string)[]): HTMLElement {
  const element = document.createElement(name);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}

const filter = noFilter();
const unfolded = new Set<number>();
let model: Model = readModel("");
let rows: Row[] = [];
let selected: number | undefined;
let tab = "frame";
let plots: Plot[] = [];
let search = "";
const pool: HTMLElement[] = [];

const scroller = byId("scroller"), list = byId("rows");

/** Shows a trace, or a capture of bytes. */
function show(text: string): void {
  model = readModel(text);
  Object.assign(filter, { ...noFilter(), hidden: filter.hidden, fold: filter.fold });
  unfolded.clear();
  selected = undefined;
  search = byId<HTMLInputElement>("search").value = "";
  byId("welcome").classList.toggle("shown", model.items.length === 0);
  byId("title").textContent = model.title;
  document.title = `${model.title} · AMQP trace`;
  refresh();
  if (model.items.length > 0) select(0);
  scroller.scrollTop = 0;
}

async function openFile(file: File): Promise<void> {
  try {
    const bytes = await unpacked(new Uint8Array(await file.arrayBuffer()));
    // Without a byte order mark.
    const text = new TextDecoder().decode(bytes.subarray(0, 8)).trimStart();
    if (text.startsWith("{")) return show(new TextDecoder().decode(bytes));
    const lines: string[] = [];
    traceCapture(bytes, (line) => lines.push(line), { title: file.name });
    show(lines.join(""));
  } catch (error) {
    byId("status").textContent = (error as Error).message;
  }
}

// ---- What is shown

function refresh(): void {
  rows = rowsOf(model, filter, unfolded);
  byId("spacer").style.height = `${rows.length * ROW_HEIGHT + 8}px`;
  const frames = model.items.filter(({ way }) => way !== "note").length;
  const span = (model.items.at(-1)?.time ?? 0) - (model.items[0]?.time ?? 0);
  const parts = [
    `${frames.toLocaleString("en")} frames`,
    `${model.connections.size} connection${model.connections.size === 1 ? "" : "s"}`,
    timeText(span),
    ...(model.unreadable > 0 ? [`${model.unreadable} lines not readable`] : []),
  ];
  byId("status").textContent = parts.join(" · ");
  const button = byId("faults-button");
  button.textContent = `${model.faults.length} fault${model.faults.length === 1 ? "" : "s"}`;
  button.classList.toggle("some", model.faults.length > 0);
  byId("fold").setAttribute("aria-pressed", String(filter.fold));
  drawTree();
  drawKinds();
  drawLanes();
  drawRows();
  const shown = new Set(model.links.filter(linkShown).map(({ index }) => index));
  plots = plotsOf(model, shown, colorOf);
  makePlots();
  drawPanel();
}

function linkShown(link: Model["links"][number]): boolean {
  if (filter.link !== undefined) return filter.link === link.index;
  if (filter.connection !== undefined && filter.connection !== link.connection) return false;
  return filter.session === undefined || filter.session === link.session;
}

function colorOf(link: number): string {
  const colors = isDark() ? DARK : LIGHT;
  return colors[link % colors.length]!;
}

function drawTree(): void {
  const nodes: HTMLElement[] = [
    node("connection", "Everything", model.items.length, nothingChosen(), () => choose({})),
  ];
  for (const [connection, { frames, sessions, peer }] of model.connections) {
    const chosen = filter.connection === connection && filter.session === undefined && filter.link === undefined;
    const name = `Connection ${connection}${peer === "" ? "" : ` · ${peer}`}`;
    nodes.push(node("connection", name, frames, chosen, () => choose({ connection })));
    for (const [session, count] of sessions) {
      const isChosen = filter.connection === connection && filter.session === session && filter.link === undefined;
      nodes.push(node("session", `Session ${session}`, count, isChosen, () => choose({ connection, session })));
      for (const link of model.links) {
        if (link.connection !== connection || link.session !== session) continue;
        const { index, label, sends, frames } = link;
        const name = `${sends === "out" ? "→" : "←"} ${label}`;
        const button = node(
          "link",
          name,
          frames,
          filter.link === index,
          () => choose({ connection, session, link: index }),
        );
        const dot = make("span", "dot");
        dot.style.background = colorOf(index);
        button.prepend(dot);
        nodes.push(button);
      }
    }
  }
  // A person looks through hundreds, not through thousands.
  byId("tree").replaceChildren(...nodes.slice(0, 500));
}

function nothingChosen(): boolean {
  return filter.connection === undefined && filter.session === undefined && filter.link === undefined;
}

function node(kind: string, name: string, count: number, chosen: boolean, onclick: () => void): HTMLElement {
  const button = make(
    "button",
    `node ${kind}`,
    make("span", "name", name),
    make("span", "count", count.toLocaleString("en")),
  );
  button.setAttribute("aria-pressed", String(chosen));
  button.title = name;
  button.onclick = onclick;
  return button;
}

function choose(chosen: { connection?: number; session?: number; link?: number }): void {
  Object.assign(filter, { connection: undefined, session: undefined, link: undefined }, chosen);
  refresh();
  if (selected !== undefined) reveal(selected);
}

function drawKinds(): void {
  const counts = new Map<string, number>();
  for (const { kind } of model.items) counts.set(kindGroup(kind), (counts.get(kindGroup(kind)) ?? 0) + 1);
  byId("kinds").replaceChildren(
    ...[...counts].sort((a, b) => b[1] - a[1]).map(([kind, count]) =>
      node("kind", kind, count, !filter.hidden.has(kind), () => {
        if (!filter.hidden.delete(kind)) filter.hidden.add(kind);
        refresh();
      })
    ),
  );
}

// ---- The sequence diagram

function lanes(): number[] {
  if (filter.connection !== undefined) return [filter.connection];
  const first: number[] = [];
  for (const connection of model.connections.keys()) {
    if (first.length === MOST_LANES) break;
    first.push(connection);
  }
  return first;
}

function laneOf(connection: number, all: readonly number[]): number {
  const at = all.indexOf(connection);
  // More connections than lanes share the last one.
  return at < 0 ? all.length - 1 : at;
}

function drawLanes(): void {
  const us = model.vantage === "server" ? "server" : "client", them = model.vantage === "server" ? "client" : "broker";
  byId("lanes").replaceChildren(
    ...lanes().map((connection, lane) => {
      const isShared = filter.connection === undefined && lane === MOST_LANES - 1 &&
        model.connections.size > MOST_LANES;
      const number = model.connections.size > 1 ? ` ${connection}${isShared ? "…" : ""}` : "";
      return make("div", "", make("span", "", `${us}${number}`), make("span", "", `${them}${number}`));
    }),
  );
}

let drawing = false;
function drawRowsSoon(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawRows();
  });
}

// Only what is in sight has elements, which are used again and again.
function drawRows(): void {
  const height = scroller.clientHeight, top = scroller.scrollTop;
  const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - 2);
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW_HEIGHT) + 2);
  while (pool.length < last - first) {
    const element = make("div", "row");
    element.setAttribute("role", "listitem");
    pool.push(element);
    list.append(element);
  }
  pool.forEach((element, i) => {
    const at = first + i;
    element.hidden = at >= last;
    element.style.display = at >= last ? "none" : "";
    if (at < last) drawRow(element, at);
  });
}

function drawRow(element: HTMLElement, at: number): void {
  const row = rows[at]!;
  const { item, count } = row;
  element.style.transform = `translateY(${at * ROW_HEIGHT}px)`;
  const chosen = selected !== undefined && item.index <= selected && selected <= row.last.index && holds(row, selected);
  const soft = item.kind === "flow" || item.kind === "disposition" || item.kind === "empty";
  element.className = `row ${item.way} ${soft ? "soft" : ""} ${chosen ? "selected" : ""} ${
    item.faults.length > 0 ? "bad" : ""
  }`;
  element.dataset.index = String(item.index);
  const before = at > 0 ? rows[at - 1]!.last.time : item.time;
  const gap = item.time - before;
  const time = make("span", "time", (item.time / 1_000).toFixed(4));
  const since = make("span", "gap", at > 0 && gap >= 0.001 ? `+${timeText(gap)}` : "");
  const about = make(
    "span",
    "about",
    item.link?.label ?? (item.session === undefined ? "" : `session ${item.session}`),
  );
  if (item.link !== undefined) about.style.color = colorOf(item.link.index);
  const parts: HTMLElement[] = [time, since, about];
  const all = lanes(), own = laneOf(item.connection, all);
  all.forEach((_, lane) => parts.push(lane === own ? laneWith(item, row, count, all[lane]!) : make("div", "lane")));
  element.replaceChildren(...parts);
}

function holds(row: Row, index: number): boolean {
  return row.count === 1
    ? row.item.index === index
    : passes(model.items[index]!, filter) && model.items[index]!.kind === row.item.kind;
}

function laneWith(item: Item, row: Row, count: number, connection: number): HTMLElement {
  const lane = make("div", "lane");
  const label = make("span", "label");
  // A lane that is shared names the connection of each frame.
  if (item.connection !== connection) label.append(make("span", "times", String(item.connection)));
  if (count > 1) label.append(make("span", "times", `×${count.toLocaleString("en")}`));
  label.append(make("b", "", item.way === "note" ? item.kind : nameOf(item.kind)));
  const summary = count > 1 ? foldedSummary(row) : item.summary;
  if (summary !== "") label.append(make("i", "", ...marked(summary)));
  if (item.faults.length > 0) label.append(make("span", "warn", "⚠"));
  if (item.way !== "note") {
    const arrow = make("div", "arrow");
    if (item.link !== undefined) arrow.style.color = colorOf(item.link.index);
    else arrow.style.color = "var(--faint)";
    lane.append(arrow);
  }
  lane.append(label);
  return lane;
}

function nameOf(kind: string): string {
  return kind.replace(/^sasl(.*)/, (_, rest: string) => `sasl ${rest.toLowerCase()}`);
}

function foldedSummary({ item, last, payload }: Row): string {
  if (item.kind === "transfer") return `#${item.deliveries[0]?.id}–${last.deliveries[0]?.id} ${bytesText(payload)}`;
  return `${timeText(last.time - item.time)}`;
}

function marked(text: string): (Node | string)[] {
  if (search === "") return [text];
  const at = text.toLowerCase().indexOf(search);
  if (at < 0) return [text];
  const end = at + search.length;
  return [text.slice(0, at), make("mark", "", text.slice(at, end)), text.slice(end)];
}

// ---- Choosing

function select(index: number): void {
  selected = Math.max(0, Math.min(model.items.length - 1, index));
  reveal(selected);
  drawRows();
  drawPanel();
  moveCursors();
}

function rowOf(index: number): number {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.item.index <= index) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

function reveal(index: number): void {
  const top = rowOf(index) * ROW_HEIGHT;
  if (top < scroller.scrollTop + ROW_HEIGHT) scroller.scrollTop = top - 3 * ROW_HEIGHT;
  else if (top > scroller.scrollTop + scroller.clientHeight - 3 * ROW_HEIGHT) {
    scroller.scrollTop = top - scroller.clientHeight + 6 * ROW_HEIGHT;
  }
  drawRows();
}

function step(by: number): void {
  const at = selected === undefined ? -1 : rowOf(selected);
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
  if (row !== undefined) select(row.item.index);
}

function seek(found: readonly number[], forward: boolean): void {
  const from = selected ?? -1;
  const next = forward
    ? found.find((index) => index > from) ?? found[0]
    : found.findLast((index) => index < from) ?? found.at(-1);
  if (next !== undefined) {
    if (!passes(model.items[next]!, filter)) choose({});
    select(next);
  }
}

function matches(): number[] {
  if (search === "") return [];
  const found: number[] = [];
  for (const item of model.items) if (item.text.includes(search) && passes(item, filter)) found.push(item.index);
  return found;
}

function searchFor(text: string): void {
  search = text.trim().toLowerCase();
  const found = matches();
  byId("matches").textContent = search === "" ? "" : `${found.length.toLocaleString("en")} found`;
  const [first] = found;
  if (first !== undefined && !found.includes(selected ?? -1)) select(first);
  drawRows();
}

// ---- The panel

function drawPanel(): void {
  for (const button of byId("tabs").children as unknown as Iterable<HTMLElement>) {
    button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  }
  const item = selected === undefined ? undefined : model.items[selected];
  const draw = { frame: framePanel, delivery: deliveryPanel, waits: waitsPanel, faults: faultsPanel }[tab]!;
  byId("panel").replaceChildren(...draw(item));
}

function framePanel(item: Item | undefined): Node[] {
  if (item === undefined) return [make("p", "", "Choose a frame.")];
  const way = item.way === "out" ? "sent" : item.way === "in" ? "received" : "";
  const facts = [
    `connection ${item.connection}`,
    ...(item.way === "note" ? [] : [`channel ${item.channel}`]),
    ...(item.session === undefined ? [] : [`session ${item.session}`]),
    ...(item.link === undefined ? [] : [`link ${item.link.label}`]),
    ...(item.payload > 0 ? [`${bytesText(item.payload)} of payload`] : []),
  ];
  const clock = model.start === undefined
    ? ""
    : ` · ${new Date(model.start.getTime() + item.time).toISOString().slice(11, 23)}`;
  return [
    make("h3", "", `${nameOf(item.kind)} ${way}`),
    make("p", "", `${(item.time / 1_000).toFixed(6)} s${clock}`),
    make("p", "", facts.join(" · ")),
    ...item.faults.map(faultNode),
    ...(item.way === "note" ? [make("p", "", item.summary)] : [fieldsNode(item.body ?? {})]),
    ...(Object.keys(item.after).length > 0 ? [make("h2", "", "After it"), fieldsNode(item.after)] : []),
  ];
}

function faultNode({ clause, text, reported }: Item["faults"][number]): HTMLElement {
  return make(
    "div",
    "fault",
    text,
    make("br", ""),
    make("code", "", `[${clause}] ${reported ? "reported by the peer" : "found here"}`),
  );
}

function fieldsNode(fields: object): HTMLElement {
  const all = make("dl", "fields");
  for (const [name, value] of Object.entries(fields)) {
    if (name === "kind") continue;
    const text = typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
    all.append(make("dt", "", name), make("dd", "", text.replace(/\{\n +"\$binary": "([^"]*)"\n *\}/g, "0x$1")));
  }
  return all;
}

function deliveryPanel(item: Item | undefined): Node[] {
  const delivery = item?.deliveries[0];
  if (delivery === undefined) {
    return [make("p", "", "Choose a transfer or a disposition: here is what became of its message.")];
  }
  const times = delivery.items.map((index) => model.items[index]!.time);
  const start = times[0]!, end = Math.max(times.at(-1)!, delivery.settledAt ?? 0);
  const whole = model.items[delivery.items.findLast((index) => model.items[index]!.kind === "transfer") ?? 0]!.time;
  const others = item!.deliveries.length - 1;
  return [
    make("h3", "", `Delivery ${delivery.id} of ${delivery.link.label}`),
    make("p", "", `${bytesText(delivery.bytes)} · ${delivery.state ?? "no state"} · ${settledText(delivery, start)}`),
    lifeNode(delivery, { start, whole, end }),
    ...(others > 0 ? [make("p", "", `This disposition speaks of ${others} more.`)] : []),
  ];
}

function settledText(delivery: Delivery, start: number): string {
  const { settledAt } = delivery;
  return settledAt === undefined ? "not settled" : `settled after ${timeText(settledAt - start)}`;
}

function lifeNode(
  delivery: Delivery,
  { start, whole, end }: { start: number; whole: number; end: number },
): HTMLElement {
  const life = make("div", "life");
  const span = Math.max(1e-6, end - start);
  const bar = make("div", "bar");
  const sent = make("i", ""), waiting = make("i", "late");
  sent.style.cssText = `left:0;width:max(3px,${(whole - start) / span * 100}%)`;
  waiting.style.cssText = `left:${(whole - start) / span * 100}%;right:0`;
  bar.append(waiting, sent);
  life.append(bar);
  // The first and last frames of a large message say enough.
  const shown = delivery.items.length <= 40
    ? delivery.items
    : [...delivery.items.slice(0, 20), ...delivery.items.slice(-20)];
  for (const index of shown) {
    const { time, kind, summary } = model.items[index]!;
    const link = make("a", "", `${kind} ${summary}`);
    link.onclick = () => select(index);
    life.append(make("div", "", make("span", "at", `+${timeText(time - start)}`), link));
  }
  return life;
}

function waitsPanel(item: Item | undefined): Node[] {
  if (item === undefined) return [make("p", "", "Choose a moment.")];
  const waits = waitsAt(model, item.index);
  const list = make("div", "list");
  for (const { text, since, connection } of waits.slice(0, 100)) {
    const age = item.time - since;
    const where = model.connections.size > 1 ? `connection ${connection} · ` : "";
    const button = make("button", "", text, make("small", "", `${where}since ${timeText(age)}`));
    button.onclick = () => select(model.items.findLastIndex(({ time }) => time <= since));
    list.append(button);
  }
  const title = `After ${(item.time / 1_000).toFixed(4)} s`;
  return [make("h3", "", title), ...(waits.length === 0 ? [make("p", "", "Nothing waits for anything.")] : [list])];
}

function faultsPanel(): Node[] {
  if (model.faults.length === 0) return [make("p", "", "No rule is broken, and no error was reported.")];
  const byClause = new Map<string, { item: Item; text: string }[]>();
  for (const index of model.faults) {
    const item = model.items[index]!;
    for (const { clause, text } of item.faults) {
      byClause.set(clause, [...byClause.get(clause) ?? [], { item, text }].slice(0, 200));
    }
  }
  return [...byClause].sort().map(([clause, found]) => {
    const list = make("div", "list", make("h2", "", `${clause} · ${found.length}`));
    for (const { item, text } of found) {
      const button = make(
        "button",
        "",
        text,
        make("small", "", `${(item.time / 1_000).toFixed(4)} s · connection ${item.connection}`),
      );
      button.onclick = () => select(item.index);
      list.append(button);
    }
    return list;
  });
}

// ---- Plots

function span(): Span {
  return { from: model.items[0]?.time ?? 0, to: model.items.at(-1)?.time ?? 1 };
}

function makePlots(): void {
  byId("plots").replaceChildren(...plots.map((plot) => {
    const canvas = document.createElement("canvas");
    const legend = make("small", "", "");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${plot.title}: ${plot.series.map(({ label }) => label).join(", ")}`);
    canvas.onmousemove = ({ offsetX }) =>
      legend.textContent = legendAt(plot, timeAt(offsetX, canvas.clientWidth, span()));
    canvas.onmouseleave = moveCursors;
    canvas.onclick = ({ offsetX }) => {
      const time = timeAt(offsetX, canvas.clientWidth, span());
      const found = model.items.findLastIndex((item) => item.time <= time);
      if (found >= 0) select(found);
    };
    return make("div", "plot", make("h3", "", plot.title, legend), make("div", "area", canvas, make("div", "cursor")));
  }));
  drawPlots();
}

function drawPlots(): void {
  byId("plots").querySelectorAll("canvas").forEach((canvas, i) => drawPlot(canvas, plots[i]!, span()));
  moveCursors();
}

// The lines stay as they are drawn; only what shows the chosen moment moves.
function moveCursors(): void {
  const time = selected === undefined ? undefined : model.items[selected]?.time;
  byId("plots").querySelectorAll<HTMLElement>(".plot").forEach((element, i) => {
    const cursor = element.querySelector<HTMLElement>(".cursor")!;
    cursor.hidden = time === undefined;
    if (time === undefined) return;
    cursor.style.left = `${placeOf(time, element.querySelector("canvas")!.clientWidth, span())}px`;
    element.querySelector("small")!.textContent = legendAt(plots[i]!, time);
  });
}

// ---- Light, keys, files

function isDark(): boolean {
  return document.documentElement.dataset.theme === "dark";
}

function setTheme(dark: boolean): void {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (model.items.length > 0) refresh();
}

function toggleFold(): void {
  filter.fold = !filter.fold;
  unfolded.clear();
  refresh();
  if (selected !== undefined) reveal(selected);
}

function unfoldHere(): void {
  const row = rows[rowOf(selected ?? 0)];
  if (row === undefined || row.count === 1) return;
  unfolded.add(row.item.index);
  refresh();
}

function setTab(name: string): void {
  tab = name;
  drawPanel();
}

const keys: Readonly<Record<string, () => void>> = {
  ArrowDown: () => step(1),
  j: () => step(1),
  ArrowUp: () => step(-1),
  k: () => step(-1),
  PageDown: () => step(20),
  PageUp: () => step(-20),
  g: () => step(-rows.length),
  Home: () => step(-rows.length),
  G: () => step(rows.length),
  End: () => step(rows.length),
  e: () => seek(model.faults, true),
  E: () => seek(model.faults, false),
  n: () => seek(matches(), true),
  N: () => seek(matches(), false),
  f: toggleFold,
  Enter: unfoldHere,
  d: () => setTab("delivery"),
  w: () => setTab("waits"),
  t: () => setTheme(!isDark()),
  o: () => byId("file").click(),
  "/": () => byId("search").focus(),
  "?": () => byId<HTMLDialogElement>("keys").showModal(),
  Escape: () => {
    filter.hidden.clear();
    choose({});
  },
  l: () => {
    const link = selected === undefined ? undefined : model.items[selected]?.link;
    if (link !== undefined) choose({ connection: link.connection, session: link.session, link: link.index });
  },
};

function listen(): void {
  scroller.onscroll = drawRowsSoon;
  addEventListener("resize", () => {
    drawRows();
    drawPlots();
  });
  list.onclick = ({ target }) => {
    const row = (target as HTMLElement).closest<HTMLElement>(".row");
    if (row !== null) select(Number(row.dataset.index));
  };
  list.ondblclick = unfoldHere;
  addEventListener("keydown", (event) => {
    const { key, target, ctrlKey, metaKey, altKey } = event;
    if (target instanceof HTMLInputElement) {
      if (key === "Escape" || key === "Enter") target.blur();
      return;
    }
    if (ctrlKey || metaKey || altKey || byId<HTMLDialogElement>("keys").open || !Object.hasOwn(keys, key)) return;
    if (key === "Enter" && target instanceof HTMLButtonElement) return;
    event.preventDefault();
    keys[key]!();
  });
  byId<HTMLInputElement>("search").oninput = ({ target }) => searchFor((target as HTMLInputElement).value);
  byId("fold").onclick = toggleFold;
  byId("faults-button").onclick = () => {
    setTab("faults");
    seek(model.faults, true);
  };
  byId("open").onclick = byId("choose").onclick = () => byId("file").click();
  byId("theme").onclick = () => setTheme(!isDark());
  byId("help").onclick = keys["?"]!;
  byId("tabs").onclick = ({ target }) => {
    const { tab } = (target as HTMLElement).dataset;
    if (tab !== undefined) setTab(tab);
  };
  byId<HTMLInputElement>("file").onchange = ({ target }) => {
    const [file] = (target as HTMLInputElement).files ?? [];
    if (file !== undefined) void openFile(file);
  };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", ({ relatedTarget }) => {
    if (relatedTarget === null) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    const [file] = event.dataTransfer?.files ?? [];
    if (file !== undefined) void openFile(file);
  });
  // A page that has the viewer in it, such as the documentation's, sends it traces.
  addEventListener("message", ({ data }) => {
    if (typeof data?.trace === "string") show(data.trace);
  });
}

setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
listen();
show(byId("trace").textContent ?? "");
