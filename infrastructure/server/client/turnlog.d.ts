// Types of turnlog.js. Its comments say how it is used.

/** What all errors of this module are. */
export class TurnlogError extends Error {}

/** The members of a refusal (RFC 9457); some have more, such as `field` or `call_id`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly [member: string]: Json;
}

/** The server has refused this. */
export class ProblemError extends TurnlogError {
  constructor(problem: Problem);
  readonly problem: Problem;
  readonly status: number;
  /** The last part of the problem's `type`: "session-not-found". */
  readonly kind: string;
}

/** The server was not reached, or the connection broke: whether it has done this, the same again finds out. */
export class UnreachableError extends TurnlogError {}

/** Ends a call when it is aborted. */
export interface Abortable {
  signal?: AbortSignal;
}

export interface TurnlogOptions {
  /** A bearer token, or what gives it for each request. */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** Headers of every request. */
  headers?: Readonly<Record<string, string>>;
  /** What is used in place of the platform's `fetch`. */
  fetch?: typeof fetch;
}

export interface RequestOptions extends Abortable {
  body?: Json;
  /** The Idempotency-Key. */
  key?: string;
  /** Whether it may be sent twice. */
  again?: boolean;
}

/** A log that is served over HTTP. */
export class Turnlog {
  constructor(base?: string | URL, options?: TurnlogOptions);
  session(id: string): Session;
  start(options?: { title?: string; metadata?: Readonly<Record<string, Json>> } & Abortable): Promise<Session>;
  sessions(
    options?: { limit?: number; cursor?: string; status?: TurnStatus | readonly TurnStatus[] } & Abortable,
  ): Promise<SessionPage>;
  request<Answer = Json>(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  open(
    method: string,
    path: string,
    options?: { headers?: Readonly<Record<string, string>>; body?: string } & Abortable,
  ): Promise<Response>;
}

/** A text, or blocks in the shape of Chat Completions. */
export type Content = string | ReadonlyArray<Readonly<Record<string, Json>>>;

/** What the end of a stream says: of the turn, or that the session is gone ("deleted"). */
export interface End {
  readonly turn_id: string | null;
  readonly status: TurnStatus | "deleted";
  readonly reason: string;
}

export interface FollowOptions extends Abortable {
  /** A view to go on from; else it is read. */
  view?: SessionView;
  /** Called with the view, and again when deltas have changed it: once for those that came together. */
  onChange?(view: SessionView, deltas: readonly Delta[]): void;
  /** Called when there is a connection, and when there is none. */
  onConnection?(isConnected: boolean, error?: unknown): void;
  /** Where it ends: with the turn, or only with the session. */
  until?: "turn" | "session";
  /** How the deltas come. */
  by?: "sse" | "ndjson" | "poll";
}

/** A session of the log. */
export class Session {
  readonly id: string;
  view(options?: Abortable): Promise<SessionView>;
  at(version: number, options?: Abortable): Promise<SessionView>;
  follow(options?: FollowOptions): Promise<End>;
  send(
    content: Content,
    options?: { messageId?: string; onBusy?: "steer" | "queue" | "stop" } & Abortable,
  ): Promise<{ message_id: string; is_new: boolean }>;
  stop(options?: { reason?: string; turnId?: string } & Abortable): Promise<{ stopped: boolean }>;
  toolResult(
    callId: string,
    content: Content,
    options?: { status?: "pending" | "final" | "error"; stepId?: string } & Abortable,
  ): Promise<void>;
  approve(callId: string, options?: { reason?: string; stepId?: string; forTurn?: boolean } & Abortable): Promise<void>;
  refuse(callId: string, options?: { reason?: string; stepId?: string } & Abortable): Promise<void>;
  setTitle(title: string, options?: { onlyIfEmpty?: boolean } & Abortable): Promise<void>;
  setMetadata(patch: Readonly<Record<string, Json>>, options?: Abortable): Promise<void>;
  delete(options?: Abortable): Promise<void>;
}

/**
 * The view after a delta. null: the delta does not say all that it changes, or one before it is missing; then the view is
 * to be read anew.
 */
export function applyDelta(view: SessionView, delta: Delta): SessionView | null;
/** The steps of a view, in order. */
export function stepsOf(view: SessionView): Step[];
/** How far a turn is. */
export function turnStatus(turn: Turn): TurnStatus;
/** The calls of a step that somebody outside is waited for. */
export function waitingCalls(step: Step): Array<{ call: StepToolCall; waitsFor: "result" | "decision" }>;
/** The length of a text in code points, as Python counts it. */
export function codePoints(text: string): number;

// Made from the models by `python -m docs.generate`.

/** Any value of JSON. */
export type Json = unknown;

/** How far a turn is; see `turnStatus`. */
export type TurnStatus = "open" | "queued" | "answering" | "running_tools" | "waiting" | "finished" | "interrupted" | "stopped" | "failed" | "abandoned";

/**
 * Somebody has to decide whether the tool of the call at `index` may run. `approved` is None until somebody has.
 * `by` says who that was, `reason` why; `for_turn` that calls of this tool need no other decision in the turn.
 */
export interface Approval {
  readonly index: number;
  readonly position: number;
  readonly at: string;
  readonly approved: boolean | null;
  readonly by: string;
  readonly reason: string;
  readonly for_turn: boolean;
  readonly decided_at: string | null;
  readonly late: boolean;
}

/**
 * Somebody (`by`) has allowed the call at `index`, or refused it. `for_turn`: and all calls of its tool in the
 * turn.
 */
export interface ApprovalDecided {
  readonly kind: "approval_decided";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly index: number;
  readonly call_id: string;
  readonly approved: boolean;
  readonly by: string;
  readonly reason: string;
  readonly for_turn: boolean;
}

/**
 * Somebody has to decide whether the tool of the call at `index` may run.
 */
export interface ApprovalRequested {
  readonly kind: "approval_requested";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly index: number;
  readonly call_id: string;
  readonly run: string;
}

/**
 * A summary that prompts have instead of what began at or before `upto`. `position` is that of its event.
 */
export interface Compaction {
  readonly summary: string;
  readonly upto: number;
  readonly position: number;
}

/**
 * What a repair does about one fault, of the kind `fault`: at the position of an event, the index of a call in its
 * step, and the index of a turn. `text` says what is done and why; `separator` goes between texts that are joined.
 */
export interface Correction {
  readonly fault: string;
  readonly position: number;
  readonly index: number | null;
  readonly turn: number;
  readonly action: "none" | "join" | "leave_out" | "leave_out_call" | "answer" | "empty_arguments";
  readonly separator: string;
  readonly text: string;
}

/**
 * Something in the history that does not fit. Nothing is dropped silently.
 *
 * `position` is that of the event, `index` that of the call inside its step. `message` is a sentence for people.
 * `provider_error` is what a provider answers when the history is sent as it stands; empty if none objects.
 */
export interface Fault {
  readonly kind: string;
  readonly position: number;
  readonly index: number | null;
  readonly message: string;
  readonly provider_error: string;
}

/**
 * The legacy `function_call` of an assistant message.
 */
export interface FunctionCall {
  readonly name: string;
  readonly arguments: string;
}

/**
 * A piece of the legacy function call: of its name and of its arguments.
 */
export interface FunctionCallFragment {
  readonly kind: "function_call";
  readonly position: number;
  readonly step_id: string;
  readonly name: string;
  readonly offset: number;
  readonly arguments: string;
}

/**
 * The final result of a call that came when the model had gone on without it. It stands as a message of its own
 * where it came, and what was sent before stays as it was. `name` and `arguments` are those of the call.
 */
export interface LateResult {
  readonly step_id: string;
  readonly index: number;
  readonly call_id: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: "pending" | "final" | "error";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>>;
  readonly position: number;
  readonly at: string;
}

/**
 * A message that is not a step's: system, developer, user, or a legacy function result.
 *
 * A `queued` message was sent while the step before it was open or had unanswered calls, and that is still so: the
 * next prompt has it after that step and its results. Or its turn is queued.
 */
export interface Message {
  readonly message_id: string;
  readonly position: number;
  readonly role: "system" | "developer" | "user" | "assistant" | "function";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>> | null;
  readonly name: string | null;
  readonly at: string;
  readonly origin: "chat" | "anthropic" | "responses" | "rows" | "chatgpt" | "claude_ai" | "claude_code" | "librechat" | "open_webui" | "ui" | "langchain" | "pydantic_ai" | "gemini" | null;
  readonly queued: boolean;
}

/**
 * A whole message. An assistant message is a step of its own, whose id is the message's. A `queued` one begins a
 * turn of its own, after those that were there before it.
 */
export interface MessageCame {
  readonly kind: "message";
  readonly position: number;
  readonly at: string;
  readonly message_id: string;
  readonly role: "system" | "developer" | "user" | "assistant" | "function";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>> | null;
  readonly name: string | null;
  readonly refusal: string | null;
  readonly tool_calls: ReadonlyArray<ToolCall>;
  readonly function_call: FunctionCall | null;
  readonly queued: boolean;
}

/**
 * A part of an assistant message. `text` is that of a text, reasoning or refusal; `call` is the index of a tool
 * call.
 *
 * `data` is what its `api` said of it besides, verbatim: a signature, citations, the id of audio and what is said in
 * it, the whole block of a server's tool, or whatever turnlog does not know. It goes back to that API in its place.
 */
export interface Part {
  readonly kind: "text" | "reasoning" | "refusal" | "tool_call" | "server_call" | "server_result" | "citation" | "image" | "audio" | "file" | "opaque";
  readonly api: "chat" | "anthropic" | "responses" | null;
  readonly text: string | null;
  readonly call: number | null;
  readonly data: Readonly<Record<string, Json>>;
}

/**
 * More data of a part: objects are merged, lists continued, other values replaced.
 */
export interface PartExtended {
  readonly kind: "part_extended";
  readonly position: number;
  readonly step_id: string;
  readonly part: number;
  readonly data: Readonly<Record<string, Json>>;
}

/**
 * A piece of a text inside the data of a part, such as what is said in audio.
 */
export interface PartFragment {
  readonly kind: "part";
  readonly position: number;
  readonly step_id: string;
  readonly part: number;
  readonly field: string;
  readonly offset: number;
  readonly text: string;
}

/**
 * Where a part of a message begins, and what its API said of it.
 *
 * `part` is its number in the step, 0 for one that no event has opened. A part may have several marks, where the texts
 * of two parts came in turn; the first has its `data`. `length` counts the characters of the message's text, reasoning
 * or refusal that belong to it, unless it has a `text` of its own: that of a message whose content is in blocks.
 * `call` is the index of a tool call.
 */
export interface PartMark {
  readonly part: number;
  readonly kind: "text" | "reasoning" | "refusal" | "tool_call" | "server_call" | "server_result" | "citation" | "image" | "audio" | "file" | "opaque";
  readonly api: "chat" | "anthropic" | "responses" | null;
  readonly length: number;
  readonly text: string | null;
  readonly call: number | null;
  readonly data: Readonly<Record<string, Json>>;
}

/**
 * A part of the answer begins: see `Part`. Pieces of text that follow belong to the part of their kind that began,
 * or was extended, last. Answers of which nothing else is to be said have no parts.
 */
export interface PartStarted {
  readonly kind: "part_started";
  readonly position: number;
  readonly step_id: string;
  readonly part: number;
  readonly part_kind: "text" | "reasoning" | "refusal" | "tool_call" | "server_call" | "server_result" | "citation" | "image" | "audio" | "file" | "opaque";
  readonly api: "chat" | "anthropic" | "responses";
  readonly call: number | null;
  readonly data: Readonly<Record<string, Json>>;
}

/**
 * The corrections of one repair to one turn.
 */
export interface Repair {
  readonly repair_id: string;
  readonly corrections: ReadonlyArray<Correction>;
}

/**
 * Something else changed, which the topic names. `data` says what: the fields of the event (a title, a patch of the
 * metadata, an owner, an increment, a usage report with its `tokens`, a compaction). It is None where only the view
 * shows it: after an import or a repair.
 */
export interface SessionChanged {
  readonly kind: "changed";
  readonly position: number;
  readonly at: string;
  readonly topic: string;
  readonly data: Readonly<Record<string, Json>> | null;
}

/**
 * The session was deleted. Nothing follows.
 */
export interface SessionGone {
  readonly kind: "deleted";
  readonly position: number;
  readonly at: string;
}

/**
 * One page of a list of sessions. `next_cursor` is for the next page, None on the last one. `total` is how many
 * there are in all, of the same snapshot of the database; None where they were not counted: see `list_sessions`.
 */
export interface SessionPage {
  readonly items: ReadonlyArray<SessionSummary>;
  readonly total: number | null;
  readonly next_cursor: string | null;
}

/**
 * One line of a list of sessions, without messages. While an answer is streaming, `updated_at` may lag by a
 * second. `turn_status` is how far the latest turn is; None where that is not known, as in an empty session, or where
 * an older version of turnlog wrote last.
 */
export interface SessionSummary {
  readonly session_id: string;
  readonly user_id: string | null;
  readonly title: string | null;
  readonly started_at: string;
  readonly updated_at: string;
  readonly version: number;
  readonly turn_status: "open" | "queued" | "answering" | "running_tools" | "waiting" | "finished" | "interrupted" | "stopped" | "failed" | "abandoned" | null;
}

/**
 * The whole session at `version`, the position of its last event.
 */
export interface SessionView {
  readonly session_id: string;
  readonly user_id: string | null;
  readonly title: string | null;
  readonly metadata: Readonly<Record<string, Json>>;
  readonly counters: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly version: number;
  readonly started_at: string;
  readonly updated_at: string;
  readonly turns: ReadonlyArray<Turn>;
  readonly usage: Usage;
  readonly compaction: Compaction | null;
}

/**
 * One LLM response.
 *
 * `position` is that of the event which opened it; `note` says why it was interrupted, failed or abandoned, and
 * `failure` what the provider said. `tool_results` are in the order in which the calls were first answered.
 *
 * `details` is what the provider said of the response besides. `supersedes` is an earlier step, which broke off and
 * whose answer is made again by this one; `continues` is one that this step goes on with. `tool_runs` and `approvals`
 * are those of its calls, in the order of the log.
 */
export interface Step {
  readonly step_id: string;
  readonly position: number;
  readonly message: StepMessage;
  readonly tool_results: ReadonlyArray<ToolResult>;
  readonly status: "open" | "finished" | "interrupted" | "failed" | "abandoned";
  readonly finish_reason: string | null;
  readonly note: string | null;
  readonly model: string | null;
  readonly response_id: string | null;
  readonly usage: Readonly<Record<string, Json>> | null;
  readonly details: Readonly<Record<string, Json>> | null;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly origin: "chat" | "anthropic" | "responses" | "rows" | "chatgpt" | "claude_ai" | "claude_code" | "librechat" | "open_webui" | "ui" | "langchain" | "pydantic_ai" | "gemini" | null;
  readonly failure: Readonly<Record<string, Json>> | null;
  readonly supersedes: string | null;
  readonly continues: string | null;
  readonly tool_runs: ReadonlyArray<ToolRun>;
  readonly approvals: ReadonlyArray<Approval>;
}

/**
 * An answer has ended. `note` says why, unless it was finished; `failure` is what the provider said, and `details`
 * what it said of the response besides. `meaning` is that of the finish reason; `tokens` are those of the usage, under
 * the names of `Usage`.
 */
export interface StepEnded {
  readonly kind: "step_ended";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly status: "open" | "finished" | "interrupted" | "failed" | "abandoned";
  readonly finish_reason: string | null;
  readonly meaning: "whole" | "calls" | "cut_off" | "filtered" | "refused" | "paused" | "failed" | null;
  readonly note: string | null;
  readonly model: string | null;
  readonly usage: Readonly<Record<string, Json>> | null;
  readonly failure: Readonly<Record<string, Json>> | null;
  readonly response_id: string | null;
  readonly details: Readonly<Record<string, Json>> | null;
  readonly tokens: Readonly<Record<string, number>> | null;
}

/**
 * The assistant message of a step. `content` is None when no text came; texts are byte for byte as sent.
 *
 * `parts` is the same in the order in which the model made it, with all that the provider said. `layout` is how that
 * is kept: see PartMark. It is empty where there is one part of each kind.
 */
export interface StepMessage {
  readonly role: "assistant";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>> | null;
  readonly refusal: string | null;
  readonly reasoning: string | null;
  readonly reasoning_details: ReadonlyArray<Readonly<Record<string, Json>>>;
  readonly tool_calls: ReadonlyArray<StepToolCall>;
  readonly function_call: FunctionCall | null;
  readonly name: string | null;
  readonly layout: ReadonlyArray<PartMark>;
  readonly parts: ReadonlyArray<Part>;
}

/**
 * An answer begins: in the turn `turn_id`, or without an owner. The text of the step that it `supersedes` is gone;
 * that of the one that it `continues` stays, and this one goes on with it.
 */
export interface StepStarted {
  readonly kind: "step_started";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly model: string | null;
  readonly turn_id: string | null;
  readonly supersedes: string | null;
  readonly continues: string | null;
}

/**
 * A tool call of a step. `index` identifies it there, because ids may be missing or come back. The `arguments` of a
 * `custom` tool are any text, and not JSON.
 *
 * `cut_off`: the step ended before the arguments were whole. Nobody has to run such a call, and prompts leave it out.
 */
export interface StepToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
  readonly index: number;
  readonly custom: boolean;
  readonly cut_off: boolean;
}

