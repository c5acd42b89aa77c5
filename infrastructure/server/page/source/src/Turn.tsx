// A turn: what the user sent and what answered it, in the order of the log, and what does not fit.

import type { ComponentChildren } from "preact";
import { memo } from "./memo";
import { At } from "./At";
import { firstPosition } from "./log";
import { Said, StepBox } from "./Step";
import { Status } from "./Status";
import type { LateResult, Message, Turn } from "./shapes";
import { Tree } from "./Tree";
import { between, exactly, lasting, plural, when } from "./words";

interface Props {
  turn: Turn;
  session: string;
  isChosen?: boolean;
}

/** The turns of a page that has been asked for again are mostly the same ones. */
export const TurnBox = memo(({ turn, session, isChosen }: Props) => (
  <article class="turn" id={`turn-${turn.index}`} aria-label={`Turn ${turn.index + 1}`} data-chosen={isChosen}>
    <h2>
      Turn {turn.index + 1} <Status of={statusOf(turn)} />
      <span class="quiet">{about(turn)}</span>
      <a class="scrub" href={`#/${session}/${firstPosition(turn)}`}>Step through</a>
    </h2>
    {entries(turn, session).map(([position, shown]) => <div key={position}>{shown}</div>)}
    {turn.orphans.map((result) => (
      <div class="entry" key={result.position}><span class="kind">result without a call</span><Tree of={result.content} /></div>
    ))}
    {turn.faults.map((fault) => (
      <p class="fault" key={`${fault.position} ${fault.kind}`}>
        <At session={session} position={fault.position} /> <b>{fault.kind.replaceAll("_", " ")}</b> <bdi>{fault.message}</bdi>
      </p>
    ))}
    {turn.repairs.map((repair) => (
      <ul class="repair" key={repair.repair_id} aria-label="Repaired">
        {repair.corrections.map((one, index) => (
          <li key={index}><At session={session} position={one.position} /> repaired: <bdi>{one.text}</bdi></li>
        ))}
      </ul>
    ))}
  </article>
), (one, other) => one.isChosen === other.isChosen && (one.turn === other.turn || JSON.stringify(one.turn) === JSON.stringify(other.turn)));

function entries(turn: Turn, session: string): [number, ComponentChildren][] {
  const found: [number, ComponentChildren][] = [
    ...turn.messages.map((one): [number, ComponentChildren] => [one.position, <MessageBox of={one} session={session} />]),
    ...turn.steps.map((one): [number, ComponentChildren] => [one.position, <StepBox step={one} session={session} />]),
    ...turn.late_results.map((one): [number, ComponentChildren] => [one.position, <LateBox of={one} session={session} />]),
  ];
  return found.sort(([one], [other]) => one - other);
}

function MessageBox({ of, session }: { of: Message; session: string }) {
  return (
    <div role="group" class="message" data-role={of.role} aria-label={`${of.role} message at ${of.position}`}>
      <div class="line">
        <At session={session} position={of.position} /> <b>{of.role}</b>
        {of.queued && <Status of="queued" />}
        <time dateTime={of.at} title={exactly(of.at)}>{when(of.at)}</time>
      </div>
      <Said content={of.content} />
    </div>
  );
}

function LateBox({ of, session }: { of: LateResult; session: string }) {
  return (
    <div role="group" class="late" aria-label={`Late result at ${of.position}`}>
      <div class="line">
        <At session={session} position={of.position} /> late result of <b><bdi>{of.name}</bdi></b> <Status of={of.status} />
      </div>
      <Tree of={of.content} />
    </div>
  );
}

function statusOf(turn: Turn): string {
  if (turn.is_queued) return "queued";
  const run = turn.runs.at(-1);
  return run ? run.status ?? "answering" : turn.steps.at(-1)?.status ?? "open";
}

function about(turn: Turn): string {
  const [begun, last] = [turn.messages[0]?.at ?? turn.steps[0]?.started_at, turn.steps.at(-1)?.ended_at];
  const run = turn.runs.at(-1);
  return [
    plural(turn.steps.length, "step"),
    begun && last ? lasting(between(begun, last)) : "",
    run ? `written by ${run.writer}` : "",
    run?.reason ?? "",
  ].filter(Boolean).join(" · ");
}
