// What somebody wrote, as text. A long one is shown in pieces, so that a line of a megabyte is as harmless as any other.

import { useState } from "preact/hooks";
import { count } from "./words";

const AT_FIRST = 4000;
const MORE = 100_000;

export function Text({ of, label }: { of: string; label?: string }) {
  const [shown, setShown] = useState(AT_FIRST);
  const rest = of.length - shown;
  return (
    <div class="text" dir="auto" aria-label={label} role={label ? "group" : undefined}>
      {rest > 0 ? of.slice(0, shown) : of}
      {rest > 0 && <button type="button" class="more" onClick={() => setShown(shown + MORE)}>{count(rest)} characters more</button>}
    </div>
  );
}