/**
 * A piece of the answer's text, reasoning or refusal. `details` are signed or encrypted blocks of reasoning.
 */
export interface TextFragment {
  readonly kind: "text" | "reasoning" | "refusal";
  readonly position: number;
  readonly step_id: string;
  readonly offset: number;
  readonly text: string;
  readonly details: ReadonlyArray<Readonly<Record<string, Json>>>;
}

/**
 * A whole tool call, as it stands in an assistant message. `arguments` is the raw string.
 */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/**
 * A piece of the call at `index`: of its arguments, or its id and name, which are whole; None where unchanged. The
 * first piece of a call says whether it is `custom`.
 */
export interface ToolCallFragment {
  readonly kind: "tool_call";
  readonly position: number;
  readonly step_id: string;
  readonly index: number;
  readonly id: string | null;
  readonly name: string | null;
  readonly custom: boolean | null;
  readonly offset: number;
  readonly arguments: string;
}

/**
 * The latest result of a call. `index` names the call inside its step. A repair makes up the synthetic ones.
 *
 * `sent` is what prompts go on to have in its place: the model had gone on before it came (see LateResult).
 * `was_missing`: the model had gone on without even a pending one. `data` is what its API says of it besides.
 * `origin`, here and below, is the format of an imported message; None for what was recorded.
 */
