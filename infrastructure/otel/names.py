"""The names of all spans, attributes and metrics.

Those that begin with `gen_ai.` are of the semantic conventions for generative AI, as the `semantic-conventions` package
of the Python SDK has them. All of these are still in development there; what turnlog alone knows is called `turnlog.`.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

# Spans, and the operations of the conventions

INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
COMMIT: Final = "turnlog.commit"

# Attributes

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 no secret
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
ERROR_TYPE: Final = "error.type"
DB_SYSTEM: Final = "db.system.name"

STEP_ID: Final = "turnlog.step.id"
STEP_STATUS: Final = "turnlog.step.status"
TURN_ID: Final = "turnlog.turn.id"
TURN_RUN: Final = "turnlog.turn.run"
TURN_STATUS: Final = "turnlog.turn.status"
RESULT_STATUS: Final = "turnlog.tool.result.status"
COMMIT_APPENDS: Final = "turnlog.commit.appends"
COMMIT_EVENTS: Final = "turnlog.commit.events"
COMMIT_BYTES: Final = "turnlog.commit.bytes"
DELTA_KIND: Final = "turnlog.delta.kind"
CACHE: Final = "turnlog.cache"
IS_HIT: Final = "turnlog.cache.hit"
PREFIX: Final = "turnlog.prompt.prefix"
PROJECTION: Final = "turnlog.projection"
OUTCOME: Final = "turnlog.proxy.outcome"

# Attributes with content, which are there only where it is wanted

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"

Kind = Literal["histogram", "counter", "observed counter", "observed gauge"]


class Metric(NamedTuple):
    """One metric. `buckets` are the bounds of a histogram's."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def in_prometheus(self) -> str:
        """The name under which Prometheus has it, without the endings of a histogram's series."""
        name = self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")
        return f"{name}_total" if self.kind in ("counter", "observed counter") else name


_DOUBLING = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_GAPS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(float(4**n) for n in range(14))
_COMMITS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0)
_SIZES = tuple(float(2**n) for n in range(11))
_REQUEST = (OPERATION, PROVIDER, REQUEST_MODEL)

DURATION = Metric(
    "gen_ai.client.operation.duration",
    "histogram",
    "s",
    "How long an answer of a model took, from when its step was open.",
    (*_REQUEST, RESPONSE_MODEL, STEP_STATUS, ERROR_TYPE),
    _DOUBLING,
)
FIRST_CHUNK = Metric(
    "gen_ai.client.operation.time_to_first_chunk",
    "histogram",
    "s",
    "How long the first chunk of a streamed answer was waited for.",
    _REQUEST,
    _FIRST,
)
GAP = Metric(
    "gen_ai.client.operation.time_per_output_chunk",
    "histogram",
    "s",
    "How long after the chunk before it each chunk of a streamed answer came.",
    _REQUEST,
    _GAPS,
)
TOKENS = Metric(
    "gen_ai.client.token.usage",
    "histogram",
    "{token}",
    "The tokens of each answer, as its provider reports them.",
    (*_REQUEST, RESPONSE_MODEL, TOKEN_TYPE),
    _TOKENS,
)
TURNS = Metric("turnlog.turn.duration", "histogram", "s", "How long a turn was in hand.", (TURN_STATUS,), _DOUBLING)
TOOLS = Metric("turnlog.tool.duration", "histogram", "s", "How long a tool ran.", (TOOL_NAME, RESULT_STATUS), _DOUBLING)
DELTAS = Metric("turnlog.deltas", "counter", "{delta}", "Deltas of answers that were stored.", (DELTA_KIND,))
DURABLE = Metric(
    "turnlog.commit.duration",
    "histogram",
    "s",
    "How long the first append of a commit waited until it was durable.",
    (),
    _COMMITS,
)
BATCH = Metric("turnlog.commit.size", "histogram", "{event}", "Events of a commit.", (), _SIZES)
EVENTS = Metric("turnlog.events", "observed counter", "{event}", "Events that were stored.")
COMMITS = Metric("turnlog.commits", "observed counter", "{commit}", "Commits.")
FAILED = Metric("turnlog.events.failed", "observed counter", "{event}", "Events that could not be stored.")
QUEUE = Metric("turnlog.queue", "observed gauge", "{event}", "Events on their way to Postgres.")
FOLLOWERS = Metric("turnlog.followers", "observed gauge", "{follower}", "Who follows a session now.")
FOLLOWED = Metric("turnlog.sessions.followed", "observed gauge", "{session}", "Sessions that are followed now.")
FOLLOW_READS = Metric("turnlog.follow.reads", "observed counter", "{read}", "Statements that have read for followers.")
LOOKUPS = Metric(
    "turnlog.cache.lookups",
    "counter",
    "{lookup}",
    "Looks for a kept view or prompt, and whether it was of use.",
    (CACHE, IS_HIT),
)
PROMPTS = Metric(
    "turnlog.prompts",
    "counter",
    "{prompt}",
    "Prompts that were made: the `first` of a session here, those that have `extended` the one before, and those whose "
    "beginning is `broken`, so that a provider's cache has nothing of it.",
    (PREFIX,),
)
LAG = Metric(
    "turnlog.projection.lag", "observed gauge", "{event}", "Events that a projection has not seen.", (PROJECTION,)
)
LAG_TIME = Metric(
    "turnlog.projection.lag.duration",
    "observed gauge",
    "s",
    "How long the next event that a projection has not seen waits.",
    (PROJECTION,),
)
PROXIED = Metric(
    "turnlog.proxy.requests",
    "counter",
    "{request}",
    "Requests through the recording proxy: `recorded`, `refused`, gone on `unrecorded`, or `passed` as nothing to "
    "record.",
    (OUTCOME,),
)

