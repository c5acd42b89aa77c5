"""What an answer does not do: what it costs is measured by the benchmark `answer`."""

from __future__ import annotations

import pytest

from tests.support.answering import asking, calling, told
from turnlog import Session, SessionLog
from turnlog.infrastructure.answer import answer as module
from turnlog.infrastructure.read.prompts import Prompts
from turnlog.infrastructure.read.views import Views
from turnlog.testing import Answer


async def look() -> str:
    return "found"


async def test_an_answer_loads_its_turns_once(
    log: SessionLog, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = list[str]()
    for kind, names in ((Views, ("load", "load_end")), (Prompts, ("usual", "whole"))):
        for name in names:
            original = getattr(kind, name)

            def counted(self: object, *args: object, _name: str = name, _original: object = original) -> object:
                loaded.append(_name)
                return _original(self, *args)  # type: ignore[operator]

            monkeypatch.setattr(kind, name, counted)
    answers = [calling("look", "look"), calling("look"), Answer("Done.")]
    async with asking(answers) as model:
        assert (await model.answer(session, "Hi", tools=[look])).text == "Done."
    assert loaded == ["load_end"]
    assert [len(prompt) for prompt in model.prompts] == [1, 4, 6]


async def test_deltas_that_are_there_are_not_waited_for_one_by_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking([Answer("word " * 50)]) as model:
        await model.answer(session, "Hi", "m-1")
        waited = list[object]()
        original = module._next
        monkeypatch.setattr(module, "_next", lambda deltas: waited.append(deltas) or original(deltas))
        assert len(await told(model.answer(session, "Hi", "m-1"))) > 50
    assert len(waited) <= 3
