"""What an answer asks for, and one request of it: the prompt, the provider's stream, and its recording as a step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.inputs import check_kind, checked_optional_name, checked_range, checked_seconds
from turnlog.domain.limits import MAX_CALLS
from turnlog.domain.quoting import quoted
from turnlog.domain.values import JsonObject
from turnlog.infrastructure.answer.continuing import CONTINUING, continued
from turnlog.infrastructure.answer.provider_apis import PROVIDER_APIS, checked_provider_api
from turnlog.infrastructure.answer.tools import Toolbox
from turnlog.infrastructure.append.stream_recorder import StreamRecorder
from turnlog.projections.prompt import Api
from turnlog.projections.prompt.dialects import DialectName, check_dialect

OnBusy = Literal["steer", "queue", "refuse", "stop"]
OnBreak = Literal["end", "again", "continue"]

_CHOICES = ", ".join(CONTINUING)

MAX_STEPS = 10_000
RESERVED = ("model", "stream", "tools")
"""Arguments of a request that are not the caller's to choose, beside those that the prompt is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a turn is answered. `client` makes a provider's stream by this `api`; `extra` are further arguments for it.

    `max_steps` is the largest number of requests in a run, `max_parallel` that of tools that run at the same time;
    `seconds` is the longest that a turn may take. `dialect` is the provider's, behind Chat Completions. `on_break` says
    what becomes of a stream that breaks in the middle, and `attempts` how often it is begun at most.
    """

    client: Any
    api: Api
    model: str
    toolbox: Toolbox
    extra: JsonObject
    max_steps: int
    max_parallel: int
    seconds: float | None
    on_break: OnBreak
    attempts: int
    dialect: DialectName | None

    def request(self, prompt: Any, *, continues: bool = False) -> Awaitable[Any]:
        """The awaitable of the provider's stream for this prompt. `continues`: the last message is to be continued."""
        api, extra = PROVIDER_APIS[self.api], dict(self.extra)
        if continues:
            prompt, extra = continued(prompt, self.dialect, extra)
        if self.toolbox.specs:
            extra["tools"] = self.toolbox.specs
        arguments = {**api.defaults, **extra, **api.arguments(prompt)}
        create = partial(self._create, model=self.model, stream=True, **arguments)
        return _Request(self.client, create)

    def _create(self, **arguments: Any) -> Any:
        create = PROVIDER_APIS[self.api].create(self.client)
        assert create is not None  # noqa: S101 it was looked for when the answer was asked for
        return create(**arguments)


def checked_asking(  # noqa: PLR0913 each is checked by itself
    client: Any,
    *,
    api: Any,
    model: Any,
    tools: Any,
    extra: Mapping[str, Any] | None,
    max_steps: Any,
    max_parallel: Any,
    seconds: Any,
    on_break: Any,
    attempts: Any,
    dialect: Any,
) -> Asking:
    """What `Session.answer` was given. Raises InvalidInputError."""
    api = checked_provider_api(client, api)
    name = checked_optional_name(model, "model")
    if not name:
        raise InvalidInputError("model", "must be the name of a model")
    check_kind(extra, Mapping | None, "extra")
    if extra is not None and not all(isinstance(key, str) for key in extra):
        raise InvalidInputError("extra", "has a key that is not a string")
    reserved = (*RESERVED, *PROVIDER_APIS[api].reserved)
    if extra is not None and (taken := [key for key in reserved if key in extra]):
        raise InvalidInputError(f"extra.{taken[0]}", "is not an argument to choose here")
    check_dialect(api, dialect)
    if on_break == "continue" and dialect not in CONTINUING:
        what = "is missing" if dialect is None else f"{quoted(dialect)} does not go on with an answer"
        raise InvalidInputError("dialect", f"{what}: an answer is continued in the way of one of: {_CHOICES}")
    if on_break == "continue" and api != "chat":
        raise InvalidInputError("on_break", "is not possible: answers are continued by Chat Completions only")
    return Asking(
        client=client,
        api=api,
        model=name,
        toolbox=Toolbox(tools, api),
        extra={} if extra is None else dict(extra),
        max_steps=checked_range(max_steps, "max_steps", 1, MAX_STEPS),
        max_parallel=checked_range(max_parallel, "max_parallel", 1, MAX_CALLS),
        seconds=None if seconds is None else checked_seconds(seconds, "seconds"),
        on_break=checked_choice(on_break, "on_break", OnBreak),
        attempts=checked_range(attempts, "attempts", 1, 100),
        dialect=dialect,
    )


def checked_choice(value: Any, field: str, choices: Any) -> Any:
    """One of the values of a Literal. Raises InvalidInputError."""
    allowed = choices.__args__
    if not isinstance(value, str) or value not in allowed:
        raise InvalidInputError(field, f"{quoted(value)} is not one of: {', '.join(allowed)}")
    return value


class _Request:
    """The awaitable of a stream, with its client, which streams have too. Nothing is asked before it is awaited."""

    def __init__(self, client: Any, make: Callable[[], Any]) -> None:
        self._client = client
        self._make = make

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._made().__await__()

    async def _made(self) -> Any:
        made = self._make()
        return await made if hasattr(made, "__await__") else made


async def recorded(
    recorder: StreamRecorder[Any], cause: Callable[[BaseException], tuple[BaseException, str | None]]
) -> None:
    """Records a stream to its end, with nobody to show it to. Raises what kept the step from being opened. A caller
    that is cancelled stops it, with the error and the reason that `cause` gives."""
    recorder.leave()
    recorder.start()
    try:
        await recorder.begun()
        await recorder.over()
    except BaseException as error:
        recorder.stop(*cause(error))
        raise
