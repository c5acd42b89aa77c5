/**
 * turnlog.js: a session of a turnlog in a page, or in Node: followed as it grows, and written to.
 *
 *     import { Turnlog } from "/turnlog.js";
 *     const session = new Turnlog("", { token }).session(id);
 *     await session.follow({ onChange: (view) => render(view) });
 *
 * One module, without dependencies and without a build. Types are in turnlog.d.ts.
 *
 * A view is plain data, and never changes: each delta gives another one, which shares with the one before all that has
 * stayed the same. So `===` tells what has to be drawn again. Its texts are those that the server has. `offset` and
 * `length`, where deltas and layouts have them, count code points as Python does; see `codePoints`.
 */

// ---------------------------------------------------------------------------------------------------------------------
// Errors

/** What all errors of this module are. */
export class TurnlogError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * The server has refused this. `kind` tells refusals apart ("session-not-found"), `status` is that of HTTP, and `problem`
 * has all members of the problem (RFC 9457).
 */
export class ProblemError extends TurnlogError {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
    this.status = problem.status;
    this.kind = String(problem.type ?? "").replace("urn:turnlog:problem:", "");
  }
}

/** The server was not reached, or the connection broke: whether it has done this, the same again finds out. */
export class UnreachableError extends TurnlogError {}

// ---------------------------------------------------------------------------------------------------------------------
// The log

const TRIES = 4; // of a request that may be sent again
const FIRST_WAIT = 250; // milliseconds
const LONGEST_WAIT = 10_000;
const OPENING_MS = 5_000; // within which a stream says its first word, unless something holds it back
const SILENCE_MS = 45_000; // three heartbeats: then the connection is dead
const POLL_SECONDS = 20;

/** A log that is served at `base`: "" for the page's own server, or "https://host/prefix". */
export class Turnlog {
  constructor(base = "", { token, headers = {}, fetch = (...all) => globalThis.fetch(...all) } = {}) {
    this._base = String(base).replace(/\/+$/, "");
    this._token = token;
    this._headers = headers;
    this._fetch = fetch;
  }

  /** The session with this id. Nothing is asked yet. */
  session(id) {
    return new Session(this, id);
  }

  /** A new session. Sent again, it is the same one. */
  async start({ title, metadata, signal } = {}) {
    const made = await this.request("POST", "/sessions", { body: { title, metadata }, key: newId(), signal });
    return this.session(made.session_id);
  }

  /** A page of the sessions of whoever asks, newest activity first. */
  async sessions({ limit = 50, cursor, status = [], signal } = {}) {
    const query = new URLSearchParams({ limit });
    if (cursor) query.set("cursor", cursor);
    for (const one of [status].flat()) query.append("status", one);
    return this.request("GET", `/sessions?${query}`, { signal });
  }

  /**
   * Asks any route, and gives what its JSON says. `key` is the Idempotency-Key. A request that may be sent twice (GET, PUT,
   * DELETE, or with a key, or `again`) is sent up to four times. Throws ProblemError, UnreachableError.
   */
  async request(method, path, { body, key, again = method !== "POST" && method !== "PATCH", signal } = {}) {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    if (key !== undefined) headers["idempotency-key"] = key;
    const tries = again || key !== undefined ? TRIES : 1;
    for (let tried = 1; ; tried++) {
      try {
        const answer = await this.open(method, path, { headers, body: JSON.stringify(body), signal });
        return answer.status === 204 ? undefined : await read(answer, "json", signal);
      } catch (error) {
        if (tried >= tries || !mayPass(error)) throw error;
      }
      await pause(waitOf(tried), signal);
    }
  }

  /** A response that was not refused. Throws ProblemError, UnreachableError. */
  async open(method, path, { headers = {}, body, signal } = {}) {
    const token = typeof this._token === "function" ? await this._token() : this._token;
    const all = { ...this._headers, ...headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
    let answer;
    try {
      answer = await this._fetch(this._base + path, { method, headers: all, body, signal, cache: "no-store" });
    } catch (error) {
      signal?.throwIfAborted();
      throw new UnreachableError("the server was not reached", { cause: error });
    }
    if (!answer.ok) throw new ProblemError(await problemOf(answer));
    return answer;
  }
}

async function problemOf(answer) {
  const said = await answer.json().catch(() => null);
  const known = said !== null && typeof said === "object" ? said : {};
  return { type: "about:blank", title: answer.statusText || "refused", ...known, status: answer.status };
}

async function read(answer, how, signal) {
  try {
    return await answer[how]();
  } catch (error) {
    signal?.throwIfAborted();
    throw new UnreachableError("the answer broke off", { cause: error });
  }
}

/** Whether the same may be granted a moment later. */
function mayPass(error) {
  return error instanceof UnreachableError || (error instanceof ProblemError && [429, 502, 503, 504].includes(error.status));
}

/** Milliseconds to wait before the next attempt: longer each time, and not the same for all who lost one server. */
function waitOf(attempt) {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const left = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", left);
      resolve();
    }, milliseconds);
    if (signal?.aborted) left();
    else signal?.addEventListener("abort", left, { once: true });
  });
}

/** An id that nothing else has. (`crypto.randomUUID` is there for pages over https alone.) */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A session of the log. */
export class Session {
  constructor(log, id) {
    this._log = log;
    this.id = id;
    this._path = `/sessions/${encodeURIComponent(id)}`;
  }

  _ask(method, path, body, more) {
    return this._log.request(method, this._path + path, { body, ...more });
  }

  /** The session as it is now. */
  view({ signal } = {}) {
    return this._ask("GET", "", undefined, { signal });
  }

  /** The session as it was after the event at a position. */
  at(version, { signal } = {}) {
    return this._ask("GET", `/versions/${version}`, undefined, { signal });
  }

  /** Says something as the user. `onBusy`: what becomes of it while a turn is in hand (steer, queue, stop). */
  send(content, { messageId = newId(), onBusy, signal } = {}) {
    return this._ask("POST", "/messages", { content, message_id: messageId, on_busy: onBusy }, { again: true, signal });
  }

