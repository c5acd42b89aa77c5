"""Programs in Node: `turnlog.js` as a page or a server in JavaScript has it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.pages import ROOT
from turnlog import RecordedEvent
from turnlog.projections.deltas import delta_of
from turnlog.projections.offsets import Offsets
from turnlog.projections.projector import Projector
from turnlog.projections.view import SessionView

CLIENT = ROOT / "infrastructure" / "server" / "client" / "turnlog.js"
PROGRAMS = ROOT / "tests" / "server" / "node"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no Node is installed")


class Folded(NamedTuple):
    """What `fold.mjs` made of a history: deltas that led to the next view, those after which it had to be read anew,
    and what came out otherwise."""

    told: int
    untold: int
    wrong: list[str]


class Fold:
    """A process of Node that folds histories, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def fold(self, history: Sequence[RecordedEvent]) -> Folded:
        """Folds a history, from each of its views on."""
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(_told(history) + "\n")
        asked.flush()
        return Folded(**json.loads(answered.readline()))


@contextmanager
def fold_in_node() -> Iterator[Fold]:
    """The fold of `turnlog.js`, while the block runs."""
    assert NODE is not None
    command = [NODE, str(PROGRAMS / "fold.mjs"), str(CLIENT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as process:
        yield Fold(process)


def _told(history: Sequence[RecordedEvent]) -> str:
    """The history as views, and the deltas that lead from each to the next."""
    projector, offsets = Projector(history[0].session_id), Offsets()
    views, deltas, statuses = list[str](), list[str](), list[Any]()
    for recorded in history:
        delta = delta_of(recorded, offsets.take(recorded.event)).model_dump_json()
        projector.apply(recorded)
        view = projector.view()
        views.append(view.model_dump_json())
        statuses.append(_statuses(view))
        deltas.append(delta)
    # Halves of a character that came apart are two for Python and one for JavaScript, and so are lengths of texts.
    lengths = not any("\\ud" in one.event.model_dump_json() for one in history)
    parts = {"views": views, "deltas": deltas[1:]}
    lists = ",".join(f'"{name}":[{",".join(items)}]' for name, items in parts.items())
    return f'{{{lists},"lengths":{json.dumps(lengths)},"statuses":{json.dumps(statuses)}}}'


def _statuses(view: SessionView) -> list[Any]:
    return [[turn.status, sum(len(step.waiting()) for step in turn.steps)] for turn in view.turns]
