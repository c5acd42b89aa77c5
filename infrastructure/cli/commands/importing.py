"""`turnlog import FILE.jsonl`"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any
from uuid import UUID, uuid5
from weakref import WeakValueDictionary

import click

from turnlog.domain.errors import InvalidInputError, LogClosedError, StoreUnavailableError, TurnlogError
from turnlog.domain.inputs import AUTO, checked_foreign
from turnlog.domain.values import fingerprint
from turnlog.infrastructure.cli.import_exported import import_exported
from turnlog.infrastructure.cli.import_file import FORMATS, NAMESPACE, Found, Place, Read, Wanted, found_in_file
from turnlog.infrastructure.cli.import_outcome import BECAME, Outcome, reason_of
from turnlog.infrastructure.cli.output import counted, emit_json, stderr, stdout
from turnlog.infrastructure.cli.progress import counting_bar, told_when_interrupted
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.repair.concurrent import each, read_aside
from turnlog.infrastructure.repair.exported_lines import is_header
from turnlog.infrastructure.repair.importing import Conversation

if TYPE_CHECKING:
    from turnlog.infrastructure.repair.foreign_table import ForeignSession

Finds = Iterator[tuple[Place, Read]]
EXPORTED = "turnlog"
"""The format of what `turnlog export` has written."""


_FORMAT = "The messages' format in FILE.  [default: auto, which sees it from them]"


@click.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from", "url", metavar="URL", help="Read a table of this Postgres instead of FILE.")
@click.option("--table", metavar="NAME", help="The table, one row for each message: `messages` or `schema.messages`.")
@click.option("--format", "format_", type=click.Choice((AUTO, *FORMATS, EXPORTED)), help=_FORMAT)
@click.option("--user", metavar="ID", help="The owner of sessions whose line has no `user_id`, and of exported ones.")
@click.option("--branches", is_flag=True, help="Import the other branches of a conversation, too: as forks of it.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, but store nothing.")
@json_option
@pass_globals
def import_(  # noqa: PLR0913, PLR0917 click gives each option as an argument
    options: Globals,
    file: IO[bytes] | None,
    url: str | None,
    table: str | None,
    format_: str | None,
    user: str | None,
    branches: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import conversations from FILE (- is stdin) or --from a database.

    Each line of FILE is a conversation: a list of messages, or an object with `messages` and optionally `id`,
    `user_id`, `title` and `format`. Or FILE is an export: of ChatGPT or Claude.ai (conversations.json), LibreChat or
    Open WebUI, or the JSONL of a Claude Code session. Formats are seen from the messages: also those of the AI SDK,
    LangChain, OpenAI Agents, Pydantic AI and Gemini.

    Messages are kept as they are; `turnlog repair` corrects what is wrong with them. Several conversations are imported
    at once. What cannot be imported is reported with its line or number, the others go on, and the exit code is 1.

    A conversation is recognised by its owner and its `id`, or without an `id` by its content. So importing a file again
    imports nothing twice. A conversation with an `id` that has grown is continued, and one that was edited is refused.

    Sessions that `turnlog export` has written are recognised by their first line. They come back with their ids,
    positions and times, and each is imported whole or not at all.

    A table needs a column for the session (session_id, thread_id, ...), one for the order (sequence, position, ...),
    and one for the role.
    """
    if (file is None) == (url is None) or (url is None) != (table is None):
        raise click.UsageError("Give a FILE, or --from with --table.")
    if url is not None and format_ not in (None, "rows", AUTO):
        raise click.UsageError("--format is for a FILE: a table has rows.")
    outcome = Outcome()
    file = None if file is None else _unshared(file)
    what = "checked" if dry_run else "imported; the same command goes on from there"
    with told_when_interrupted(lambda: f"{counted(outcome.became.total(), 'conversation')} {what}"):
        if file is not None and format_ in (None, EXPORTED) and (format_ or _is_exported(file)):
            names = ("session", "event")
            options.run(lambda log: import_exported(log, file, _lines(file), user, outcome, dry_run))
        else:
            names = ("conversation", "message")
            of_file = partial(_of_file, file, format_, user, branches) if file else None
            find = of_file or partial(_of_table, url or "", table or "", user)
            options.run(lambda log: _import_all(log, find, _lines(file), outcome, dry_run))
    outcome.bad.sort()
    _print_json(outcome, dry_run, names) if as_json else _print(outcome, dry_run, names)
    if outcome.bad:
        raise click.exceptions.Exit(1)