export interface ToolResult {
  readonly call_id: string;
  readonly index: number;
  readonly status: "pending" | "final" | "error" | "synthetic";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>>;
  readonly position: number;
  readonly at: string;
  readonly sent: string | ReadonlyArray<Readonly<Record<string, Json>>> | null;
  readonly was_missing: boolean;
  readonly data: Readonly<Record<string, Json>>;
  readonly origin: "chat" | "anthropic" | "responses" | "rows" | "chatgpt" | "claude_ai" | "claude_code" | "librechat" | "open_webui" | "ui" | "langchain" | "pydantic_ai" | "gemini" | null;
}

/**
 * A result of the call at `index`. It replaces an earlier one. A `late` one came when the model had gone on; one
 * that is not pending stands where it came, too, as a message in the turn (see `LateResult`).
 */
export interface ToolResultCame {
  readonly kind: "tool_result";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly index: number;
  readonly call_id: string;
  readonly status: "pending" | "final" | "error";
  readonly content: string | ReadonlyArray<Readonly<Record<string, Json>>>;
  readonly late: boolean;
}

/**
 * A tool was started for the call at `index`, for the `attempt`-th time, by the owner of the turn in this `run`.
 * `late`, here and in Approval: the model had gone on by then, and prompts go on to say of the call what they said.
 */
