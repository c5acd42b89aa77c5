// The events of a turn on a time line, and beside each other what there was at one of them: the view, the prompt, the
// event.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { linkTo, moveTo } from "./address";
import { useLatest, useWork } from "./asking";
import { firstPosition } from "./log";
import { PromptThen } from "./PromptThen";
import type { Api, PrefixBreak, RecordedEvent, Turn } from "./shapes";
import { draw, kindOf, layOut, LONGEST_MS, nearest } from "./timeline";
import { Tree } from "./Tree";
import { TurnBox } from "./Turn";
import { count, exactly, lasting, topicWords } from "./words";

const MOST_EVENTS = 100_000;
const NO_BREAKS: PrefixBreak[] = [];
const SPEEDS = [1, 2, 4, 8];

interface Props {
  session: string;
  turn: Turn;
  /** The position before the next turn. */
  last: number;
  position: number;
}

export function Scrubber({ session, turn, last, position }: Props) {
  const first = firstPosition(turn);
  const events = useEvents(session, first, Math.min(last, first + MOST_EVENTS - 1));
  const [api, setApi] = useState<Api>("chat");
  const { value } = useLatest((log, signal) => log.breaks(session, api, signal), [session, api, last]);
  const breaks = value ?? NO_BREAKS;
  const at = events.findLastIndex((event) => event.position <= position);
  const current = events[at];
  const go = (to: number) => {
    const event = events[Math.min(events.length - 1, Math.max(0, to))];
    if (event && event !== current) moveTo(session, event.position);
  };

  return (
    <section class="scrubber" aria-label={`Events of turn ${turn.index + 1}`}>
      <div class="bar">
        <b>Turn {turn.index + 1}</b>
        <Replay events={events} at={at} go={go} />
        <span class="quiet" role="status">
          {current ? `${count(at + 1)} of ${count(events.length)} · position ${current.position} · ${topicWords(current.topic)}` : "Loading"}
        </span>
        <a class="close" href={linkTo(session)} aria-label="Close the time line">✕</a>
      </div>
      <TimeLine events={events} at={at} breaks={breaks} go={go} />
      {current && (
        <div class="then">
          <ViewThen session={session} turn={turn.index} position={current.position} />
          <PromptThen session={session} position={current.position} api={api} choose={setApi} breaks={breaks} />
          <section aria-label="Event" tabIndex={0}><h3>Event</h3><Raw event={current} before={events[at - 1]} /></section>
        </div>
      )}
    </section>
  );
}

function useEvents(session: string, first: number, last: number): RecordedEvent[] {
  const [events, set] = useState<RecordedEvent[]>([]);
  const known = useRef<RecordedEvent[]>([]);
  useWork(async (log, signal) => {
    const from = (known.current.at(-1)?.position ?? first - 1) + 1;
    for await (const page of log.events(session, from, last, signal)) {
      if (signal.aborted) return;
      known.current = [...known.current, ...page];
      set(known.current);
    }
  }, [session, first, last]);
  return events;
}

const LEGEND: Record<string, string> = {
  message: "message", step: "begin", delta: "delta", tool: "tool", end: "end", stop: "broken off", other: "else",
  gap: "long gap, shortened", break: "cached prefix broke",
};

/** The colours of the legend, which are those of the scheme. */
function colourOf(legend: HTMLElement): (name: string) => string {
  const colours = new Map([...legend.children].map((one) => [(one as HTMLElement).dataset["name"], getComputedStyle(one).color]));
  return (name) => colours.get(name) ?? "gray";
}

interface Line {
  events: RecordedEvent[];
  at: number;
  go(index: number): void;
}

