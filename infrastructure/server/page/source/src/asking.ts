// Hooks that ask the log, and stop asking when nobody wants to know any more.

import { createContext } from "preact";
import { useContext, useEffect, useRef, useState } from "preact/hooks";
import type { Log } from "./log";
import { Refused } from "./log";

export interface Asking {
  log: Log;
  /** Says what was refused; null once that is over. */
  refused(error: Refused | null): void;
}

export const LogContext = createContext<Asking | null>(null);

export function useLog(): Asking {
  const asking = useContext(LogContext);
  if (!asking) throw new Error("there is no log");
  return asking;
}

/** Runs `work` whenever `inputs` change. What it raises is told, unless it was stopped. */
export function useWork(work: (log: Log, signal: AbortSignal) => Promise<void>, inputs: readonly unknown[]): void {
  const { log, refused } = useLog();
  useEffect(() => {
    const stop = new AbortController();
    work(log, stop.signal).catch((error: unknown) => {
      if (stop.signal.aborted) return;
      refused(error instanceof Refused ? error : new Refused(0, String(error)));
    });
    return () => stop.abort();
  }, inputs);
}

/** Asks again and again while the page is seen, also while nobody answers. A change of `inputs` begins anew. */
export function usePolling(seconds: number, work: (log: Log, signal: AbortSignal) => Promise<void>, inputs: readonly unknown[]): void {
  const { refused } = useLog();
  useWork(async (log, signal) => {
    for (let isAway = false; !signal.aborted; await pause(seconds, signal)) {
      if (document.hidden) continue;
      try {
        await work(log, signal);
        if (isAway) refused(null);
        isAway = false;
      } catch (error) {
        if (!(error instanceof Refused) || !error.isPassing) throw error;
        isAway = true;
        refused(error);
      }
    }
  }, inputs);
}

/** Waits, or raises what stops it. */
export function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

interface Latest<T> {
  value: T | null;
  /** Whether it is still the answer to a question before. */
  isOld: boolean;
}

/** The latest answer to a question that changes often: it is asked once it has rested, and an older one is dropped. */
export function useLatest<T>(ask: (log: Log, signal: AbortSignal) => Promise<T>, inputs: readonly unknown[]): Latest<T> {
  const [answer, set] = useState<{ value: T; key: string } | null>(null);
  const isFirst = useRef(true);
  const key = JSON.stringify(inputs);
  useWork(async (log, signal) => {
    if (!isFirst.current) await pause(0.06, signal);
    isFirst.current = false;
    const found = await ask(log, signal);
    if (!signal.aborted) set({ value: found, key });
  }, inputs);
  return { value: answer?.value ?? null, isOld: answer?.key !== key };
}