def _is_exported(file: IO[bytes]) -> bool:
    """Whether it begins as an export does. Nothing of it is consumed."""
    if not file.seekable():
        return is_header(file.peek(100))  # type: ignore[attr-defined]  # a pipe is buffered
    begin = file.read(100)
    file.seek(0)
    return is_header(begin)


def _of_file(file: IO[bytes], format_: str | None, user: str | None, branches: bool, limit: int) -> Finds:
    return found_in_file(file, Wanted(format_, user, branches, limit))


def _unshared(file: IO[bytes]) -> IO[bytes]:
    """A pipe with a buffer of its own: at exit Python closes the buffer of stdin, and a thread may still wait in it."""
    return file if file.seekable() else open(file.fileno(), "rb", closefd=False)


def _of_table(url: str, table: str, user: str | None, limit: int) -> Finds:
    from turnlog.infrastructure.repair.foreign_table import read_table  # noqa: PLC0415 the driver

    for found in read_table(url, table):
        yield Place(found.number), partial(_of_rows, found, user, limit)


def _of_rows(found: ForeignSession, user: str | None, limit: int) -> Found:
    if len(found.users) > 1:
        raise InvalidInputError(f"session {found.id}", f"has rows of several users: {', '.join(found.users)}")
    owner = found.users[0] if found.users else user
    session_id = uuid5(NAMESPACE, fingerprint(owner, "rows", found.table, found.id))
    one = Conversation(checked_foreign(found.rows, "rows", limit), owner, session_id, "rows")
    return Found(one, session_id, len(found.rows))


def _lines(file: IO[bytes] | None) -> int | None:
    """The number of lines, for the bar: None if there is no bar, or if they cannot be counted."""
    if file is None or not (file.seekable() and stderr().is_terminal):
        return None
    count = sum(1 for line in file if line.strip())
    file.seek(0)
    return count


async def _import_all(
    log: SessionLog, find: Callable[[int], Finds], total: int | None, outcome: Outcome, dry_run: bool
) -> None:
    locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def work(one: tuple[Place, Read]) -> None:
        await _import(log, *one, outcome, dry_run, locks)
        advance()

    with counting_bar("importing", total) as advance:
        await each(read_aside(find(log.settings.max_message_bytes)), work)


async def _import(
    log: SessionLog,
    place: Place,
    read: Read,
    outcome: Outcome,
    dry_run: bool,
    locks: WeakValueDictionary[UUID, asyncio.Lock],
) -> None:
    try:
        one = read()
        # Lines of the same session are imported in their order.
        async with locks.setdefault(one.session_id, asyncio.Lock()):
            report = await log.import_conversation(one.conversation, dry_run)
    except (StoreUnavailableError, LogClosedError):
        raise
    except TurnlogError as error:
        outcome.bad.append((place, reason_of(error)))
        return
    outcome.became[report.became] += 1
    outcome.formats[report.format] += 1
    outcome.branches += len(report.branches)
    outcome.messages += one.messages
    outcome.sessions.append((place, str(report.session_id)))


def _print(outcome: Outcome, dry_run: bool, names: tuple[str, str]) -> None:
    screen = stderr()
    for place, reason in outcome.bad:
        screen.say(f"{place}: {reason}", style="red")
    became = {name.replace("_", " "): outcome.became[name] for name in BECAME}
    what = "would be imported" if dry_run else "imported"
    told = ", ".join(f"{number:,} {name}" for name, number in became.items())
    whole = f"{counted(outcome.became.total(), names[0])} with {counted(outcome.messages, names[1])}"
    stdout().say(f"{whole} {what}: {told}; {len(outcome.bad):,} not imported")
    if set(outcome.formats) - {"chat", "rows"}:
        read_as = ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.formats.items()))
        forks = f"; {counted(outcome.branches, 'fork')}" if outcome.branches else ""
        stdout().say(f"read as: {read_as}{forks}")


def _print_json(outcome: Outcome, dry_run: bool, names: tuple[str, str]) -> None:
    bad = [{**place.fields(), "reason": reason} for place, reason in outcome.bad]
    done: dict[str, Any] = {"imported": outcome.became.total(), f"{names[1]}s": outcome.messages, "dry_run": dry_run}
    done |= {name: outcome.became[name] for name in BECAME}
    done |= {"formats": dict(sorted(outcome.formats.items())), "branches": outcome.branches}
    emit_json(json.dumps({**done, "sessions": [session_id for _, session_id in sorted(outcome.sessions)], "bad": bad}))
