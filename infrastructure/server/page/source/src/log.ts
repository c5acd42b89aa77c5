// The log, as the page reads it: the public routes of `turnlog serve`, and nothing else. Everything that the page knows
// of HTTP is here, so that another client can stand in its place.

import type { Api, EventPage, Json, PrefixBreak, RecordedEvent, SessionPage, SessionView, Turn, TurnPage } from "./shapes";

const EVENTS_AT_ONCE = 1000;
const KEPT_TOKEN = "turnlog.token";

/** What was refused, in words. `status` is that of HTTP; 0 where nobody answered. */
export class Refused extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }

  /** Whether it is worth asking again. */
  get isPassing(): boolean {
    return this.status === 0 || this.status >= 500;
  }
}

export interface Wanted {
  statuses: readonly string[];
  cursor?: string;
}

/** A value, and what names it: with that it is asked for again only when it has changed. */
export interface Tagged<T> {
  value: T;
  tag: string | null;
}

export class Log {
  private token = sessionStorage.getItem(KEPT_TOKEN) ?? "";

  /** Takes a token, and keeps it for as long as the tab is open. */
  authenticate(token: string): void {
    this.token = token;
    sessionStorage.setItem(KEPT_TOKEN, token);
  }

  async sessions({ statuses, cursor }: Wanted, signal: AbortSignal): Promise<SessionPage> {
    const query = new URLSearchParams(statuses.map((status) => ["status", status]));
    if (cursor) query.set("cursor", cursor);
    return this.get(`sessions?${query}`, signal);
  }

  /** The last turns before an index, or the last of all. Null where `known` still names them. */
  async turns(id: string, before: number | null, signal: AbortSignal, known: string | null = null): Promise<Tagged<TurnPage> | null> {
    const query = before === null ? "" : `?before=${before}`;
    const response = await this.ask(`sessions/${id}/turns${query}`, signal, known);
    return response.status === 304 ? null : { value: await response.json(), tag: response.headers.get("etag") };
  }

  /** The index of the turn that has the event at a position: the last one that began at or before it. */
  async turnAt(id: string, position: number, count: number, signal: AbortSignal): Promise<number> {
    let [low, high] = [0, Math.max(0, count - 1)];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const page: TurnPage = await this.get(`sessions/${id}/turns?limit=1&before=${middle + 1}`, signal);
      if (page.turns[0] && firstPosition(page.turns[0]) <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The events from one position to another, both included, a page at a time. */
  async *events(id: string, first: number, last: number, signal: AbortSignal): AsyncGenerator<RecordedEvent[]> {
    for (let after = first - 1; after < last; ) {
      const limit = Math.min(EVENTS_AT_ONCE, last - after);
      const page: EventPage = await this.get(`sessions/${id}/events?after=${after}&limit=${limit}`, signal);
      const end = page.items.at(-1);
      if (!end) return;
      yield page.items;
      after = end.position;
    }
  }

  viewAt(id: string, position: number, signal: AbortSignal): Promise<SessionView> {
    return this.get(`sessions/${id}/versions/${position}`, signal);
  }

  promptAt(id: string, position: number, api: Api, signal: AbortSignal): Promise<Json> {
    return this.get(`sessions/${id}/versions/${position}/prompt?api=${api}`, signal);
  }

  async breaks(id: string, api: Api, signal: AbortSignal): Promise<PrefixBreak[]> {
    const found: { breaks: PrefixBreak[] } = await this.get(`sessions/${id}/prompt/explanation?api=${api}`, signal);
    return found.breaks;
  }

  private async get<T>(path: string, signal: AbortSignal): Promise<T> {
    return (await this.ask(path, signal)).json();
  }

  private async ask(path: string, signal: AbortSignal, known: string | null = null): Promise<Response> {
    const headers = new Headers({ accept: "application/json" });
    if (this.token) headers.set("authorization", `Bearer ${this.token}`);
    if (known) headers.set("if-none-match", known);
    const response = await fetch(path, { headers, signal, cache: "no-store" }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw new Refused(0, `The server does not answer: ${String(error)}`);
    });
    if (response.ok || response.status === 304) return response;
    throw new Refused(response.status, await problem(response));
  }
}

async function problem(response: Response): Promise<string> {
  const said: { title?: string; detail?: string } = await response.json().catch(() => ({}));
  return [said.title ?? `HTTP ${response.status}`, said.detail].filter(Boolean).join(" ");
}

/** The position at which a turn begins. */
export function firstPosition(turn: Turn): number {
  const positions = [turn.messages[0]?.position, turn.steps[0]?.position, turn.runs[0]?.position];
  return Math.min(...positions.filter((position) => position !== undefined), turn.position);
}
