/** What a program in TypeScript does with turnlog.js. It is compiled, and not run. */
import { applyDelta, ProblemError, stepsOf, Turnlog, turnStatus, waitingCalls } from "../../../infrastructure/server/client/turnlog.js";
import type { Delta, End, SessionView, ToolResult, TurnStatus } from "../../../infrastructure/server/client/turnlog.js";

const log = new Turnlog("https://log.example", { token: async () => "secret" });

export async function chat(id: string, signal: AbortSignal): Promise<End> {
  const session = log.session(id);
  const { is_new } = await session.send("Hello", { messageId: "m-1", onBusy: "queue", signal });
  if (is_new) await session.setTitle("Hello", { onlyIfEmpty: true });
  try {
    return await session.follow({ until: "session", onChange: (view, deltas) => show(view, deltas), signal });
  } catch (error) {
    if (error instanceof ProblemError && error.kind === "session-not-found") await log.start({ title: "Again" });
    throw error;
  }
}

function show(view: SessionView, deltas: readonly Delta[]): string[] {
  const statuses: TurnStatus[] = view.turns.map(turnStatus);
  const results: ToolResult[] = stepsOf(view).flatMap((step) => [...step.tool_results]);
  const waiting = stepsOf(view).flatMap(waitingCalls).map(({ call, waitsFor }) => `${call.name} waits for a ${waitsFor}`);
  return [...statuses, ...results.map((one) => one.call_id), ...waiting, ...deltas.map(said)];
}

function said(delta: Delta): string {
  switch (delta.kind) {
    case "text":
      return delta.text;
    case "tool_call":
      return `${delta.name ?? ""}${delta.arguments}`;
    case "step_ended":
      return `${delta.status} at ${delta.at}, ${delta.tokens?.["total_tokens"] ?? 0} tokens`;
    case "changed":
      // @ts-expect-error: it is null where only the view shows it
      return Object.keys(delta.data).join();
    default:
      // @ts-expect-error: not every delta has a text
      return delta.text;
  }
}

export function folded(view: SessionView, deltas: Delta[]): SessionView | null {
  // @ts-expect-error: a view never changes
  view.version = 3;
  // @ts-expect-error: the delta may not say all
  const next: SessionView = applyDelta(view, deltas[0]!);
  return next;
}

// @ts-expect-error: there is no such way
void log.session("s").follow({ by: "pigeon" });
