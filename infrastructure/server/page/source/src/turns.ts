// The turns that are shown: a run of them without a gap, which grows at either end, and at the end of the session as the
// session does.

import { useCallback, useRef, useState } from "preact/hooks";
import { useLog, usePolling } from "./asking";
import { firstPosition, type Log } from "./log";
import type { Turn, TurnPage } from "./shapes";

const POLL_SECONDS = 1.5;
const HALF_PAGE = 10;

interface Window {
  shown: Turn[];
  /** The index before which there are more; null at the first turn. */
  before: number | null;
  isEnd: boolean;
  count: number | null;
}

export interface Turns extends Window {
  earlier(): void;
  later(): void;
}

const NOTHING: Window = { shown: [], before: null, isEnd: true, count: null };

/** The last turns of a session, or those around a position. */
export function useTurns(id: string, position: number | null): Turns {
  const { log, refused } = useLog();
  const [window, set] = useState<Window>(NOTHING);
  const isAsking = useRef(false);
  const state = useRef({ id: "", tag: null as string | null });

  usePolling(POLL_SECONDS, async (log, signal) => {
    if (state.current.id !== id) {
      state.current = { id, tag: null };
      set(NOTHING);
    }
    const latest = await log.turns(id, null, signal, state.current.tag);
    if (!latest) return;
    state.current.tag = latest.tag;
    const elsewhere = await around(log, id, latest.value, position, signal);
    set((known) => (known.count === null && elsewhere ? elsewhere : withLatest(known, latest.value)));
  }, [id]);

  const ask = useCallback((before: number, joined: (known: Window, page: TurnPage) => Window) => {
    if (isAsking.current) return;
    isAsking.current = true;
    log.turns(id, before, new AbortController().signal)
      .then((page) => page && set((known) => joined(known, page.value)), refused)
      .finally(() => { isAsking.current = false; });
  }, [id, log]);
  return {
    ...window,
    earlier: () => window.before !== null && ask(window.before, (known, page) => (
      { ...known, shown: [...page.turns.filter((turn) => turn.index < known.shown[0]!.index), ...known.shown], before: page.before }
    )),
    later: () => !window.isEnd && ask(window.shown.at(-1)!.index + 1 + 2 * HALF_PAGE, (known, page) => {
      const last = known.shown.at(-1)!.index;
      const shown = [...known.shown, ...page.turns.filter((turn) => turn.index > last)];
      return { ...known, shown, isEnd: shown.at(-1)!.index + 1 >= (known.count ?? 0) };
    }),
  };
}

/** The turns around a position, if that is before the last page. */
async function around(log: Log, id: string, latest: TurnPage, position: number | null, signal: AbortSignal): Promise<Window | null> {
  const [first] = latest.turns;
  if (!first || position === null || latest.before === null || position >= firstPosition(first)) return null;
  const count = latest.turns.at(-1)!.index + 1;
  const found = await log.turnAt(id, position, first.index, signal);
  const page = await log.turns(id, Math.min(first.index, found + HALF_PAGE), signal);
  return page && { shown: page.value.turns, before: page.value.before, isEnd: false, count };
}

/** What is shown, with the last turns as they are now; unless there is a gap between them. */
function withLatest(known: Window, latest: TurnPage): Window {
  const [first] = latest.turns;
  const count = first ? latest.turns.at(-1)!.index + 1 : 0;
  if (!known.isEnd) return { ...known, count };
  const kept = known.shown.filter((turn) => first && turn.index < first.index);
  const joins = kept.length > 0 && kept.at(-1)!.index + 1 === first?.index;
  return { shown: joins ? [...kept, ...latest.turns] : latest.turns, before: joins ? known.before : latest.before, isEnd: true, count };
}