function TimeLine({ events, at, breaks, go }: Line & { breaks: PrefixBreak[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const legend = useRef<HTMLUListElement>(null);
  const layout = useMemo(() => layOut(events.map((event) => Date.parse(event.event.at))), [events]);
  const dark = useScheme();
  const width = useWidth(canvas);
  useLayoutEffect(() => {
    if (!canvas.current) return;
    draw(canvas.current, events, layout, new Set(breaks.map((one) => one.position)), colourOf(legend.current!));
  }, [events, layout, breaks, dark, width]);

  const current = events[at];
  const toPointer = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    go(nearest(layout.at, (event.clientX - box.left) / box.width));
  };
  return (
    <div class="timeline">
    <div
      class="line-of-time" role="slider" tabIndex={0} aria-label="Event" aria-valuemin={1} aria-valuemax={Math.max(1, events.length)}
      aria-valuenow={at + 1} aria-valuetext={current ? `position ${current.position}, ${topicWords(current.topic)}` : "loading"}
      onPointerDown={(event) => { (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId); toPointer(event); }}
      onPointerMove={(event) => { if (event.buttons & 1) toPointer(event); }}
      onKeyDown={(event) => {
        const to = stepped(event.key, events, at);
        if (to === null) return;
        event.preventDefault();
        go(to);
      }}
    >
      <canvas ref={canvas} aria-hidden="true" />
      <div class="needle" style={{ left: `${(layout.at[at] ?? 0) * 100}%` }} />
    </div>
    <ul class="legend" ref={legend} aria-label="Colours">
      {Object.entries(LEGEND).map(([name, words]) => <li key={name} data-name={name}>{words}</li>)}
    </ul>
    </div>
  );
}

/** Where a key leads: to the next event, to the next one that is no delta, or to an end. */
function stepped(key: string, events: RecordedEvent[], at: number): number | null {
  const isMark = (event: RecordedEvent) => kindOf(event.topic) !== "delta";
  switch (key) {
    case "ArrowRight": case "ArrowUp": return at + 1;
    case "ArrowLeft": case "ArrowDown": return at - 1;
    case "Home": return 0;
    case "End": return events.length - 1;
    case "PageDown": {
      const next = events.findIndex((event, index) => index > at && isMark(event));
      return next < 0 ? events.length - 1 : next;
    }
    case "PageUp": return Math.max(0, events.findLastIndex((event, index) => index < at && isMark(event)));
    default: return null;
  }
}

function Replay({ events, at, go }: Line) {
  const [speed, setSpeed] = useState(1);
  const [isPlaying, setPlaying] = useState(false);
  useEffect(() => {
    const [now, next] = [events[at], events[at + 1]];
    if (!isPlaying) return;
    if (!now || !next) return setPlaying(false);
    const wait = Date.parse(next.event.at) - Date.parse(now.event.at);
    const timer = setTimeout(() => go(at + 1), Math.min(LONGEST_MS, Math.max(0, wait)) / speed);
    return () => clearTimeout(timer);
  }, [isPlaying, speed, at, events]);
  return (
    <>
      <button type="button" aria-pressed={isPlaying} onClick={() => { if (at + 1 >= events.length) go(0); setPlaying(!isPlaying); }}>
        {isPlaying ? "Pause" : "Replay"}
      </button>
      <select aria-label="Speed" value={speed} onChange={(event) => setSpeed(Number(event.currentTarget.value))}>
        {SPEEDS.map((one) => <option key={one} value={one}>{one}×</option>)}
      </select>
    </>
  );
}

function ViewThen({ session, turn, position }: { session: string; turn: number; position: number }) {
  const { value: view, isOld } = useLatest((log, signal) => log.viewAt(session, position, signal), [session, position]);
  const found = view?.turns.find((one) => one.index === turn);
  return (
    <section aria-label="View then" aria-busy={isOld} tabIndex={0}>
      <h3>View then</h3>
      {found ? <TurnBox turn={found} session={session} /> : <p class="quiet">{view ? "The turn had not begun." : "Loading"}</p>}
    </section>
  );
}

function Raw({ event, before }: { event: RecordedEvent; before: RecordedEvent | undefined }) {
  const wait = before ? Date.parse(event.event.at) - Date.parse(before.event.at) : null;
  return (
    <>
      <p><b>{topicWords(event.topic)}</b></p>
      <p class="quiet">
        {exactly(event.event.at)}{wait !== null && ` · ${lasting(wait)} after the one before`} · position {event.position} · {event.log_position} in the log
      </p>
      <Tree of={event.event} name={event.topic} />
    </>
  );
}

function useScheme(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [isDark, set] = useState(query.matches);
  useEffect(() => {
    const changed = () => set(query.matches);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);
  return isDark;
}

function useWidth(of: { current: HTMLElement | null }): number {
  const [width, set] = useState(0);
  useLayoutEffect(() => {
    if (!of.current) return;
    const seen = new ResizeObserver(() => set(of.current?.clientWidth ?? 0));
    seen.observe(of.current);
    return () => seen.disconnect();
  }, []);
  return width;
}
