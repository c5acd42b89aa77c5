// How far something is: a word, with a mark beside it that does not need colours.

const MARKS: Record<string, string> = {
  finished: "✓", open: "●", answering: "●", running_tools: "●", waiting: "◷", queued: "◷",
  interrupted: "■", stopped: "■", failed: "✕", error: "✕", abandoned: "✕", pending: "◷", final: "✓", synthetic: "↺",
};

export function Status({ of }: { of: string | null }) {
  if (of === null) return null;
  return <span class="status" data-status={of}><span aria-hidden="true">{MARKS[of] ?? "·"}</span> {of.replace("_", " ")}</span>;
}
