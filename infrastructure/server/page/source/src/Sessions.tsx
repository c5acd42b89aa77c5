// The list of sessions: newest activity first, as it is now.

import { useCallback, useRef, useState } from "preact/hooks";
import { linkTo } from "./address";
import { useLog, usePolling, useWork } from "./asking";
import { TURN_STATUSES, type SessionSummary } from "./shapes";
import { Status } from "./Status";
import { VirtualList } from "./VirtualList";
import { between, count, exactly, lasting, plural, when } from "./words";

const POLL_SECONDS = 3;
const ROW_HEIGHT = 68;

interface Found {
  items: SessionSummary[];
  total: number | null;
  next: string | null;
}

export function Sessions({ current }: { current: string | null }) {
  const [status, setStatus] = useState("");
  const [text, setText] = useState("");
  const [found, more] = useSessions(status);
  const wanted = text.trim().toLowerCase();
  const shown = found?.items.filter((item) => !wanted || says(item, wanted)) ?? [];

  return (
    <nav class="sessions" aria-label="Sessions">
      {current === null && <h1 class="unseen">Sessions</h1>}
      <form class="filters" role="search" onSubmit={(event) => event.preventDefault()}>
        <input
          type="search" aria-label="Search titles, owners and ids" placeholder="Title, owner or id" value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <select aria-label="Status of the latest turn" value={status} onChange={(event) => setStatus(event.currentTarget.value)}>
          <option value="">Any status</option>
          {TURN_STATUSES.map((one) => <option key={one} value={one}>{one.replace("_", " ")}</option>)}
        </select>
      </form>
      <p class="count" role="status">{found ? counted(shown.length, found, wanted !== "") : "Loading"}</p>
      {found && shown.length === 0 && !found.next && <p class="empty">There are no such sessions.</p>}
      <VirtualList
        label="Sessions" items={shown} rowHeight={ROW_HEIGHT} hasMore={found?.next != null} onEnd={more}
        keyOf={(item) => item.session_id} row={(item) => <Row item={item} isCurrent={item.session_id === current} />}
      />
    </nav>
  );
}

function counted(shown: number, found: Found, isSearch: boolean): string {
  if (isSearch) return `${plural(shown, "session")} found among ${count(found.items.length)}${found.next ? " or more" : ""}`;
  if (found.total !== null) return plural(found.total, "session");
  return found.next ? `more than ${count(found.items.length)} sessions` : plural(shown, "session");
}

function says(item: SessionSummary, wanted: string): boolean {
  return [item.title, item.user_id, item.session_id].some((text) => text?.toLowerCase().includes(wanted));
}

function Row({ item, isCurrent }: { item: SessionSummary; isCurrent: boolean }) {
  return (
    <a href={linkTo(item.session_id)} aria-current={isCurrent ? "page" : undefined}>
      <span class="title"><bdi>{item.title ?? "Untitled"}</bdi></span>
      <Status of={item.turn_status} />
      <span class="about">
        <bdi>{item.user_id ?? "no owner"}</bdi> · {plural(item.version, "event")} · {lasting(between(item.started_at, item.updated_at))}
      </span>
      <time dateTime={item.updated_at} title={exactly(item.updated_at)}>{when(item.updated_at)}</time>
    </a>
  );
}

/** The sessions that are there, and what asks for the next page of them. */
function useSessions(status: string): [Found | null, () => void] {
  const { log, refused } = useLog();
  const [found, set] = useState<Found | null>(null);
  const isAsking = useRef(false);
  const statuses = status ? [status] : [];
  useWork(async () => set(null), [status]);
  usePolling(POLL_SECONDS, async (log, signal) => {
    const page = await log.sessions({ statuses }, signal);
    set((known) => (known ? merged(known, page.items, page.total) : { items: page.items, total: page.total, next: page.next_cursor }));
  }, [status]);
  const more = useCallback(() => {
    const cursor = found?.next;
    if (!cursor || isAsking.current) return;
    isAsking.current = true;
    log.sessions({ statuses, cursor }, new AbortController().signal)
      .then((page) => set((known) => (known?.next === cursor ? extended(known, page.items, page.next_cursor) : known)), refused)
      .finally(() => { isAsking.current = false; });
  }, [found?.next, status]);
  return [found, more];
}

/** What is known, behind the first page as it is now. */
function merged(known: Found, latest: SessionSummary[], total: number | null): Found {
  const isLatest = new Set(latest.map((item) => item.session_id));
  const oldest = latest.at(-1)?.updated_at ?? "";
  const rest = known.items.filter((item) => !isLatest.has(item.session_id) && item.updated_at <= oldest);
  return { items: [...latest, ...rest], total, next: known.next };
}

function extended(known: Found, items: SessionSummary[], next: string | null): Found {
  const isKnown = new Set(known.items.map((item) => item.session_id));
  return { items: [...known.items, ...items.filter((item) => !isKnown.has(item.session_id))], total: known.total, next };
}
