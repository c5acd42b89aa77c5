"""`turnlog import` of what `turnlog export` has written: one session after the other, each whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from turnlog.domain.errors import LogClosedError, StoreUnavailableError, TurnlogError
from turnlog.infrastructure.cli.import_file import Place
from turnlog.infrastructure.cli.import_outcome import Outcome, reason_of
from turnlog.infrastructure.cli.progress import progress_bar
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.repair.concurrent import read_aside
from turnlog.infrastructure.repair.exported_lines import is_header

PAGE_LINES, PAGE_BYTES, PAGES_AHEAD = 1_000, 1024 * 1024, 2


@dataclass(frozen=True, slots=True)
class _Page:
    """Lines that follow each other, from this number on. `begins`: the first one begins a session."""

    number: int
    begins: bool
    lines: list[bytes]


async def import_exported(
    log: SessionLog, file: Iterable[bytes], total: int | None, user: str | None, outcome: Outcome, dry_run: bool
) -> None:
    """Imports every session in the file. One that cannot be is among the bad ones, and the others go on."""
    with progress_bar("importing") as progress:
        sessions = _Sessions(read_aside(_pages(file), PAGES_AHEAD), lambda done: progress(done, total))
        while await sessions.has_next():
            await _import(log, sessions, user, outcome, dry_run)


async def _import(log: SessionLog, sessions: _Sessions, user: str | None, outcome: Outcome, dry_run: bool) -> None:
    number = sessions.number
    try:
        report = await log.import_exported(sessions.lines(), user, dry_run)
    except (StoreUnavailableError, LogClosedError):
        raise
    except TurnlogError as error:
        outcome.bad.append((Place(number), reason_of(error)))
        await sessions.skip()
        return
    outcome.became[report.became] += 1
    outcome.messages += sessions.count - 1
    outcome.sessions.append((Place(number), str(report.session_id)))


class _Sessions:
    """The sessions of a file, one at a time. `number` is that of the line with which the next one begins, and `count`
    the number of lines that were read of it."""

    def __init__(self, pages: AsyncIterator[_Page], progress: Callable[[int], None]) -> None:
        self._pages = pages
        self._progress = progress
        self._page: _Page | None = None
        self._is_begun = False
        self.count = 0

    @property
    def number(self) -> int:
        return self._page.number if self._page else 0

    async def has_next(self) -> bool:
        """Whether there is another session."""
        self.count = 0
        if not self._is_begun:
            self._is_begun = True
            await self._turn_over()
        return self._page is not None

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of the next session."""
        while (page := self._page) is not None and (page.begins == (self.count == 0)):
            for line in page.lines:
                yield line
            self.count += len(page.lines)
            await self._turn_over()

    async def skip(self) -> None:
        """Leaves out what was not read of the session."""
        if self.count == 0:  # not even its first page was read to the end
            await self._turn_over()
        while self._page is not None and not self._page.begins:
            await self._turn_over()

    async def _turn_over(self) -> None:
        self._page = await anext(self._pages, None)
        if self._page is not None:
            self._progress(self._page.number + len(self._page.lines) - 1)


def _pages(file: Iterable[bytes]) -> Iterator[_Page]:
    page, size = _Page(1, True, []), 0
    for number, line in enumerate(file, 1):
        begins = number > 1 and is_header(line)
        if page.lines and (begins or len(page.lines) >= PAGE_LINES or size > PAGE_BYTES):
            yield page
            page, size = _Page(number, begins, []), 0
        if line.strip():
            page.lines.append(line)
            size += len(line)
    if page.lines:
        yield page
