// A position, as a link to it.

import { linkTo } from "./address";

export function At({ session, position }: { session: string; position: number }) {
  return <a class="at" href={linkTo(session, position)} aria-label={`Position ${position}`}>{position}</a>;
}
