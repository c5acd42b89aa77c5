// Numbers and times as people read them.

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const COUNT = new Intl.NumberFormat();

/** The clock today, else the day. */
export function when(at: string, now = new Date()): string {
  const then = new Date(at);
  return then.toDateString() === now.toDateString() ? CLOCK.format(then) : DAY.format(then);
}

export function exactly(at: string): string {
  return EXACT.format(new Date(at));
}

export function count(number: number): string {
  return COUNT.format(number);
}

export function plural(number: number, one: string): string {
  return `${count(number)} ${one}${number === 1 ? "" : "s"}`;
}

/** A length of time, of milliseconds. */
export function lasting(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.round(minutes / 1440)} days`;
}

export function between(from: string, to: string | null): number {
  return to === null ? 0 : Date.parse(to) - Date.parse(from);
}

/** `tool-result-added.v1` is "tool result added". */
export function topicWords(topic: string): string {
  return topic.replace(/\.v\d+$/, "").replaceAll("-", " ");
}
