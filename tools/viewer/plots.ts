/**
 * Credit, messages, what is unsettled and windows over time.
 *
 * @module
 */

/// <reference lib="dom" />

import type { Model } from "./model.ts";

/** One line of a plot: values that hold until the next. */
export interface Series {
  /** What it is of. */
  readonly label: string;
  /** Its colour. */
  readonly color: string;
  /** When it changes. */
  readonly times: number[];
  /** To what. */
  readonly values: number[];
}

/** One plot. */
export interface Plot {
  /** What it shows. */
  readonly title: string;
  /** Its lines. */
  readonly series: readonly Series[];
}

// More lines than that say nothing.
const MOST_SERIES = 8;

/** The plots of the links that are shown. */
export function plotsOf(model: Model, shown: ReadonlySet<number>, colorOf: (link: number) => string): Plot[] {
  const links = model.links.filter(({ index }) => shown.has(index)).sort((a, b) => b.frames - a.frames).slice(
    0,
    MOST_SERIES,
  );
  const wanted = new Set(links.map(({ index }) => index));
  const of = (): Map<number, Series> =>
    new Map(links.map(({ index, label }) => [index, { label, color: colorOf(index), times: [], values: [] }]));
  const credit = of(), deliveries = of(), unsettled = of();
  const windows = new Map<string, Series>();
  for (const { time, link, after, connection, session, deliveries: about } of model.items) {
    if (link === undefined || !wanted.has(link.index)) continue;
    if (after.credit !== undefined) put(credit.get(link.index)!, time, after.credit);
    if (after.deliveries !== undefined) put(deliveries.get(link.index)!, time, after.deliveries);
    // A disposition may speak of several links; its count is that of the first.
    if (after.unsettled !== undefined && (about.length === 0 || about[0]!.link === link)) {
      put(unsettled.get(link.index)!, time, after.unsettled);
    }
    for (const [name, text] of [["windowOut", "out"], ["windowIn", "in"]] as const) {
      const value = after[name];
      if (value === undefined || value > 1e9) continue;
      const key = `${connection}.${session} ${text}`;
      let series = windows.get(key);
      if (series === undefined && windows.size < MOST_SERIES) {
        series = { label: `session ${key}`, color: colorOf(windows.size + 3), times: [], values: [] };
        windows.set(key, series);
      }
      if (series !== undefined) put(series, time, value);
    }
  }
  return [
    { title: "Link credit", series: [...credit.values()] },
    { title: "Messages", series: [...deliveries.values()] },
    { title: "Unsettled", series: [...unsettled.values()] },
    { title: "Session windows", series: [...windows.values()] },
  ];
}

function put({ times, values }: Series, time: number, value: number): void {
  if (values.at(-1) === value) return;
  times.push(time);
  values.push(value);
}

/** The value of a series at a time. */
export function valueAt({ times, values }: Series, time: number): number | undefined {
  let low = 0, high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle]! <= time) low = middle + 1;
    else high = middle;
  }
  return values[low - 1];
}

/** The times at the edges of a plot. */
export interface Span {
  /** The first time. */
  readonly from: number;
  /** The last. */
  readonly to: number;
}

// What stands beside the lines.
const LEFT = 44, RIGHT = 8;

/** Draws a plot into a canvas, by the colours of the page. */
export function drawPlot(canvas: HTMLCanvasElement, { series }: Plot, { from, to }: Span): void {
  const { width, height } = canvas.getBoundingClientRect();
  const ratio = devicePixelRatio;
  canvas.width = Math.max(1, width * ratio);
  canvas.height = Math.max(1, height * ratio);
  const pen = canvas.getContext("2d")!;
  pen.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const [ink, line] = [style.getPropertyValue("--faint"), style.getPropertyValue("--line")];
  const most = Math.max(1, ...series.map(({ values }) => values.reduce((a, b) => Math.max(a, b), 0)));
  const bottom = height - 6, top = 8;
  const x = (time: number): number => Math.round(placeOf(time, width, { from, to }));
  const y = (value: number): number => bottom - value / most * (bottom - top);
  pen.font = "10px ui-monospace, monospace";
  pen.textAlign = "right";
  pen.fillStyle = ink;
  pen.strokeStyle = line;
  pen.lineWidth = 1;
  for (const value of [0, most / 2, most]) {
    pen.beginPath();
    pen.moveTo(LEFT, Math.round(y(value)) + 0.5);
    pen.lineTo(width - RIGHT, Math.round(y(value)) + 0.5);
    pen.stroke();
    if (value !== most / 2 || most > 1) pen.fillText(short(value), LEFT - 6, y(value) + 3);
  }
  pen.lineWidth = 1.5;
  for (const one of series) drawSeries(pen, one, x, y, to);
}

// A step for each change; where several fall on one pixel, the highest and the lowest of them.
function drawSeries(
  pen: CanvasRenderingContext2D,
  { times, values, color }: Series,
  x: (time: number) => number,
  y: (value: number) => number,
  to: number,
): void {
  if (times.length === 0) return;
  pen.strokeStyle = color;
  pen.beginPath();
  pen.moveTo(x(times[0]!), y(values[0]!));
  for (let i = 1; i < times.length; i++) {
    const column = x(times[i]!);
    let least = values[i]!, most = values[i]!;
    pen.lineTo(column, y(values[i - 1]!));
    while (i + 1 < times.length && x(times[i + 1]!) === column) {
      i++;
      least = Math.min(least, values[i]!);
      most = Math.max(most, values[i]!);
    }
    pen.lineTo(column, y(most));
    pen.lineTo(column, y(least));
    pen.lineTo(column, y(values[i]!));
  }
  pen.lineTo(x(to), y(values.at(-1)!));
  pen.stroke();
}

function short(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(0)}k` : `${Math.round(value)}`;
}

/** The place of a time across a plot of that width. */
export function placeOf(time: number, width: number, { from, to }: Span): number {
  return LEFT + (time - from) / Math.max(1e-6, to - from) * (width - LEFT - RIGHT);
}

/** The time at a place across a plot of that width. */
export function timeAt(place: number, width: number, { from, to }: Span): number {
  return from + Math.min(1, Math.max(0, (place - LEFT) / (width - LEFT - RIGHT))) * (to - from);
}

/** What a plot says of a time. */
export function legendAt({ series }: Plot, time: number): string {
  return series.map((one) => `${one.label} ${valueAt(one, time) ?? "–"}`).join(" · ");
}