  /** Stops the turn, wherever it is answered; with a `turnId` that one alone. Gives `{ stopped }`. */
  stop({ reason, turnId, signal } = {}) {
    return this._ask("POST", "/cancel", { reason, turn_id: turnId }, { again: turnId !== undefined, signal });
  }

  /** Answers a tool call. */
  toolResult(callId, content, { status, stepId, signal } = {}) {
    const body = { call_id: callId, content, status, step_id: stepId };
    return this._ask("POST", "/tool-results", body, { again: true, signal });
  }

  /** Allows a call that waits for a decision; `forTurn`: and all others of its tool in the turn. */
  approve(callId, { reason, stepId, forTurn, signal } = {}) {
    const body = { call_id: callId, reason, step_id: stepId, for_turn: forTurn };
    return this._ask("POST", "/approve", body, { again: true, signal });
  }

  /** Refuses a call that waits for a decision. The model reads the reason. */
  refuse(callId, { reason, stepId, signal } = {}) {
    return this._ask("POST", "/refuse", { call_id: callId, reason, step_id: stepId }, { again: true, signal });
  }

  /** Sets the title; with `onlyIfEmpty` only where there is none. */
  setTitle(title, { onlyIfEmpty, signal } = {}) {
    return this._ask("PUT", "/title", { title, only_if_empty: onlyIfEmpty }, { signal });
  }

  /** Merges a JSON Merge Patch into the metadata. */
  setMetadata(patch, { signal } = {}) {
    return this._ask("PATCH", "/metadata", patch, { again: true, signal });
  }

  /** Deletes the session. */
  delete({ signal } = {}) {
    return this._ask("DELETE", "", undefined, { again: false, signal });
  }

