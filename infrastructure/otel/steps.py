"""Steps as spans and metrics: one answer of a model each."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import Span, SpanKind, Tracer

from turnlog.domain.events import STATUS_OF_END, CompletionEnded, CompletionFailed, CompletionFinished, StepEnd
from turnlog.infrastructure.observer import StepAsked
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.instruments import Instruments
from turnlog.infrastructure.otel.messages import Said
from turnlog.infrastructure.otel.spans import OpenSpans, end
from turnlog.projections.usage import token_counts

UNKNOWN = "unknown"
PROVIDERS = {"anthropic": "anthropic", "chat": "openai", "responses": "openai"}
"""The provider by the API: the log does not know whose server it is that speaks it."""


class OpenStep:
    """A step that is being written. Times are of the event loop's clock; `began` is None until it is stored."""

    __slots__ = ("asked", "began", "first", "gaps", "last", "provider", "request", "said", "span")

    def __init__(self, asked: StepAsked, span: Span, said: Said | None) -> None:
        self.asked = asked
        self.span = span
        self.said = said
        self.began: float | None = None
        self.last: float | None = None
        self.first: float | None = None
        self.provider = UNKNOWN
        self.request: dict[str, str] = {}
        self.describe()

    def describe(self) -> None:
        """Says anew what the metrics say of the request."""
        self.request = {names.OPERATION: names.CHAT, names.PROVIDER: self.provider}
        if self.asked.model is not None:
            self.request[names.REQUEST_MODEL] = self.asked.model


class Steps:
    """The open steps. `content`: their spans say what was said."""

    def __init__(self, tracer: Tracer, instruments: Instruments, *, content: bool) -> None:
        self._tracer = tracer
        self._content = content
        self._duration = instruments.histogram(names.DURATION)
        self._first = instruments.histogram(names.FIRST_CHUNK)
        self._gap = instruments.histogram(names.GAP)
        self._tokens = instruments.histogram(names.TOKENS)
        self._open: OpenSpans[OpenStep] = OpenSpans()
        self._writing: dict[bytes, OpenStep] = {}

    def get(self, step_id: str) -> OpenStep | None:
        """The step, if it is open."""
        return self._open.get(step_id)

    def written(self, session: bytes) -> OpenStep | None:
        """The step of this session that is open, if it is written here."""
        return self._writing.get(session)

    def asked(self, asked: StepAsked, prompt: str | None) -> None:
        """A step is about to begin, in the current context. `prompt` is what was sent, where that is wanted."""
        name = names.CHAT if asked.model is None else f"{names.CHAT} {asked.model}"
        attributes = {
            names.OPERATION: names.CHAT,
            names.CONVERSATION: str(asked.session_id),
            names.REQUEST_MODEL: asked.model,
            names.STEP_ID: asked.step_id,
            names.TURN_RUN: asked.run or None,
            names.INPUT_MESSAGES: prompt,
        }
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=_there(attributes))
        self._open[asked.step_id] = OpenStep(asked, span, Said() if self._content else None)

    def refused(self, step_id: str) -> None:
        """It did not begin: a span that is never ended is never seen."""
        self._open.pop(step_id)

    def begun(self, session: bytes, step_id: str, now: float) -> None:
        """It is stored, and the provider is asked from now on."""
        step = self._open.get(step_id)
        if step is not None:
            step.began = now
            self._writing[session] = step

    def reads(self, step_id: str, api: str) -> None:
        """The API by which it is answered."""
        step = self._open.get(step_id)
        if step is not None:
            step.provider = PROVIDERS.get(api, UNKNOWN)
            step.describe()

    def chunk(self, step: OpenStep, at: float) -> None:
        """A chunk with deltas came at this time."""
        if step.last is not None:
            self._gap.record(max(0.0, at - step.last), step.request)
        elif step.began is not None:
            step.first = max(0.0, at - step.began)
            self._first.record(step.first, step.request)
        step.last = at

    def ended(self, step_id: str, ended: StepEnd | None, now: float) -> None:
        """It has ended, here or elsewhere. None if nobody knows how."""
        step = self._open.pop(step_id)
        if step is None:
            return
        session = step.asked.session_id.bytes
        if self._writing.get(session) is step:
            del self._writing[session]
        status = UNKNOWN if ended is None else STATUS_OF_END[type(ended)]
        reported, error = _reported(ended), _error_type(ended)
        self._measure(step, status, reported, error, now)
        attributes = {
            **reported,
            names.PROVIDER: step.provider,
            names.STEP_STATUS: status,
            names.TIME_TO_FIRST_CHUNK: step.first,
        }
        if step.said is not None:
            reason = ended.finish_reason if isinstance(ended, CompletionFinished) else status
            attributes[names.OUTPUT_MESSAGES] = step.said.json(reason)
        end(step.span, attributes, error, _error_text(ended) if self._content else "")

    def _measure(self, step: OpenStep, status: str, reported: dict[str, Any], error: str | None, now: float) -> None:
        measured = _there({**step.request, names.RESPONSE_MODEL: reported.get(names.RESPONSE_MODEL)})
        for kind, key in (("input", names.INPUT_TOKENS), ("output", names.OUTPUT_TOKENS)):
            if reported.get(key):
                self._tokens.record(reported[key], {**measured, names.TOKEN_TYPE: kind})
        if step.began is not None:
            how = _there({**measured, names.STEP_STATUS: status, names.ERROR_TYPE: error})
            self._duration.record(now - step.began, how)


def _reported(ended: StepEnd | None) -> dict[str, Any]:
    """What the provider has said of its answer."""
    if not isinstance(ended, CompletionEnded):
        return {}
    counts = token_counts(ended.usage or {})
    reason = ended.finish_reason if isinstance(ended, CompletionFinished) else None
    return {
        names.RESPONSE_MODEL: ended.model,
        names.RESPONSE_ID: ended.response_id,
        names.FINISH_REASONS: None if reason is None else [reason],
        names.INPUT_TOKENS: counts["prompt_tokens"] or None,
        names.OUTPUT_TOKENS: counts["completion_tokens"] or None,
        names.CACHED_TOKENS: counts["cached_tokens"] or None,
        names.REASONING_TOKENS: counts["reasoning_tokens"] or None,
    }


def _error_type(ended: StepEnd | None) -> str | None:
    """What kind of error a step has ended with: never a text, which may quote what was said."""
    if not isinstance(ended, CompletionFailed):
        return None
    failure = ended.failure or {}
    return str(failure.get("code") or failure.get("type") or failure.get("status") or "failed")


def _error_text(ended: StepEnd | None) -> str:
    return ended.error if isinstance(ended, CompletionFailed) else ""


def _there(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value is not None}
