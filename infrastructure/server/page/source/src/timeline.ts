// The time line of events: where each of them lies, and how it is drawn. Time runs as it did, but for long gaps, which
// are shortened and marked.

import type { RecordedEvent } from "./shapes";

export const LONGEST_MS = 1500;

export type Kind = "delta" | "step" | "end" | "stop" | "tool" | "message" | "other";

export interface Gap {
  from: number;
  to: number;
  ms: number;
}

export interface Layout {
  /** Where each event lies, from 0 to 1. */
  at: Float64Array;
  gaps: Gap[];
}

/** Lays events out by their times, in milliseconds, which need not rise. Two at one time are still beside each other. */
export function layOut(times: readonly number[], longest = LONGEST_MS): Layout {
  const at = new Float64Array(times.length);
  const waits = times.map((time, index) => (index ? Math.max(0, time - times[index - 1]!) : 0));
  const passed = waits.reduce((sum, wait) => sum + Math.min(wait, longest), 0);
  const least = Math.max(1, passed / (3 * times.length));
  const total = passed + least * Math.max(1, times.length - 1);
  const gaps: Gap[] = [];
  for (let index = 1; index < times.length; index++) {
    const wait = waits[index]!;
    at[index] = at[index - 1]! + (Math.min(wait, longest) + least) / total;
    if (wait > longest) gaps.push({ from: at[index - 1]!, to: at[index]!, ms: wait });
  }
  return { at, gaps };
}

/** The index of the event that is nearest to a place. */
export function nearest(at: Float64Array, place: number): number {
  let [low, high] = [0, at.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at[middle]! <= place) low = middle;
    else high = middle;
  }
  return place - at[low]! <= (at[high] ?? 0) - place ? low : high;
}

export function kindOf(topic: string): Kind {
  if (/-delta\.|^part-(delta|extended)/.test(topic)) return "delta";
  if (/^completion-started|^turn-started/.test(topic)) return "step";
  if (/^completion-(interrupted|failed|abandoned)/.test(topic)) return "stop";
  if (/^(completion|turn)-(finished|ended)/.test(topic)) return "end";
  if (/^tool-|^approval-/.test(topic)) return "tool";
  return /^message-/.test(topic) ? "message" : "other";
}

const HEIGHTS: Record<Kind, number> = { delta: 0.35, tool: 0.75, message: 0.9, step: 0.9, end: 0.9, stop: 1, other: 0.6 };

/** Draws the events. `colour` gives that of a kind, and of "gap" and "break". */
export function draw(
  canvas: HTMLCanvasElement, events: readonly RecordedEvent[], layout: Layout, broken: ReadonlySet<number>, colour: (name: string) => string,
): void {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext("2d");
  if (!context) return;
  context.scale(scale, scale);
  context.fillStyle = colour("gap");
  for (const gap of layout.gaps) {
    for (let x = gap.from * width + 3; x < gap.to * width - 2; x += 5) context.fillRect(x, height / 2, 2, 2);
  }
  events.forEach((event, index) => {
    const kind = kindOf(event.topic);
    const [x, tall] = [layout.at[index]! * (width - 2), HEIGHTS[kind] * height];
    context.fillStyle = colour(kind);
    context.fillRect(x, height - tall, kind === "delta" ? 1 : 2, tall);
    if (!broken.has(event.position)) return;
    context.fillStyle = colour("break");
    context.fillRect(x - 3, 0, 8, 5);
  });
}
