// The prompt as it was at a position, for one of the APIs, and where its cached prefix broke.

import { useLatest } from "./asking";
import type { Api, Json, PrefixBreak } from "./shapes";
import { Tree } from "./Tree";

const APIS: Api[] = ["chat", "anthropic", "responses"];
const WHY: Record<string, string> = {
  late_result: "a result replaced the one that was sent for its call",
  import: "an imported message belongs to what was before it",
  repair: "the history was repaired, or a repair was withdrawn",
  compaction: "a summary replaced what it sums up",
  system_message: "the API has system messages apart, before all others",
  turn: "a turn has begun or ended, so what was queued or broke off stands elsewhere",
  tool: "a tool was started, or somebody was asked about it, after something had followed its call",
  step: "a step went on after something had followed it",
};

interface Props {
  session: string;
  position: number;
  api: Api;
  breaks: PrefixBreak[];
  choose(api: Api): void;
}

export function PromptThen({ session, position, api, breaks, choose }: Props) {
  const { value: prompt, isOld } = useLatest((log, signal) => log.promptAt(session, position, api, signal), [session, position, api]);
  return (
    <section aria-label="Prompt then" aria-busy={isOld} tabIndex={0}>
      <h3>
        Prompt then
        <select aria-label="API" value={api} onChange={(event) => choose(event.currentTarget.value as Api)}>
          {APIS.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      </h3>
      {breaks.map((one) => (
        <p class="break" key={one.position}>
          <a href={`#/${session}/${one.position}`}>Position {one.position}</a> broke the cached prefix from message {one.message} on:{" "}
          {WHY[one.reason] ?? one.reason}.
        </p>
      ))}
      {prompt === null ? <p class="quiet">Loading</p> : messagesOf(prompt).map((message, index) => (
        <div class="sent" key={index}><span class="kind">{roleOf(message)}</span><Tree of={bodyOf(message)} /></div>
      ))}
    </section>
  );
}

/** The messages of a prompt; of Anthropic's, with the system's text before them. */
function messagesOf(prompt: Json): Json[] {
  if (Array.isArray(prompt)) return prompt;
  if (prompt === null || typeof prompt !== "object") return [];
  const system = prompt["system"];
  const messages = prompt["messages"];
  return [...(system ? [{ role: "system", content: system }] : []), ...(Array.isArray(messages) ? messages : [])];
}

function roleOf(message: Json): string {
  if (message === null || typeof message !== "object" || Array.isArray(message)) return "";
  return String(message["role"] ?? message["type"] ?? "");
}

function bodyOf(message: Json): Json {
  if (message === null || typeof message !== "object" || Array.isArray(message)) return message;
  const { role: _, ...rest } = message;
  const names = Object.keys(rest);
  return names.length === 1 && "content" in rest ? rest["content"]! : rest;
}