export interface ToolRun {
  readonly index: number;
  readonly attempt: number;
  readonly run: string;
  readonly position: number;
  readonly at: string;
  readonly late: boolean;
}

/**
 * The tool of the call at `index` begins to run, for the `attempt`-th time.
 */
export interface ToolStarted {
  readonly kind: "tool_started";
  readonly position: number;
  readonly at: string;
  readonly step_id: string;
  readonly index: number;
  readonly call_id: string;
  readonly run: string;
  readonly attempt: number;
}

/**
 * What the user sent and what answered it. `position` is that of the last event that changed or closed the turn.
 *
 * `turn_id` and `runs` are there if it has had an owner; `is_queued` if it waits for the turn in hand; `has_news` if
 * it has ended, and somebody has to go on with it because of what has come since: a message, a result, a decision.
 * `orphans` are imported results without a call, `flaws` what was found wrong while events were read. In a SessionView
 * the repairs have been applied, and `faults` are those that remain.
 */
export interface Turn {
  readonly index: number;
  readonly position: number;
  readonly messages: ReadonlyArray<Message>;
  readonly steps: ReadonlyArray<Step>;
  readonly turn_id: string | null;
  readonly runs: ReadonlyArray<TurnRun>;
  readonly is_queued: boolean;
  readonly has_news: boolean;
  readonly late_results: ReadonlyArray<LateResult>;
  readonly usage_reports: ReadonlyArray<UsageEntry>;
  readonly orphans: ReadonlyArray<ToolResult>;
  readonly flaws: ReadonlyArray<Fault>;
  readonly faults: ReadonlyArray<Fault>;
  readonly repairs: ReadonlyArray<Repair>;
}