METRICS: tuple[Metric, ...] = (
    DURATION,
    FIRST_CHUNK,
    GAP,
    TOKENS,
    TURNS,
    TOOLS,
    DELTAS,
    DURABLE,
    BATCH,
    EVENTS,
    COMMITS,
    FAILED,
    QUEUE,
    FOLLOWERS,
    FOLLOWED,
    FOLLOW_READS,
    LOOKUPS,
    PROMPTS,
    LAG,
    LAG_TIME,
    PROXIED,
)


class SpanKind(NamedTuple):
    """One kind of span. `content` are the attributes that are there only where content is wanted."""

    name: str
    description: str
    attributes: tuple[str, ...]
    content: tuple[str, ...] = ()


SPANS: tuple[SpanKind, ...] = (
    SpanKind(
        INVOKE_AGENT,
        "A turn, while it is in hand here.",
        (OPERATION, CONVERSATION, TURN_ID, TURN_RUN, TURN_STATUS, ERROR_TYPE),
    ),
    SpanKind(
        f"{CHAT} {{model}}",
        "A step: one answer of a model.",
        (
            OPERATION,
            PROVIDER,
            CONVERSATION,
            REQUEST_MODEL,
            RESPONSE_MODEL,
            RESPONSE_ID,
            FINISH_REASONS,
            TIME_TO_FIRST_CHUNK,
            INPUT_TOKENS,
            OUTPUT_TOKENS,
            CACHED_TOKENS,
            REASONING_TOKENS,
            STEP_ID,
            STEP_STATUS,
            TURN_RUN,
            ERROR_TYPE,
        ),
        (INPUT_MESSAGES, OUTPUT_MESSAGES),
    ),
    SpanKind(
        f"{EXECUTE_TOOL} {{tool}}",
        "A tool, from its start to its result.",
        (OPERATION, TOOL_NAME, TOOL_TYPE, TOOL_CALL_ID, STEP_ID, TURN_RUN, RESULT_STATUS, ERROR_TYPE),
        (TOOL_ARGUMENTS, TOOL_RESULT),
    ),
    SpanKind(
        COMMIT,
        "A commit, from when its first append was handed over. It is the root of a trace of its own, and links to the "
        "steps that it has deltas of.",
        (DB_SYSTEM, COMMIT_APPENDS, COMMIT_EVENTS, COMMIT_BYTES),
    ),
)
