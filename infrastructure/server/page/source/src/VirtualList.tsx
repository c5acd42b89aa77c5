// A list of rows that all have the same height: only those in view are there, however many there are.

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

const AROUND = 6;

interface Props<T> {
  label: string;
  items: readonly T[];
  rowHeight: number;
  hasMore: boolean;
  onEnd(): void;
  keyOf(item: T): string;
  row(item: T): ComponentChildren;
}

export function VirtualList<T>({ label, items, rowHeight, hasMore, onEnd, keyOf, row }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 800 });
  const measure = () => box.current && setView({ top: box.current.scrollTop, height: box.current.clientHeight });
  useLayoutEffect(() => {
    measure();
    addEventListener("resize", measure);
    return () => removeEventListener("resize", measure);
  }, []);

  const first = Math.max(0, Math.floor(view.top / rowHeight) - AROUND);
  const last = Math.min(items.length, Math.ceil((view.top + view.height) / rowHeight) + AROUND);
  useLayoutEffect(() => {
    if (hasMore && last >= items.length) onEnd();
  }, [hasMore, last, items.length]);

  return (
    <div class="rows" ref={box} onScroll={measure} onKeyDown={(event) => moveFocus(event, box.current, rowHeight)}>
      <ul aria-label={label} style={{ height: `${items.length * rowHeight}px` }}>
        {items.slice(first, last).map((item, offset) => (
          <li
            key={keyOf(item)}
            aria-setsize={hasMore ? -1 : items.length}
            aria-posinset={first + offset + 1}
            data-index={first + offset}
            style={{ top: `${(first + offset) * rowHeight}px`, height: `${rowHeight}px` }}
          >
            {row(item)}
          </li>
        ))}
      </ul>
    </div>
  );
}

function moveFocus(event: KeyboardEvent, box: HTMLElement | null, rowHeight: number): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const current = (event.target as HTMLElement).closest("li");
  if (!by || !current || !box) return;
  event.preventDefault();
  const index = Number(current.dataset["index"]) + by;
  const next = box.querySelector<HTMLElement>(`li[data-index="${index}"] a`);
  if (!next) return;
  const top = index * rowHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
  next.focus({ preventScroll: true });
}
