"""`turnlog provider`"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from time import strftime
from typing import IO, assert_never

import click
from rich.text import Text

from turnlog.infrastructure.cli.output import Screen, counted, emit_json, one_line, shortened, stderr, stdout
from turnlog.infrastructure.cli.shared import Seconds, json_option
from turnlog.infrastructure.testing.answers import Answer, Failure, Recorded, Reply, Request, ToolCall
from turnlog.infrastructure.testing.provider import FakeProvider
from turnlog.infrastructure.testing.server import HOST

DEFAULT_PORT = 8765
_LINE_LENGTH = 80


@click.command("provider")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 is a free one.")
@click.option("--script", type=click.File("rb"), metavar="FILE", help="Answer from a JSON list, in its order.")
@click.option("--stream", type=click.File("rb"), metavar="FILE", help="Answer with a recorded stream, every time.")
@click.option(
    "--pace", type=Seconds(min=0), default=0.02, show_default=True, metavar="SECONDS", help="Before each chunk."
)
@click.option("--lenient", is_flag=True, help="Take requests that real providers refuse.")
@json_option
def provider(
    port: int, script: IO[bytes] | None, stream: IO[bytes] | None, pace: float, lenient: bool, as_json: bool
) -> None:
    """A fake OpenAI-compatible provider on 127.0.0.1, until Ctrl-C: for trying a program offline.

    Any model name and API key will do. It calls the first tool that a request offers, and then answers with a short
    text. A model that is named like a stream of /v1/models plays that stream. Requests are listed on stderr.

    The file of --stream has one chunk a line, or server-sent events. The file of --script has an entry for each
    request, with the fields of Answer, Failure or Recorded in turnlog.testing:

    \b
    [{"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
     {"text": "It is 21 degrees.", "delay": 0.1, "fails_after": 2},
     {"status": 429, "headers": {"retry-after": "1"}},
     {"stream": "plain-text"}]
    """
    if script is not None and stream is not None:
        raise click.UsageError("--script and --stream exclude each other.")
    answers = _script(script) if script else _always(stream) if stream else None
    try:
        on_reply = partial(_print_request, stderr())
        fake = FakeProvider(answers, strict=not lenient, pace=pace, port=port, on_reply=on_reply)
        fake.start()
    except ValueError as error:  # a recorded stream that is not there
        raise click.ClickException(str(error)) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise click.ClickException(f"port {port} of {HOST}: {reason}; --port 0 takes a free one") from error
    try:
        _print_use(fake.base_url, as_json)
        with suppress(KeyboardInterrupt):  # this is how it is meant to end
            Event().wait()
    finally:
        fake.close()


def _script(file: IO[bytes]) -> list[Reply]:
    from turnlog.infrastructure.cli.script_file import read_script  # noqa: PLC0415 pydantic; only --script needs it

    return read_script(file)


def _print_use(base_url: str, as_json: bool) -> None:
    if as_json:
        emit_json(json.dumps({"base_url": base_url, "api_key": "none"}))
    else:
        screen = stdout()
        screen.say("A fake provider for any OpenAI client; Ctrl-C stops it.", style="dim")
        screen.say(f"export OPENAI_BASE_URL={base_url} OPENAI_API_KEY=none")
    sys.stdout.flush()


def _always(stream: IO[bytes]) -> Callable[[Request], Reply]:
    from turnlog.infrastructure.cli.chunk_file import chunks  # noqa: PLC0415 only --stream needs it

    recorded = Recorded([chunk for _, chunk in chunks(stream)])
    return lambda _: recorded


def _print_request(screen: Screen, request: Request, reply: Reply) -> None:
    how, messages = "stream" if request.get("stream") else "whole", request.get("messages")
    count = counted(len(messages) if isinstance(messages, list) else 0, "message")
    asked = f"{one_line(str(request.get('model')))}, {how}, {count}"
    answered = (shortened(one_line(_in_short(reply)), _LINE_LENGTH), "red" if isinstance(reply, Failure) else "")
    screen.print(Text.assemble((strftime("%H:%M:%S "), "dim"), asked, (" → ", "dim"), answered), soft_wrap=True)


def _in_short(reply: Reply) -> str:
    match reply:
        case Failure():
            return f"{reply.status} {reply.text}"
        case Recorded():
            return f"recorded {reply.stream if isinstance(reply.stream, str) else 'stream'}"
        case Answer():
            said = ["".join(text) for text in (reply.reasoning, reply.text, reply.refusal) if text]
            return " ".join([*said, *(f"{call.name}({_arguments(call)})" for call in reply.tool_calls)])
        case _:
            assert_never(reply)


def _arguments(call: ToolCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)