/**
 * A run of the turn is over: see `TurnRun`. A message that was queued is stopped in a run without an id.
 */
export interface TurnEnded {
  readonly kind: "turn_ended";
  readonly position: number;
  readonly at: string;
  readonly turn_id: string;
  readonly run: string;
  readonly status: "finished" | "waiting" | "stopped" | "failed" | "abandoned";
  readonly reason: string;
}

/**
 * The time for which one owner had the turn in hand. `status` is how that ended; None while it is in hand.
 */
export interface TurnRun {
  readonly run: string;
  readonly writer: string;
  readonly position: number;
  readonly started_at: string;
  readonly status: "finished" | "waiting" | "stopped" | "failed" | "abandoned" | null;
  readonly reason: string;
  readonly ended_position: number | null;
  readonly ended_at: string | null;
}

/**
 * Somebody begins to answer, or goes on: the message of the id `turn_id`, in this `run`. What that message and
 * those before it in the queue had to wait for is over.
 */
export interface TurnStarted {
  readonly kind: "turn_started";
  readonly position: number;
  readonly at: string;
  readonly turn_id: string;
  readonly run: string;
  readonly writer: string;
}

/**
 * Totals over all entries, in tokens.
 */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly cached_tokens: number;
  readonly reasoning_tokens: number;
  readonly entries: ReadonlyArray<UsageEntry>;
}

/**
 * One usage report, verbatim. `step_id` is None for usage that was reported outside a step.
 */
export interface UsageEntry {
  readonly step_id: string | null;
  readonly position: number;
  readonly model: string | null;
  readonly usage: Readonly<Record<string, Json>>;
}

/** What a client is told of one event. `kind` tells which one it is. */
export type Delta = TurnStarted | TurnEnded | StepStarted | TextFragment | ToolCallFragment | FunctionCallFragment | PartStarted | PartFragment | PartExtended | StepEnded | MessageCame | ToolStarted | ApprovalRequested | ApprovalDecided | ToolResultCame | SessionChanged | SessionGone;
