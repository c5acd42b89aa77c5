"""For tests of programs that ask a model: an OpenAI-compatible provider that answers from a script, offline.

    from turnlog.testing import Answer, FakeProvider, ToolCall

    async with FakeProvider([Answer(tool_calls=[ToolCall("get_weather")]), Answer("21 C.")]) as provider:
        client = AsyncOpenAI(base_url=provider.base_url, api_key="none")

Needs no database. From a shell: `turnlog provider`.
"""

from turnlog.infrastructure.testing.answers import Answer, Failure, Recorded, Reply, Request, Scripted, ToolCall
from turnlog.infrastructure.testing.corpus import Stream, own_corpus
from turnlog.infrastructure.testing.default_answer import default_answer
from turnlog.infrastructure.testing.errors import ScriptExhaustedError
from turnlog.infrastructure.testing.provider import FakeProvider

__all__ = [
    "Answer",
    "Failure",
    "FakeProvider",
    "Recorded",
    "Reply",
    "Request",
    "ScriptExhaustedError",
    "Scripted",
    "Stream",
    "ToolCall",
    "default_answer",
    "own_corpus",
]