  /**
   * Follows the session until its turn has ended, or with `until: "session"` until it is deleted, and gives what the end
   * says: `{ turn_id, status, reason }`. `onChange(view, deltas)` is called with the view, and again whenever deltas have
   * changed it: once for those that came together. `deltas` are those that led to it, none where it was read anew.
   *
   * `view` is one to begin with. A connection that is lost is opened again, for as long as it takes: `onConnection(true)`
   * says that there is one, `onConnection(false, error)` that there is none. `by` is "sse", "ndjson" or "poll"; a stream
   * that something on the way holds back is given up for polling. Throws ProblemError where the session is not found, or
   * not for whoever asks, and the signal's reason.
   */
  follow(options = {}) {
    return new Following(this._log, this, options).run();
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Following

class Following {
  constructor(log, session, { view, onChange, onConnection, until = "turn", by = "sse", signal }) {
    this._log = log;
    this._session = session;
    this._view = view;
    this._cursor = view === undefined ? undefined : String(view.version);
    this._onChange = onChange ?? (() => {});
    this._onConnection = onConnection ?? (() => {});
    this._until = until;
    this._by = by;
    this._signal = signal;
    this._lost = 0; // connections in a row that brought nothing
    this._isConnected = false;
  }

  async run() {
    for (;;) {
      try {
        await this._begin();
        const end = await (this._by === "poll" ? this._poll() : this._stream());
        if (end !== undefined) return end;
        this._disconnected();
      } catch (error) {
        this._signal?.throwIfAborted();
        if (error instanceof ProblemError && error.status === 410) this._cursor = undefined;
        else if (!mayPass(error)) throw error;
        this._disconnected(error);
      }
      await pause(waitOf(++this._lost), this._signal);
    }
  }

  /** Has a view from which to go on: the one that is there, unless the log went back. */
  async _begin() {
    if (this._cursor === undefined) await this._readAnew();
    else if (this._lost === 0 && !this._wasShown) this._show([]);
  }

  async _readAnew() {
    this._view = await this._session.view({ signal: this._signal });
    this._cursor = String(this._view.version);
    this._show([]);
  }

  _show(deltas) {
    this._wasShown = true;
    this._onChange(this._view, deltas);
  }

  _connected() {
    if (!this._isConnected) this._onConnection(true);
    this._isConnected = true;
  }

  _disconnected(error) {
    if (this._isConnected || error) this._onConnection(false, error);
    this._isConnected = false;
  }

  _deltas(query) {
    return `${this._session._path}/deltas?after=${encodeURIComponent(this._cursor)}&${query}`;
  }

  /** Follows a stream to its end. Gives what its end says; undefined where it broke off. */
  async _stream() {
    const lines = this._by === "ndjson";
    const headers = { accept: lines ? "application/x-ndjson" : "text/event-stream" };
    const gone = new AbortController();
    const leave = () => gone.abort(this._signal.reason);
    this._signal?.addEventListener("abort", leave, { once: true });
    try {
      const answer = await this._log.open("GET", this._deltas(`until=${this._until}`), { headers, signal: gone.signal });
      return await this._follow(answer, lines ? lineItems() : sseItems(), gone);
    } finally {
      this._signal?.removeEventListener("abort", leave);
      gone.abort(); // also where the reader of the view has thrown
    }
  }

  async _follow(answer, itemsOf, gone) {
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let limit = this._by === "sse" ? OPENING_MS : SILENCE_MS;
    for (;;) {
      const { value, done } = await within(limit, reader.read(), gone);
      if (value === undefined && !done) {
        if (limit === OPENING_MS) this._by = "poll"; // a proxy keeps it until it is whole
        throw new UnreachableError("nothing came");
      }
      if (done) return undefined;
      limit = SILENCE_MS;
      this._connected();
      const end = await this._take(itemsOf(decoder.decode(value, { stream: true })));
      if (end !== undefined) return end;
    }
  }

  /** Asks for what has come since, and waits where there is nothing. It knows no end but that of the session. */
  async _poll() {
    for (;;) {
      const page = await this._log.request("GET", this._deltas(`limit=1000&wait=${POLL_SECONDS}`), { signal: this._signal });
      this._connected();
      const end = await this._take(page.items);
      if (end !== undefined) return end;
      this._cursor = page.cursor;
      const last = page.items.at(-1) ?? {};
      if (last.kind === "deleted") return { turn_id: null, status: "deleted", reason: "" };
      if (this._until === "turn" && page.items.length === 0 && hasEnded(this._view)) return endOf(this._view);
    }
  }

  /** Folds items in. Gives what an end says. */
  async _take(items) {
    const folded = [];
    let end;
    for (const { cursor, ...delta } of items) {
      if (delta.kind === "heartbeat") continue;
      if (delta.kind === "end") {
        end = { turn_id: delta.turn_id, status: delta.status, reason: delta.reason };
        break;
      }
      this._lost = 0;
      const next = applyDelta(this._view, delta);
      if (next === null) {
        if (folded.length) this._show(folded.splice(0));
        await this._readAnew();
      } else if (next !== this._view) {
        this._view = next;
        folded.push(delta);
      }
      if (delta.position >= this._view.version) this._cursor = cursor;
    }
    if (folded.length) this._show(folded);
    return end;
  }
}

/** What the promise gives, or `{}` where it takes too long. */
async function within(milliseconds, promise, gone) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(() => resolve({}), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    gone.signal.throwIfAborted();
    throw new UnreachableError("the stream broke off", { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

/** Gives the items that are whole with each piece of lines of JSON. */
function lineItems() {
  const linesOf = whole("\n");
  return (piece) => linesOf(piece).filter((line) => line.trim()).map((line) => JSON.parse(line));
}

/** The same for server-sent events. What has no data is a comment, or says when to come back. */
function sseItems() {
  const linesOf = whole("\n");
  let event = {};
  return (piece) => {
    const items = [];
    for (const line of linesOf(piece)) {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      if (text !== "") {
        const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(text);
        event[field] = field === "data" && "data" in event ? `${event.data}\n${value}` : value;
        continue;
      }
      if ("data" in event) items.push({ kind: event.event, ...JSON.parse(event.data), cursor: event.id });
      event = {};
    }
    return items;
  };
}

/** Gives what is whole with each piece, and keeps the rest for the next one. */
function whole(separator) {
  let rest = [];
  return (piece) => {
    const parts = piece.split(separator);
    if (parts.length === 1) {
      rest.push(piece);
      return [];
    }
    parts[0] = rest.join("") + parts[0];
    rest = [parts.pop()];
    return parts;
  };
}

// ---------------------------------------------------------------------------------------------------------------------
// What a view says of its turns

/** The steps of a view, in order. */
export function stepsOf(view) {
  return view.turns.flatMap((turn) => turn.steps);
}

/** How far a turn is: see `TurnStatus` in turnlog.d.ts. */
export function turnStatus(turn) {
  if (turn.is_queued) return "queued";
  const last = turn.steps.at(-1);
  const run = runOf(turn);
  if (run !== undefined) return statusOfRun(turn, run, last);
  if (last === undefined || turn.steps.some((step) => step.status === "open")) return "open";
  return last.status === "finished" && hasUnanswered(last) ? "open" : last.status;
}

/** The latest run, unless steps without an owner have followed it. */
function runOf(turn) {
  const run = turn.runs.at(-1);
  if (run === undefined || run.ended_position === null || turn.steps.length === 0) return run;
  return turn.steps.at(-1).position > run.ended_position ? undefined : run;
}

function statusOfRun(turn, run, last) {
  if (run.status === null) return last?.status === "finished" && hasUnanswered(last) ? "running_tools" : "answering";
  if (run.status !== "finished" && run.status !== "waiting") return run.status;
  if (turn.has_news) return "queued";
  return run.status === "waiting" && turn.steps.some((step) => waitingCalls(step).length) ? "waiting" : "finished";
}

function hasUnanswered(step) {
  const answered = new Set(step.tool_results.map((result) => result.index));
  return step.message.tool_calls.some((call) => !call.cut_off && !answered.has(call.index));
}

/** The calls of a step that somebody outside is waited for: `{ call, waitsFor: "result" | "decision" }`. */
export function waitingCalls(step) {
  const results = new Map(step.tool_results.map((result) => [result.index, result]));
  const undecided = new Set(step.approvals.filter((one) => one.approved === null).map((one) => one.index));
  return step.message.tool_calls.flatMap((call) => {
    if (results.get(call.index)?.status === "pending") return [{ call, waitsFor: "result" }];
    return undecided.has(call.index) && !results.has(call.index) ? [{ call, waitsFor: "decision" }] : [];
  });
}

/** Whether the last turn has ended, as a stream has it. */
function hasEnded(view) {
  const last = view.turns.at(-1);
  if (last === undefined) return false;
  const status = turnStatus(last);
  if (runOf(last) !== undefined) return ["finished", "stopped", "failed"].includes(status);
  if (status === "open" || status === "queued") return false;
  const message = last.steps.at(-1).message;
  return status !== "finished" || !(message.function_call || message.tool_calls.some((call) => !call.cut_off));
}

function endOf(view) {
  const last = view.turns.at(-1);
  const reason = last.runs.length ? last.runs.at(-1).reason : (last.steps.at(-1).note ?? "");
  return { turn_id: last.turn_id, status: turnStatus(last), reason };
}

/**
 * The length of a text as Python counts it: in code points. A character whose halves came in two deltas counts as two
 * there, and as one here.
 */
export function codePoints(text) {
  let count = text.length;
  for (let at = text.length - 1; at > 0; at--) {
    if ((text.charCodeAt(at) & 0xfc00) === 0xdc00 && (text.charCodeAt(at - 1) & 0xfc00) === 0xd800) {
      count--;
      at--;
    }
  }
  return count;
}

// ---------------------------------------------------------------------------------------------------------------------
// The fold

/**
 * The view after a delta: pure, and in a time that does not grow with the texts. One that the view has already changes
 * nothing. null: the delta does not say all that it changes (an import, a repair, a result that came late), or one before
 * it is missing; then the view is to be read anew.
 *
 * `updated_at` is that of the last delta that says when it was: pieces of an answer do not.
 */
export function applyDelta(view, delta) {
  if (delta.position <= view.version) return view;
  if (delta.position > view.version + 1) return null;
  const fold = FOLDS[delta.kind];
  if (fold === undefined) return null;
  const draft = new Draft(view, delta.position);
  try {
    fold(draft, delta);
  } catch (error) {
    if (error === UNTOLD) return null;
    throw error;
  }
  return draft.done(delta);
}

const UNTOLD = new TurnlogError("the view is to be read anew");

function isTold(condition) {
  if (!condition) throw UNTOLD;
}

/** A view in which one event is being folded. */
class Draft {
  constructor(view, position) {
    this.view = view;
    this.position = position;
    this.turns = view.turns;
    this.changes = {};
    this.marks = false; // whether the queued messages may have changed
  }

  done(delta) {
    if (this.marks) this._markQueued();
    const updated_at = delta.at ?? this.view.updated_at;
    return { ...this.view, ...this.changes, turns: this.turns, version: this.position, updated_at };
  }

  /** Changes a turn, or only notes that the event has to do with it. */
  turn(index, changes = {}) {
    this._own();
    return (this.turns[index] = { ...this.turns[index], ...changes, position: this.position });
  }

  /** The same for what may change the faults of an imported turn, which the server alone finds. */
  settledTurn(index, changes) {
    isTold(!isForeign(this.turns[index]));
    return this.turn(index, changes);
  }

  _own() {
    if (this.turns === this.view.turns) this.turns = this.view.turns.slice();
  }

  /** Where a step is. */
  find(stepId) {
    for (let turn = this.turns.length - 1; turn >= 0; turn--) {
      const { steps } = this.turns[turn];
      for (let number = steps.length - 1; number >= 0; number--) {
        if (steps[number].step_id === stepId) return { turn, number, step: steps[number] };
      }
    }
    throw UNTOLD;
  }

  has(stepId) {
    return this.turns.some((turn) => turn.steps.some((step) => step.step_id === stepId));
  }

  setStep({ turn, number, step }, changes) {
    const steps = this.turns[turn].steps.slice();
    steps[number] = { ...step, ...changes };
    this.turn(turn, { steps });
  }

  /** The last step of the session. */
  get lastStep() {
    return this.turns.findLast((turn) => turn.steps.length)?.steps.at(-1);
  }

  /** The index of the turn that has an owner now; -1 where none has. */
  get inHand() {
    return this.turns.findLastIndex((turn) => turn.runs.at(-1)?.status === null);
  }

  /** The index of the latest turn that has begun: those behind it are queued, or were stopped there. */
  get begunLast() {
    const begun = this.turns.findLastIndex((turn) => !isBehind(turn));
    return begun < 0 ? this.turns.length - 1 : begun;
  }

  /** The index of the turn with an owner that ended last, unless steps without one have followed; -1 for none. */
  get idle() {
    let found = -1;
    let latest;
    this.turns.forEach((turn, index) => {
      for (const run of turn.runs) {
        if (run.writer && (latest === undefined || run.position > latest.position)) [found, latest] = [index, run];
      }
    });
    if (found < 0 || latest.status === null) return -1;
    return (this.lastStep?.position ?? 0) > latest.ended_position ? -1 : found;
  }

  /** The index of the idle turn, if a message of the user goes there; else -1, and it begins a turn. */
  get joined() {
    const index = this.idle;
    if (index < 0) return -1;
    const turn = this.turns[index];
    return turn.has_news || turn.runs.at(-1).status === "abandoned" ? index : -1;
  }

  append(changes = {}) {
    const begunLast = this.begunLast;
    this._own();
    this.turns.push({ ...EMPTY_TURN, index: this.turns.length, position: this.position, ...changes });
    this.closeFrom(begunLast);
    return this.turns.length - 1;
  }

  /** Notes that the turns from here on were closed: a later one began. */
  closeFrom(index) {
    const end = this.begunLast;
    for (let closed = Math.max(0, index); closed < end; closed++) this.turn(closed);
  }

  /** Nobody has to go on with any turn for the sake of what came before. */
  clearNews() {
    this.turns.forEach((turn, index) => {
      if (turn.has_news) {
        this._own();
        this.turns[index] = { ...turn, has_news: false };
      }
    });
  }

  /** Marks the messages that no request has had yet. */
  _markQueued() {
    const last = this.lastStep;
    const waits = last?.status === "open" || (last?.status === "finished" && last.origin === null && hasUnanswered(last));
    let left = 2; // the turn of the last step, and the one that had it before: what is before them was read long ago
    for (let index = this.turns.length - 1; index >= 0 && left > 0; index--) {
      const turn = this.turns[index];
      const after = turn.is_queued ? 0 : waits ? last.position : Infinity;
      if (turn.messages.some((message) => message.queued !== message.position > after)) {
        this._own();
        const messages = turn.messages.map((message) => ({ ...message, queued: message.position > after }));
        this.turns[index] = { ...turn, messages };
      }
      if (turn.steps.length) left--;
    }
  }

  addUsage(entry, tokens) {
    const { entries, ...totals } = this.changes.usage ?? this.view.usage;
    const at = entries.findLastIndex((one) => one.position <= entry.position) + 1;
    const usage = { entries: [...entries.slice(0, at), entry, ...entries.slice(at)] };
    for (const [name, total] of Object.entries(totals)) usage[name] = total + (tokens[name] ?? 0);
    this.changes.usage = usage;
  }
}

const EMPTY_TURN = {
  index: 0,
  position: 0,
  messages: [],
  steps: [],
  turn_id: null,
  runs: [],
  is_queued: false,
  has_news: false,
  late_results: [],
  usage_reports: [],
  orphans: [],
  flaws: [],
  faults: [],
  repairs: [],
};

function isBehind(turn) {
  return turn.is_queued || (turn.runs.length > 0 && turn.steps.length === 0 && !turn.runs.at(-1).writer);
}

/** Whether a turn has something imported, or repaired. */
function isForeign(turn) {
  if (turn.repairs.length || turn.orphans.length) return true;
  return turn.messages.some((message) => message.origin !== null) || turn.steps.some((step) => step.origin !== null);
}

function answers(turn, turnId) {
  return turn.turn_id === turnId || turn.messages.some((message) => message.message_id === turnId);
}

// Turns and messages

/** The index of the turn that answers this message: in the queue, in hand, or the latest that has begun; -1 for none. */
function turnOf(draft, turnId) {
  const queued = draft.turns.findIndex((turn) => turn.is_queued && turn.messages[0]?.message_id === turnId);
  if (queued >= 0) return queued;
  const inHand = draft.inHand;
  if (inHand >= 0 && answers(draft.turns[inHand], turnId)) return inHand;
  for (let index = draft.turns.length - 1; index >= 0; index--) {
    const turn = draft.turns[index];
    if (!turn.is_queued && answers(turn, turnId)) return index;
    if (turn.steps.length) break;
  }
  return -1;
}

function turnStarted(draft, { turn_id, run, writer, position, at }) {
  const inHand = draft.inHand;
  if (inHand >= 0) endRun(draft, inHand, { status: "abandoned", reason: "", position, at });
  const found = turnOf(draft, turn_id);
  isTold(found >= 0);
  const begunLast = draft.begunLast;
  const started = { run, writer, position, started_at: at, ...NOT_ENDED };
  draft.clearNews();
  draft.settledTurn(found, { turn_id, is_queued: false, runs: [...draft.turns[found].runs, started] });
  draft.closeFrom(begunLast);
  draft.marks = true;
}

const NOT_ENDED = { status: null, reason: "", ended_position: null, ended_at: null };

function endRun(draft, index, { status, reason, position, at }) {
  const { runs } = draft.turns[index];
  const ended = { ...runs.at(-1), status, reason, ended_position: position, ended_at: at };
  draft.settledTurn(index, { runs: [...runs.slice(0, -1), ended] });
}

function turnEnded(draft, delta) {
  const index = turnOf(draft, delta.turn_id);
  isTold(index >= 0);
  const inHand = draft.inHand;
  if (draft.turns[index].is_queued) {
    isTold(inHand >= 0); // else another turn may be next
    const { turn_id, run, position, at } = delta;
    const stopped = { run, writer: "", position, started_at: at, ...NOT_ENDED };
    draft.settledTurn(index, { turn_id, is_queued: false, runs: [...draft.turns[index].runs, stopped] });
  } else {
    isTold(index === inHand && draft.turns[index].runs.at(-1).run === delta.run);
  }
  endRun(draft, index, delta);
  if (index === inHand && (delta.status === "finished" || delta.status === "waiting")) isTold(!mayHaveNews(draft, index));
  draft.marks = true;
}

/** Whether somebody may have to go on with a turn that ends: the server knows. */
function mayHaveNews(draft, index) {
  if (draft.turns.some((turn) => turn.is_queued)) return false;
  if (draft.turns[index].steps.length === 0) return true;
  const last = draft.lastStep.position;
  return draft.turns.some(
    (turn) =>
      turn.messages.some((message) => message.role === "user" && message.position > last) ||
      turn.late_results.some((result) => result.position > last) ||
      turn.steps.some(isAllowedToRun),
  );
}

function isAllowedToRun(step) {
  return step.approvals.some((one) => one.approved && !step.tool_results.some((result) => result.index === one.index));
}

function messageCame(draft, delta) {
  if (delta.role === "assistant") {
    addStep(draft, wholeStep(delta), undefined);
    return;
  }
  const { message_id, position, role, content, name, at } = delta;
  const message = { message_id, position, role, content, name, at, origin: null, queued: false };
  const isUsers = role === "user";
  let index = draft.inHand;
  const joins = index >= 0 || draft.joined >= 0;
  if (index < 0) {
    const queued = joins ? -1 : draft.turns.findLastIndex((turn) => turn.is_queued);
    index = queued >= 0 ? queued : draft.begunLast;
  }
  if (index < 0) index = draft.append();
  const turn = draft.settledTurn(index);
  if (isUsers && delta.queued && !isInQueue(draft, message_id)) {
    isTold(!draft.turns.some((one) => one.has_news));
    index = draft.append({ is_queued: true });
  } else if (isUsers && !joins && (turn.steps.length || turn.runs.length)) {
    index = draft.append();
  }
  draft.turn(index, { messages: [...draft.turns[index].messages, message] });
  draft.marks = true;
}

function isInQueue(draft, messageId) {
  return draft.turns.some((turn) => turn.is_queued && turn.messages[0]?.message_id === messageId);
}

// Steps

function stepStarted(draft, { step_id, position, model, at, supersedes, continues, turn_id }) {
  const message = { ...EMPTY_MESSAGE };
  const step = { ...EMPTY_STEP, step_id, position, message, status: "open", model, started_at: at, supersedes, continues };
  addStep(draft, step, turn_id ?? undefined);
}

const EMPTY_MESSAGE = {
  role: "assistant",
  content: null,
  refusal: null,
  reasoning: null,
  reasoning_details: [],
  tool_calls: [],
  function_call: null,
  name: null,
  layout: [],
  parts: [],
};

const EMPTY_STEP = {
  tool_results: [],
  finish_reason: null,
  note: null,
  model: null,
  response_id: null,
  usage: null,
  details: null,
  ended_at: null,
  origin: null,
  failure: null,
  supersedes: null,
  continues: null,
  tool_runs: [],
  approvals: [],
};

function wholeStep({ message_id, position, content, refusal, tool_calls, function_call, name, at }) {
  const calls = tool_calls.map((call, index) => ({ ...call, index, custom: false, cut_off: false }));
  const said = { ...EMPTY_MESSAGE, content, refusal, tool_calls: calls, function_call, name };
  const message = withUsualParts(said);
  return { ...EMPTY_STEP, step_id: message_id, position, message, status: "finished", started_at: at, ended_at: at };
}

function addStep(draft, step, turnId) {
  isTold(!draft.has(step.step_id));
  let index = draft.inHand;
  isTold(turnId === undefined || index >= 0);
  if (index < 0) {
    joinQueued(draft);
    draft.clearNews();
    index = draft.turns.length ? draft.turns.length - 1 : draft.append();
  } else {
    isTold(turnId !== undefined || !draft.turns.some((turn) => turn.is_queued));
  }
  draft.settledTurn(index, { steps: [...draft.turns[index].steps, step] });
  draft.marks = true;
}

/** A step without an owner answers all that is queued: it becomes one turn. */
function joinQueued(draft) {
  const first = draft.turns.findIndex((turn) => turn.is_queued);
  if (first < 0) return;
  const begunLast = draft.begunLast;
  let number = draft.turns.length;
  while (number > first && !draft.turns[number - 1].steps.length) number--;
  const joined = draft.turns.slice(number).map((turn) => ({ ...turn, is_queued: false }));
  isTold(joined.length > 0 && !joined.some(isForeign));
  draft.turns = [...draft.turns.slice(0, number).map((turn) => ({ ...turn, is_queued: false })), joined.reduce(absorb)];
  draft.closeFrom(begunLast);
}

function absorb(turn, other) {
  const inOrder = (field) => [...turn[field], ...other[field]].sort((a, b) => a.position - b.position);
  return {
    ...turn,
    turn_id: turn.turn_id ?? other.turn_id,
    messages: inOrder("messages"),
    late_results: inOrder("late_results"),
    runs: [...turn.runs, ...other.runs],
    usage_reports: [...turn.usage_reports, ...other.usage_reports],
    flaws: [...turn.flaws, ...other.flaws],
    faults: inOrder("faults"),
  };
}

function stepEnded(draft, delta) {
  const found = draft.find(delta.step_id);
  const { step, turn } = found;
  isTold(step.status === "open" && !isForeign(draft.turns[turn]));
  const { status, finish_reason, note, response_id, usage, details, failure, at } = delta;
  const isWhole = delta.meaning === "whole" || delta.meaning === "calls";
  const message = { ...step.message, tool_calls: endedCalls(step.message.tool_calls, isWhole) };
  const model = delta.model || step.model;
  const ended = { message, status, finish_reason, note, model, response_id, usage, details, failure, ended_at: at };
  draft.setStep(found, ended);
  if (delta.tokens) draft.addUsage({ step_id: step.step_id, position: step.position, model, usage }, delta.tokens);
  draft.marks = true;
}

/** The calls of a step that has ended: with the arguments that count, and with a mark where they were cut off. */
function endedCalls(calls, areWhole) {
  const last = calls.at(-1)?.index;
  return calls.map((call) => {
    const text = call.custom ? call.arguments : lastWhole(call.arguments);
    const isWhole = areWhole || (call.custom ? call.index !== last : isObject(text));
    return isWhole && text === call.arguments ? call : { ...call, arguments: text, cut_off: !isWhole };
  });
}

// Pieces of an answer

function fragment(change) {
  return (draft, delta) => {
    const found = draft.find(delta.step_id);
    const { step, turn } = found;
    isTold(step.status === "open");
    const message = change(step.message, delta);
    isTold(saysSomething(step.message) || !saysSomething(message) || !isForeign(draft.turns[turn]));
    draft.setStep(found, { message });
  };
}

function saysSomething({ content, refusal, tool_calls, function_call, layout }) {
  return Boolean(content || refusal || tool_calls.length || function_call || layout.some((mark) => SAYING.has(mark.kind)));
}

const SAYING = new Set(["server_call", "server_result", "image", "audio", "file"]);
const FIELDS = { text: "content", reasoning: "reasoning", refusal: "refusal" };

function grown(message, { kind, text, details = [] }) {
  const reasoning_details = details.length ? joinedDetails([...message.reasoning_details, ...details]) : message.reasoning_details;
  if (kind === "reasoning" && text === "") return { ...message, reasoning_details };
  const field = FIELDS[kind];
  const next = { ...message, reasoning_details, [field]: (message[field] ?? "") + text };
  return withGrownPart(next, kind, text);
}

/** The message whose last part of this kind goes on with this text; with such a part, where it had none. */
function withGrownPart(message, kind, text) {
  if (!message.layout.length) return withUsualParts(message);
  const known = message.layout.findLastIndex((mark) => mark.kind === kind);
  const { layout, parts } = known < 0 ? withMark(message, { ...EMPTY_MARK, kind }) : copied(message);
  const at = known < 0 ? layout.length - 1 : known;
  const number = partNumber(layout, at);
  layout[at] = { ...layout[at], length: layout[at].length + codePoints(text) };
  parts[number] = { ...parts[number], text: (parts[number].text ?? "") + text };
  return { ...message, layout, parts };
}

function callChanged(message, { index, id, name, custom, arguments: text }) {
  const calls = message.tool_calls.slice();
  const at = calls.findLastIndex((call) => call.index === index);
  const isNew = typeof custom === "boolean";
  isTold(isNew === at < 0);
  if (!isNew) {
    const call = calls[at];
    calls[at] = { ...call, id: id ?? call.id, name: name ?? call.name, arguments: call.arguments + text };
    return { ...message, tool_calls: calls };
  }
  calls.splice(calls.findLastIndex((call) => call.index < index) + 1, 0, {
    index, id: id ?? "", name: name ?? "", arguments: text, custom, cut_off: false,
  });
  const next = { ...message, tool_calls: calls };
  if (!next.layout.length) return withUsualParts(next);
  if (next.layout.some((mark) => mark.call === index)) return next;
  return { ...next, ...withMark(next, { ...EMPTY_MARK, kind: "tool_call", call: index }) };
}

function functionChanged(message, { name, arguments: text }) {
  const known = message.function_call ?? { name: "", arguments: "" };
  return { ...message, function_call: { name: known.name + name, arguments: known.arguments + text } };
}

function partStarted(message, { part, part_kind: kind, api, call, data }) {
  const marked = message.layout.length ? message : { ...message, layout: usualMarks(message) };
  isTold(!marked.layout.some((mark) => mark.part === part));
  const mark = { ...EMPTY_MARK, part, kind, api, call, data };
  const at = call === null ? -1 : marked.layout.findLastIndex((one) => one.call === call);
  if (at < 0 || marked.layout[at].part) return { ...message, ...withMark(marked, mark) };
  const { layout, parts } = copied(marked); // the call was there before anything was said of its part
  parts[partNumber(layout, at)] = partOf(mark);
  layout[at] = mark;
  return { ...message, layout, parts };
}

function partContinued(message, { part, field, text }) {
  return withData(message, part, (data) => {
    const known = Object.hasOwn(data, field) && typeof data[field] === "string" ? data[field] : "";
    return { ...data, [field]: known + text };
  });
}

function partExtended(message, { part, data }) {
  const next = withData(message, part, (known) => extended(known, data));
  const { kind, api } = next.layout.find((mark) => mark.part === part);
  const current = next.layout.findLast((mark) => mark.kind === kind);
  if (!(kind in FIELDS) || current.part === part) return next;
  return { ...next, layout: [...next.layout, { ...EMPTY_MARK, part, kind, api }] };
}

const EMPTY_MARK = { part: 0, kind: "", api: null, length: 0, text: null, call: null, data: {} };

function copied({ layout, parts }) {
  return { layout: layout.slice(), parts: parts.slice() };
}

function withMark({ layout, parts }, mark) {
  return { layout: [...layout, mark], parts: [...parts, partOf(mark)] };
}

/** The part that a mark opens, still without its text. */
function partOf({ kind, api, call, data }) {
  return { kind, api, text: kind in FIELDS ? "" : null, call, data };
}

/** Which part of a message a mark is of: several marks may be of one. */
function partNumber(layout, at) {
  const { part } = layout[at];
  const first = part ? layout.findIndex((mark) => mark.part === part) : at;
  const before = new Set();
  let count = 0;
  for (const mark of layout.slice(0, first)) {
    if (mark.part && before.has(mark.part)) continue;
    before.add(mark.part);
    count++;
  }
  return count;
}

function withData(message, part, change) {
  const at = message.layout.findIndex((mark) => mark.part === part);
  isTold(at >= 0);
  const { layout, parts } = copied(message);
  const number = partNumber(layout, at);
  const data = change(layout[at].data);
  layout[at] = { ...layout[at], data };
  parts[number] = { ...parts[number], data };
  return { ...message, layout, parts };
}

/** The marks of a message that has none: one for its reasoning, its text, its refusal, and each call. */
function usualMarks(message) {
  const texts = ["reasoning", "text", "refusal"].filter((kind) => message[FIELDS[kind]]);
  return [
    ...texts.map((kind) => ({ ...EMPTY_MARK, kind, length: codePoints(message[FIELDS[kind]]) })),
    ...message.tool_calls.map((call) => ({ ...EMPTY_MARK, kind: "tool_call", call: call.index })),
  ];
}

/** The message with the parts that it has where no layout says otherwise. */
function withUsualParts(message) {
  const { reasoning, content, refusal, tool_calls } = message;
  const parts = [
    ...(reasoning ? [{ ...EMPTY_PART, kind: "reasoning", text: reasoning }] : []),
    ...(Array.isArray(content) ? content.map(partOfBlock) : content ? [{ ...EMPTY_PART, kind: "text", text: content }] : []),
    ...(refusal ? [{ ...EMPTY_PART, kind: "refusal", text: refusal }] : []),
    ...tool_calls.map((call) => ({ ...EMPTY_PART, kind: "tool_call", call: call.index })),
  ];
  return { ...message, parts };
}

const EMPTY_PART = { kind: "", api: null, text: null, call: null, data: {} };
const BLOCKS = { image_url: "image", input_audio: "audio", file: "file" };

/** The part that a block of a whole message is, in the shape of Chat Completions. */
function partOfBlock(block) {
  const { type, ...data } = block;
  if ((type === "text" || type === "refusal") && typeof data[type] === "string") {
    const { [type]: text, ...rest } = data;
    return { ...EMPTY_PART, kind: type, text, data: rest };
  }
  return { ...EMPTY_PART, kind: Object.hasOwn(BLOCKS, type) ? BLOCKS[type] : "opaque", api: "chat", data: block };
}

/** Data with more that was said of it: objects are merged, lists continued, other values replaced. */
function extended(data, more) {
  let merged = data;
  for (const [key, value] of Object.entries(more)) {
    const known = Object.hasOwn(data, key) ? data[key] : undefined;
    let next = value;
    if (isPlain(known) && isPlain(value)) next = extended(known, value);
    else if (Array.isArray(known) && Array.isArray(value)) next = [...known, ...value];
    merged = { ...merged, [key]: next };
  }
  return merged;
}

function isPlain(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

const DETAIL_TEXTS = { "reasoning.text": "text", "reasoning.summary": "summary" };

/** Details of reasoning, of which those that are pieces of one text are one. */
function joinedDetails(details) {
  const joined = [];
  for (const detail of details) {
    const before = joined.at(-1);
    if (before === undefined || !goesOn(before, detail)) {
      joined.push(detail);
      continue;
    }
    const field = DETAIL_TEXTS[detail.type];
    const said = Object.fromEntries(Object.entries(detail).filter(([, value]) => value !== null));
    joined[joined.length - 1] = { ...before, ...said, [field]: textIn(before, field) + textIn(detail, field) };
  }
  return joined;
}

function textIn(detail, field) {
  return typeof detail[field] === "string" ? detail[field] : "";
}

function goesOn(before, detail) {
  if (!Object.hasOwn(DETAIL_TEXTS, detail.type) || before.type !== detail.type || before.signature) return false;
  return ["index", "id", "format"].every((name) => (detail[name] ?? null) === null || detail[name] === before[name]);
}

// Calls and their results

function onCall(change) {
  return (draft, delta) => {
    const found = draft.find(delta.step_id);
    const { step, turn } = found;
    isTold(step.message.tool_calls.some((call) => call.index === delta.index));
    isTold(!isForeign(draft.turns[turn]) && draft.idle < 0); // else the turn may have to be gone on with
    draft.setStep(found, change(step, delta, draft));
    draft.marks = true;
  };
}

function resultCame(step, { call_id, index, status, content, position, at, late }) {
  isTold(!late); // it stands in the current turn, too
  const result = { call_id, index, status, content, position, at, ...PLAIN_RESULT };
  return { tool_results: placed(step.tool_results, result) };
}

const PLAIN_RESULT = { sent: null, was_missing: false, data: {}, origin: null };

function placed(list, one) {
  const at = list.findIndex((other) => other.index === one.index);
  return at < 0 ? [...list, one] : list.with(at, one);
}

function toolStarted(step, { index, attempt, run, position, at }, draft) {
  isTold(step.step_id === draft.lastStep.step_id); // else the model may have gone on
  return { tool_runs: [...step.tool_runs, { index, attempt, run, position, at, late: false }] };
}

function approvalRequested(step, delta, draft) {
  const isKnown = step.approvals.some((one) => one.index === delta.index);
  return isKnown ? {} : { approvals: [...step.approvals, askedFor(step, delta, draft)] };
}

function approvalDecided(step, delta, draft) {
  const { approved, by, reason, for_turn, at } = delta;
  const asked = step.approvals.find((one) => one.index === delta.index) ?? askedFor(step, delta, draft);
  return { approvals: placed(step.approvals, { ...asked, approved, by, reason, for_turn, decided_at: at }) };
}

function askedFor(step, { index, position, at }, draft) {
  isTold(step.step_id === draft.lastStep.step_id);
  return { index, position, at, approved: null, by: "", reason: "", for_turn: false, decided_at: null, late: false };
}

// What else changes

const CHANGES = {
  "owner-assigned.v1": (_, { user_id }) => ({ user_id }),
  "session-titled.v1": (_, { title }) => ({ title }),
  "metadata-set.v1": ({ view }, { patch }) => ({ metadata: merged(view.metadata, patch) }),
  "counter-incremented.v1": ({ view: { counters } }, { counter, key, by }) => {
    const keys = Object.hasOwn(counters, counter) ? counters[counter] : {};
    const before = Object.hasOwn(keys, key) ? keys[key] : 0;
    return { counters: { ...counters, [counter]: { ...keys, [key]: before + by } } };
  },
  "context-compacted.v1": ({ position }, { summary, upto }) => ({
    compaction: { summary, upto: Math.min(upto, position), position },
  }),
  "usage-reported.v1": (draft, { model, usage, tokens }) => {
    const entry = { step_id: null, position: draft.position, model, usage };
    const index = draft.turns.length ? draft.turns.length - 1 : draft.append();
    draft.turn(index, { usage_reports: [...draft.turns[index].usage_reports, entry] });
    draft.addUsage(entry, tokens);
    return {};
  },
  "session-forked.v1": () => ({}),
};

function changed(draft, { topic, data }) {
  isTold(data && Object.hasOwn(CHANGES, topic));
  Object.assign(draft.changes, CHANGES[topic](draft, data));
}

/** A target after a JSON Merge Patch (RFC 7386). */
function merged(target, patch) {
  let result = { ...target };
  for (const [key, value] of Object.entries(patch)) {
    const known = Object.hasOwn(result, key) ? result[key] : undefined;
    if (value === null) delete result[key];
    else result = { ...result, [key]: isPlain(value) ? merged(isPlain(known) ? known : {}, value) : value };
  }
  return result;
}

// Arguments of calls

const MOST_OBJECTS = 256;

function isObject(text) {
  return isPlain(parsed(text));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    isTold(!/NaN|Infinity/.test(text)); // which Python reads
    return undefined;
  }
}

/**
 * The arguments that count, where relays have sent them again: whole twice, `{}` or a part of them before the real ones, or
 * one bracket too many. The text as it is if it is one object, or if it cannot be told which one counts.
 */
function lastWhole(text) {
  if (isObject(text)) return text;
  let [found, known, at] = [text, {}, 0];
  for (let count = 0; count < MOST_OBJECTS; count++) {
    const begin = at + /^\s*/.exec(text.slice(at))[0].length;
    const end = objectEnd(text, begin);
    const value = end < 0 ? undefined : parsed(text.slice(begin, end));
    if (value === undefined) break;
    const isEmpty = Object.keys(value).length === 0;
    if (!isEmpty && !isPartOf(known, value)) break;
    if (!isEmpty || Object.keys(known).length === 0) [found, known] = [text.slice(begin, end), value];
    at = end;
  }
  const rest = text.slice(at).trim();
  const isLeft = /^[\]}]*$/.test(rest) || (Object.keys(known).length > 0 && found.startsWith(rest));
  return at && isLeft ? found : text;
}

/** Where the object that begins there ends; -1 if none does. */
function objectEnd(text, begin) {
  if (text[begin] !== "{") return -1;
  const token = /"(?:[^"\\]|\\.)*"|[{}]/gs;
  token.lastIndex = begin;
  let depth = 0;
  for (let found; (found = token.exec(text)) !== null; ) {
    if (found[0] === "{") depth++;
    else if (found[0] === "}" && --depth === 0) return token.lastIndex;
  }
  return -1;
}

function isPartOf(known, value) {
  return Object.entries(known).every(([key, item]) => Object.hasOwn(value, key) && isEqual(value[key], item));
}

function isEqual(one, other) {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") return one === other;
  const keys = Object.keys(one);
  if (Array.isArray(one) !== Array.isArray(other) || keys.length !== Object.keys(other).length) return false;
  return keys.every((key) => Object.hasOwn(other, key) && isEqual(one[key], other[key]));
}

const FOLDS = Object.assign(Object.create(null), {
  turn_started: turnStarted,
  turn_ended: turnEnded,
  message: messageCame,
  step_started: stepStarted,
  step_ended: stepEnded,
  text: fragment(grown),
  reasoning: fragment(grown),
  refusal: fragment(grown),
  tool_call: fragment(callChanged),
  function_call: fragment(functionChanged),
  part_started: fragment(partStarted),
  part: fragment(partContinued),
  part_extended: fragment(partExtended),
  tool_started: onCall(toolStarted),
  approval_requested: onCall(approvalRequested),
  approval_decided: onCall(approvalDecided),
  tool_result: onCall(resultCame),
  changed,
  deleted: () => {},
});
