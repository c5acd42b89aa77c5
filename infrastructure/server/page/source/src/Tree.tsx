// JSON as a tree. What is closed, and what lies beyond the first hundred children, is not there until it is asked for.

import { useState } from "preact/hooks";
import type { Json } from "./shapes";
import { Text } from "./Text";
import { count } from "./words";

const AT_ONCE = 100;
const OPEN_DEPTH = 2;
const SHORT = 120;

/** A value; a text that is JSON itself is shown as what it says. */
export function Tree({ of, name }: { of: Json; name?: string }) {
  return <div class="tree"><Node value={parsed(of)} name={name ?? null} depth={0} /></div>;
}

function Node({ value, name, depth }: { value: Json; name: string | null; depth: number }) {
  const [isOpen, setOpen] = useState(depth < OPEN_DEPTH);
  if (value === null || typeof value !== "object") return <Leaf value={value} name={name} />;
  const size = Array.isArray(value) ? value.length : Object.keys(value).length;
  const [opens, closes] = Array.isArray(value) ? "[]" : "{}";
  if (size === 0) return <div class="leaf"><Name of={name} />{opens}{closes}</div>;
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary><Name of={name} />{opens}<span class="quiet">{count(size)}</span>{closes}</summary>
      {isOpen && <Children of={value} depth={depth} />}
    </details>
  );
}

function Children({ of, depth }: { of: Json[] | { [name: string]: Json }; depth: number }) {
  const [shown, setShown] = useState(AT_ONCE);
  const every = Object.entries(of);
  return (
    <div class="children">
      {every.slice(0, shown).map(([name, value]) => <Node key={name} value={value} name={name} depth={depth + 1} />)}
      {every.length > shown && (
        <button type="button" class="more" onClick={() => setShown(shown + AT_ONCE)}>{count(every.length - shown)} more</button>
      )}
    </div>
  );
}

function Leaf({ value, name }: { value: string | number | boolean | null; name: string | null }) {
  if (typeof value !== "string") return <div class="leaf"><Name of={name} /><span class="literal">{String(value)}</span></div>;
  return <div class="leaf" data-long={value.length > SHORT || value.includes("\n")}><Name of={name} /><Text of={value} /></div>;
}

function Name({ of }: { of: string | null }) {
  return of === null ? null : <span class="name"><bdi>{of}</bdi>: </span>;
}

function parsed(value: Json): Json {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value) as Json;
  } catch {
    return value;
  }
}
