"""The observer that tells OpenTelemetry what a log does."""

from __future__ import annotations

import logging
from asyncio import get_running_loop
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from opentelemetry import propagate
from opentelemetry.trace import get_current_span, get_tracer, set_span_in_context

from turnlog.domain.events import StepEnd
from turnlog.infrastructure.observer import Gauges, Kept, Observer, Proxied, StepAsked, TurnHeld
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.commits import Commits
from turnlog.infrastructure.otel.instruments import SCOPE, instruments
from turnlog.infrastructure.otel.messages import prompt_json
from turnlog.infrastructure.otel.prefixes import Prefixes
from turnlog.infrastructure.otel.spans import Current
from turnlog.infrastructure.otel.steps import Steps
from turnlog.infrastructure.otel.turns import Turns
from turnlog.projections.step import StepToolCall

if TYPE_CHECKING:
    from turnlog.infrastructure.store.appends import Append
    from turnlog.infrastructure.tables.catching_up import Lag

logger = logging.getLogger("turnlog")

Method = TypeVar("Method", bound=Callable[..., None])

MAX_SENT = 1_000
"""Prompts that are kept until their step begins, where spans say what was said."""


def _quiet(method: Method) -> Method:
    """The method, whose errors are logged: what a log does is not to fail because it is measured."""

    @wraps(method)
    def called(*args: Any) -> None:
        try:
            method(*args)
        except Exception:
            logger.exception("telemetry has failed")

    return cast("Method", called)


class OtelObserver(Observer):
    """Of one log. It uses the global providers, and exports nothing by itself."""

    is_silent = False

    def __init__(self, *, content: bool = False) -> None:
        tracer = get_tracer(SCOPE)
        self._loop = get_running_loop()
        self._instruments = instruments()
        self._steps = Steps(tracer, self._instruments, content=content)
        self._turns = Turns(tracer, self._instruments, content=content)
        self._commits = Commits(tracer, self._instruments, self._steps, self._turns, content=content)
        self._prefixes = Prefixes()
        self._sent: OrderedDict[UUID, str] | None = OrderedDict() if content else None

    @_quiet
    def stored(self, appends: Sequence[Append]) -> None:
        self._commits.stored(appends)

    @_quiet
    def step_begins(self, step: StepAsked) -> None:
        self._steps.asked(step, None if self._sent is None else self._sent.pop(step.session_id, None))

    @_quiet
    def step_refused(self, step_id: str) -> None:
        self._steps.refused(step_id)

    @_quiet
    def step_reads(self, step_id: str, api: str) -> None:
        self._steps.reads(step_id, api)

    @_quiet
    def step_ended(self, step_id: str, end: StepEnd | None) -> None:
        self._steps.ended(step_id, end, self._loop.time())

    @_quiet
    def turn_begins(self, turn: TurnHeld) -> None:
        self._turns.begun(turn, self._loop.time())

    @_quiet
    def turn_lost(self, run: str) -> None:
        self._turns.ended(run, None, self._loop.time())

    @_quiet
    def tool_begins(self, run: str, step_id: str, call: StepToolCall) -> None:
        self._turns.tool_begun(run, step_id, call, self._loop.time())

    def inside(self, held_id: str) -> AbstractContextManager[None]:
        step = self._steps.get(held_id)
        span = self._turns.span(held_id) if step is None else step.span
        return nullcontext() if span is None else Current(set_span_in_context(span))

    def asked_by(self, headers: Mapping[str, str]) -> AbstractContextManager[None]:
        if get_current_span().get_span_context().is_valid:  # somebody else has made a span of the request
            return nullcontext()
        return Current(propagate.extract(headers))

    @_quiet
    def looked_up(self, kept: Kept, is_there: bool) -> None:
        self._instruments.counter(names.LOOKUPS).add(1, {names.CACHE: kept, names.IS_HIT: is_there})

    @_quiet
    def prompted(self, session_id: UUID, api: str, prompt: Any) -> None:
        prefix = self._prefixes.of(session_id, api, prompt)
        self._instruments.counter(names.PROMPTS).add(1, {names.PREFIX: prefix})
        if self._sent is not None:
            self._sent[session_id] = prompt_json(prompt)
            if len(self._sent) > MAX_SENT:
                self._sent.popitem(last=False)

    @_quiet
    def proxied(self, outcome: Proxied) -> None:
        self._instruments.counter(names.PROXIED).add(1, {names.OUTCOME: outcome})

    def opened(self, gauges: Gauges) -> Callable[[], None]:
        return self._instruments.opened(gauges)

    @_quiet
    def lags(self, lags: Sequence[Lag]) -> None:
        self._instruments.lags(lags)
