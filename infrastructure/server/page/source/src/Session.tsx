// A session: its turns, a page at a time, and the position that is looked at.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { useLatest, useWork } from "./asking";
import { firstPosition } from "./log";
import { Scrubber } from "./Scrubber";
import { TurnBox } from "./Turn";
import { useTurns } from "./turns";
import { count, exactly, plural } from "./words";

const NEAR = 300;
const AT_END = 40;

export function Session({ id, position }: { id: string; position: number | null }) {
  const turns = useTurns(id, position);
  const box = useRef<HTMLDivElement>(null);
  const title = useTitle(id);
  const index = position === null ? -1 : turns.shown.findLastIndex((turn) => firstPosition(turn) <= position);
  const [chosen, next] = [turns.shown[index], turns.shown[index + 1]];
  const last = chosen && next ? firstPosition(next) - 1 : chosen?.position;
  useScrolling(box, turns.shown[0]?.index, chosen?.index, turns.isEnd);

  return (
    <div class="session" data-scrubs={position !== null}>
      <div class="turns" ref={box} tabIndex={0} aria-label="Turns" role="region" onScroll={(event) => {
        if (event.currentTarget.scrollTop < NEAR) turns.earlier();
      }}>
        <div>
        <header>
          <a class="back" href="#/">Sessions</a>
          <h1><bdi>{title?.title ?? "Untitled"}</bdi></h1>
          <p class="quiet">
            <bdi>{title?.user ?? "no owner"}</bdi>
            {title && <> · began {exactly(title.at)}</>}
            {turns.count !== null && <> · {plural(turns.count, "turn")}</>} · <code>{id}</code>
          </p>
        </header>
        {turns.before !== null && <button type="button" class="more" onClick={turns.earlier}>{count(turns.before)} earlier turns</button>}
        {turns.shown.map((turn) => <TurnBox key={turn.index} turn={turn} session={id} isChosen={turn.index === chosen?.index} />)}
        {turns.count === 0 && <p class="empty">Nothing has been said yet.</p>}
        {!turns.isEnd && <button type="button" class="more" onClick={turns.later}>Later turns</button>}
        </div>
      </div>
      {chosen && last !== undefined && position !== null && (
        <Scrubber key={`${id} ${chosen.index}`} session={id} turn={chosen} last={last} position={position} />
      )}
    </div>
  );
}

/** Keeps in place what is looked at when earlier turns come; stays at the end, and goes to a turn that is chosen. */
function useScrolling(box: { current: HTMLDivElement | null }, first: number | undefined, chosen: number | undefined, isEnd: boolean): void {
  const known = useRef({ first, height: 0 });
  const sticks = useRef(false);
  useLayoutEffect(() => {
    const element = box.current!;
    const [was, now] = [known.current, { first, height: element.scrollHeight }];
    if (was.first !== undefined && first !== undefined && was.first > first) element.scrollTop += now.height - was.height;
    known.current = now;
  });
  useLayoutEffect(() => {
    const element = box.current!;
    const scrolled = () => { sticks.current = isEnd && element.scrollTop + element.clientHeight > element.scrollHeight - AT_END; };
    const grown = new ResizeObserver(() => { if (sticks.current) element.scrollTop = element.scrollHeight; });
    grown.observe(element.firstElementChild!);
    element.addEventListener("scroll", scrolled);
    return () => { grown.disconnect(); element.removeEventListener("scroll", scrolled); };
  }, [isEnd]);
  useLayoutEffect(() => {
    sticks.current = chosen === undefined && isEnd;
    if (chosen !== undefined) box.current?.querySelector(`#turn-${chosen}`)?.scrollIntoView({ block: "start" });
  }, [chosen]);
}

interface Title {
  title: string | null;
  user: string | null;
  at: string;
}

/** What the session is called now, and whose it is: the view after its first event, and the titles since. */
function useTitle(id: string): Title | null {
  const [name, setName] = useState<string | null>(null);
  const { value: first } = useLatest(async (log, signal) => {
    const view = await log.viewAt(id, 1, signal);
    return { title: view.title, user: view.user_id, at: view.started_at };
  }, [id]);
  useWork(async (log, signal) => {
    const page = await log.sessions({ statuses: [] }, signal);
    setName(page.items.find((one) => one.session_id === id)?.title ?? null);
  }, [id]);
  return first && { ...first, title: name ?? first.title };
}
