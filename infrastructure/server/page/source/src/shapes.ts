// What the routes answer with, as far as the page reads it. The whole of it is described in openapi.json.

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export interface SessionSummary {
  session_id: string;
  user_id: string | null;
  title: string | null;
  started_at: string;
  updated_at: string;
  version: number;
  turn_status: TurnStatus | null;
}

export const TURN_STATUSES = [
  "open", "queued", "answering", "running_tools", "waiting", "finished", "interrupted", "stopped", "failed", "abandoned",
] as const;
export type TurnStatus = (typeof TURN_STATUSES)[number];

export interface SessionPage {
  items: SessionSummary[];
  total: number | null;
  next_cursor: string | null;
}

export interface Message {
  message_id: string;
  position: number;
  role: string;
  content: Json;
  at: string;
  queued: boolean;
  origin: string | null;
}

export interface Part {
  kind: string;
  api: string | null;
  text: string | null;
  call: number | null;
  data: Record<string, Json>;
}

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
  index: number;
  cut_off: boolean;
}

export interface ToolResult {
  call_id: string;
  index: number;
  status: string;
  content: Json;
  position: number;
  at: string;
  sent: Json;
}

export interface LateResult {
  step_id: string;
  index: number;
  call_id: string;
  name: string;
  status: string;
  content: Json;
  position: number;
  at: string;
}

export interface Approval {
  index: number;
  approved: boolean | null;
  by: string;
  reason: string;
}

export interface ToolRun {
  index: number;
  attempt: number;
  at: string;
}

export interface Step {
  step_id: string;
  position: number;
  message: { content: Json; parts: Part[]; tool_calls: ToolCall[]; function_call: { name: string; arguments: string } | null };
  tool_results: ToolResult[];
  status: string;
  finish_reason: string | null;
  note: string | null;
  model: string | null;
  usage: Record<string, Json> | null;
  started_at: string;
  ended_at: string | null;
  failure: Json;
  supersedes: string | null;
  continues: string | null;
  origin: string | null;
  tool_runs: ToolRun[];
  approvals: Approval[];
}

export interface Fault {
  kind: string;
  position: number;
  message: string;
  provider_error: string;
}

export interface Repair {
  repair_id: string;
  corrections: { fault: string; position: number; action: string; text: string }[];
}

export interface TurnRun {
  run: string;
  writer: string;
  position: number;
  started_at: string;
  status: string | null;
  reason: string;
  ended_at: string | null;
}

export interface Turn {
  index: number;
  position: number;
  messages: Message[];
  steps: Step[];
  runs: TurnRun[];
  is_queued: boolean;
  late_results: LateResult[];
  orphans: ToolResult[];
  faults: Fault[];
  repairs: Repair[];
}

export interface TurnPage {
  turns: Turn[];
  before: number | null;
}

export interface SessionView {
  title: string | null;
  user_id: string | null;
  version: number;
  started_at: string;
  turns: Turn[];
}

export interface RecordedEvent {
  position: number;
  log_position: number;
  topic: string;
  event: { at: string; [name: string]: Json };
}

export interface EventPage {
  items: RecordedEvent[];
  cursor: string;
}

export interface PrefixBreak {
  position: number;
  topic: string;
  reason: string;
  message: number;
}

export type Api = "chat" | "anthropic" | "responses";
