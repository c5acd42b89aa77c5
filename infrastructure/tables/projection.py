"""The base of a projection of your own. It is light to import: the drivers are loaded when a projection runs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from string import Formatter
from typing import Any, ClassVar

from turnlog.domain.errors import InvalidInputError
from turnlog.domain.events import EVENT_TYPES, SessionEvent
from turnlog.domain.recorded import RecordedEvent

Statement = tuple[str, Sequence[Any]]
"""SQL and its parameters. The SQL has `{table}` for a table of the projection and `%s` for each parameter; any other
brace is doubled. Values that may hold NUL or lone surrogates (`Text` in domain/events/) cannot go into a `text`
column."""

Progress = Callable[[int, int], None]
"""Called with the log position that is reached and the one to reach."""

TABLE_PREFIX = "turnlog_projection_"
REBUILT = "_new"
"""The end of the names of the tables and the position that a rebuild makes."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Projection(ABC):
    """Turns events into rows of tables of your own. Each event is applied exactly once, in the order of the log: its
    statements and the position of the projection are committed together.

    What each event leads to is in `process`. Where one statement can say it of many events, `process_batch` takes them
    together, which is several times as quick.

    `name` is the name under which its position is stored. `events` are the event types that it takes; all, unless it
    says otherwise. `tables` is the DDL of its tables, with `{name}` or `{name_something}` for each table. In the
    database they are called `turnlog_projection_name` and so on.
    """

    name: ClassVar[str]
    tables: ClassVar[str]
    events: ClassVar[tuple[type[SessionEvent], ...]] = EVENT_TYPES

    @abstractmethod
    def process(self, recorded: RecordedEvent) -> Iterable[Statement]:
        """The statements for an event. They must be the same whenever the event is seen, so they depend on no clock,
        and on no state but the tables."""

    def process_batch(self, batch: Sequence[RecordedEvent]) -> Iterable[Statement]:
        """The statements for one or more events, in the order of the log. The tables must be the same however the
        events are cut into batches: another process, or a rebuild, cuts them elsewhere."""
        for recorded in batch:
            yield from self.process(recorded)


def table_names(projection: Projection) -> list[str]:
    """The names of its tables, as its DDL has them. Raises InvalidInputError for names that are not allowed."""
    name = projection.name
    names = list(dict.fromkeys(field for _, field, _, _ in Formatter().parse(projection.tables) if field))
    if not names:
        raise InvalidInputError("tables", f"the DDL of projection {name} names no table as {{{name}}}")
    for each in (name, *names):
        if not _NAME.fullmatch(each) or each.endswith(REBUILT):
            raise InvalidInputError("name", f"{each!r} is not up to 40 of a-z, 0-9 and _, or ends in {REBUILT}")
        if each != name and not each.startswith(f"{name}_"):
            raise InvalidInputError("tables", f"{each!r} does not begin with the projection's name, {name!r}")
    return names
