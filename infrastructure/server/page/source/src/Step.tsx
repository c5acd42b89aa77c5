// A step: what the model said, in its order, what it called, what came of that, and how it ended.

import { At } from "./At";
import type { Json, Part, Step, ToolCall, ToolResult } from "./shapes";
import { Status } from "./Status";
import { Text } from "./Text";
import { Tree } from "./Tree";
import { between, count, lasting, plural } from "./words";

export function StepBox({ step, session }: { step: Step; session: string }) {
  const called = new Set(step.message.parts.map((part) => part.call).filter((call) => call !== null));
  const others = step.message.tool_calls.filter((call) => !called.has(call.index));
  return (
    <div role="group" class="step" aria-label={`Step at ${step.position}`} data-position={step.position}>
      <h3>
        <At session={session} position={step.position} /> <bdi>{step.model ?? "model"}</bdi> <Status of={step.status} />
        <span class="quiet">{about(step)}</span>
      </h3>
      {step.supersedes && <p class="quiet">Made again, instead of an answer that broke off.</p>}
      {step.continues && <p class="quiet">Goes on with an answer that broke off.</p>}
      {step.message.parts.map((part, index) => <PartBox key={index} part={part} step={step} session={session} />)}
      {step.message.parts.length === 0 && step.message.content !== null && <Said content={step.message.content} />}
      {others.map((call) => <Call key={call.index} call={call} step={step} session={session} />)}
      {step.message.function_call && (
        <div class="call"><b><bdi>{step.message.function_call.name}</bdi></b><Tree of={step.message.function_call.arguments} /></div>
      )}
      {step.note && <p class="note"><Text of={step.note} /></p>}
      {step.failure !== null && <Tree of={step.failure} name="failure" />}
    </div>
  );
}

function about(step: Step): string {
  const tokens = ["prompt_tokens", "completion_tokens"].map((name) => step.usage?.[name]);
  return [
    step.finish_reason && step.finish_reason !== "stop" ? step.finish_reason : "",
    step.ended_at ? lasting(between(step.started_at, step.ended_at)) : "",
    tokens.every((number) => typeof number === "number") ? `${tokens.map((number) => count(Number(number))).join(" → ")} tokens` : "",
    step.origin ? `imported from ${step.origin}` : "",
  ].filter(Boolean).join(" · ");
}

function PartBox({ part, step, session }: { part: Part; step: Step; session: string }) {
  const call = step.message.tool_calls.find((one) => one.index === part.call);
  if (call) return <Call call={call} step={step} session={session} />;
  return (
    <div class="part" data-kind={part.kind}>
      {part.kind !== "text" && <span class="kind">{part.kind.replace("_", " ")}</span>}
      {part.text && <Text of={part.text} />}
      {Object.keys(part.data).length > 0 && <Tree of={part.data} />}
    </div>
  );
}

function Call({ call, step, session }: { call: ToolCall; step: Step; session: string }) {
  const result = step.tool_results.find((one) => one.index === call.index);
  const runs = step.tool_runs.filter((one) => one.index === call.index);
  const approval = step.approvals.find((one) => one.index === call.index);
  return (
    <div class="call">
      <div class="line">
        <b><bdi>{call.name || "unnamed tool"}</bdi></b> <span class="quiet"><bdi>{call.id}</bdi></span>
        {call.cut_off && <span class="status" data-status="failed">cut off</span>}
        {runs.length > 0 && <span class="quiet">started {plural(runs.length, "time")}</span>}
      </div>
      {call.arguments && <Tree of={call.arguments} />}
      {approval && <p class="quiet">{decision(approval.approved)} <bdi>{approval.by}</bdi> <bdi>{approval.reason}</bdi></p>}
      {result ? <Result of={result} session={session} /> : !call.cut_off && <p class="quiet">No result yet.</p>}
    </div>
  );
}

function decision(approved: boolean | null): string {
  if (approved === null) return "Waits for a decision.";
  return approved ? "Allowed by" : "Refused by";
}

function Result({ of, session }: { of: ToolResult; session: string }) {
  return (
    <div class="result">
      <div class="line"><At session={session} position={of.position} /> result <Status of={of.status} /></div>
      <Tree of={of.content} />
      {of.sent != null && <><p class="quiet">The model had gone on with this in its place:</p><Tree of={of.sent} /></>}
    </div>
  );
}

/** The content of a message: a text, or blocks. */
export function Said({ content }: { content: Json }) {
  if (typeof content === "string") return <Text of={content} />;
  return content === null ? null : <Tree of={content} />;
}
