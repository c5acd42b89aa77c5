// Where the page is: `#/ID` is a session, `#/ID/POSITION` a position in it. A token comes as `#token=...`, which is not
// sent to any server, and is taken out of the address at once.

import { useEffect, useState } from "preact/hooks";

export interface Place {
  session: string | null;
  position: number | null;
}

export function placeOf(hash: string): Place {
  const [, session = "", position = ""] = hash.split("/");
  return {
    session: /^[0-9a-f-]{36}$/.test(session) ? session : null,
    position: /^[1-9][0-9]{0,14}$/.test(position) ? Number(position) : null,
  };
}

export function linkTo(session: string, position?: number): string {
  return position === undefined ? `#/${session}` : `#/${session}/${position}`;
}

/** Changes the position in the address, without a new entry in the history. */
export function moveTo(session: string, position: number): void {
  history.replaceState(null, "", linkTo(session, position));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** The token in the address, which has it no longer. */
export function takeToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

export function usePlace(): Place {
  const [place, set] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const changed = () => set(placeOf(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return place;
}
