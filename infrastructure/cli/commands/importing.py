"""`turnlog import FILE.jsonl`"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any, get_args
from uuid import NAMESPACE_URL, UUID, uuid5
from weakref import WeakValueDictionary

import click

from turnlog.domain.errors import InvalidInputError, LogClosedError, StoreUnavailableError, TurnlogError
from turnlog.domain.foreign import ForeignFormat
from turnlog.domain.inputs import checked_foreign, checked_format, checked_id, checked_session_id, checked_title
from turnlog.domain.values import fingerprint
from turnlog.infrastructure.cli.output import counted, emit_json, stderr, stdout
from turnlog.infrastructure.cli.progress import counting_bar, told_when_interrupted
from turnlog.infrastructure.cli.shared import Globals, json_option, pass_globals
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.repair.concurrent import each, read_aside
from turnlog.infrastructure.repair.exported_lines import is_header
from turnlog.infrastructure.repair.importing import Became, Conversation

if TYPE_CHECKING:
    from turnlog.infrastructure.repair.foreign_table import ForeignSession

BECAME: tuple[Became, ...] = get_args(Became)
NAMESPACE = uuid5(NAMESPACE_URL, "turnlog:import")
LINE = "line"
FORMATS: tuple[ForeignFormat, ...] = get_args(ForeignFormat)
EXPORTED = "turnlog"
"""The format of what `turnlog export` has written."""


@dataclass
class Outcome:
    """What became of the lines: the sessions, and the reasons why bad lines were not imported, with line numbers."""

    became: Counter[Became] = field(default_factory=Counter)
    messages: int = 0
    sessions: list[tuple[int, str]] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)


@click.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from", "url", metavar="URL", help="Read a table of this Postgres instead of FILE.")
@click.option("--table", metavar="NAME", help="The table, one row for each message: `messages` or `schema.messages`.")
@click.option(
    "--format",
    "format_",
    type=click.Choice([*FORMATS, EXPORTED]),
    help="The messages' format in FILE.  [default: chat]",
)
@click.option("--user", metavar="ID", help="The owner of sessions whose line has no `user_id`, and of exported ones.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, but store nothing.")
@json_option
@pass_globals
def import_(
    options: Globals,
    file: IO[bytes] | None,
    url: str | None,
    table: str | None,
    format_: str | None,
    user: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import conversations from FILE (- is stdin) or --from a database.

    Each line of FILE is a conversation: a list of messages, or an object with `messages` and optionally `id`,
    `user_id`, `title` and `format`.

    Messages are kept as they are; `turnlog repair` corrects what is wrong with them. Several conversations are imported
    at once. A line that cannot be imported is reported with its number, the others go on, and the exit code is 1.

    A conversation is recognised by its owner and its `id`, or without an `id` by its content. So importing a file again
    imports nothing twice. A conversation with an `id` that has grown is continued, and one that was edited is refused.

    Sessions that `turnlog export` has written are recognised by their first line. They come back with their ids,
    positions and times, and each is imported whole or not at all.

    A table needs a column for the session (session_id, thread_id, ...), one for the order (sequence, position, ...),
    and one for the role.
    """
    if (file is None) == (url is None) or (url is None) != (table is None):
        raise click.UsageError("Give a FILE, or --from with --table.")
    if url is not None and format_ not in (None, "rows"):
        raise click.UsageError("--format is for a FILE: a table has rows.")
    outcome = Outcome()
    what = "checked" if dry_run else "imported; the same command goes on from there"
    with told_when_interrupted(lambda: f"{counted(outcome.became.total(), 'conversation')} {what}"):
        file = None if file is None else _unshared(file)
        if file is not None and format_ in (None, EXPORTED) and (format_ or _is_exported(file)):
            names = ("session", "event")
            _run_exported(options, file, user, outcome, dry_run)
        else:
            names = ("conversation", "message")
            of_file = partial(_of_file, file, format_ or "chat", user) if file else None
            find = of_file or partial(_of_table, url or "", table or "", user)
            options.run(lambda log: _import_all(log, find, _lines(file), outcome, dry_run))
    outcome.bad.sort()
    _print_json(outcome, dry_run, names) if as_json else _print(outcome, dry_run, names)
    if outcome.bad:
        raise click.exceptions.Exit(1)


def _run_exported(options: Globals, file: IO[bytes], user: str | None, outcome: Outcome, dry_run: bool) -> None:
    from turnlog.infrastructure.cli.commands.importing_exported import import_exported  # noqa: PLC0415 it uses this

    options.run(lambda log: import_exported(log, file, _lines(file), user, outcome, dry_run))


Found = Iterator[tuple[int, Callable[[], Conversation]]]
"""The number of a line or session, and a function that gives its conversation, or raises for a bad one."""


def _of_file(file: IO[bytes], format_: str, user: str | None, limit: int) -> Found:
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, partial(_conversation, line, format_, user, limit)


def _is_exported(file: IO[bytes]) -> bool:
    """Whether it begins as an export does. Nothing of it is consumed."""
    if not file.seekable():
        return is_header(file.peek(100))  # type: ignore[attr-defined]  # a pipe is buffered
    begin = file.read(100)
    file.seek(0)
    return is_header(begin)


def _unshared(file: IO[bytes]) -> IO[bytes]:
    """A pipe with a buffer of its own: at exit Python closes the buffer of stdin, and a thread may still wait in it."""
    return file if file.seekable() else open(file.fileno(), "rb", closefd=False)


def _of_table(url: str, table: str, user: str | None, limit: int) -> Found:
    from turnlog.infrastructure.repair.foreign_table import read_table  # noqa: PLC0415 the driver

    for found in read_table(url, table):
        yield found.number, partial(_of_rows, found, user, limit)


def _of_rows(found: ForeignSession, user: str | None, limit: int) -> Conversation:
    if len(found.users) > 1:
        raise InvalidInputError(f"session {found.id}", f"has rows of several users: {', '.join(found.users)}")
    owner = found.users[0] if found.users else user
    session_id = uuid5(NAMESPACE, fingerprint(owner, "rows", found.table, found.id))
    return Conversation(checked_foreign(found.rows, "rows", limit), owner, session_id, "rows")


def _lines(file: IO[bytes] | None) -> int | None:
    """The number of lines, for the bar: None if there is no bar, or if they cannot be counted."""
    if file is None or not (file.seekable() and stderr().is_terminal):
        return None
    count = sum(1 for line in file if line.strip())
    file.seek(0)
    return count


async def _import_all(
    log: SessionLog, find: Callable[[int], Found], total: int | None, outcome: Outcome, dry_run: bool
) -> None:
    locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def work(one: tuple[int, Callable[[], Conversation]]) -> None:
        await _import(log, *one, outcome, dry_run, locks)
        advance()

    with counting_bar("importing", total) as advance:
        await each(read_aside(find(log.settings.max_message_bytes)), work)


async def _import(
    log: SessionLog,
    number: int,
    read: Callable[[], Conversation],
    outcome: Outcome,
    dry_run: bool,
    locks: WeakValueDictionary[UUID, asyncio.Lock],
) -> None:
    try:
        one = read()
        # Lines of the same session are imported in their order.
        async with locks.setdefault(checked_session_id(one.session_id), asyncio.Lock()):
            report = await log.import_conversation(one, dry_run)
    except (StoreUnavailableError, LogClosedError):
        raise
    except TurnlogError as error:
        outcome.bad.append((number, reason_of(error)))
        return
    outcome.became[report.became] += 1
    outcome.messages += len(one.messages)
    outcome.sessions.append((number, str(report.session_id)))


def reason_of(error: TurnlogError) -> str:
    """Why a line was not imported, without the word "line", which is printed anyway."""
    return error.reason if isinstance(error, InvalidInputError) and error.field == LINE else str(error)


def _conversation(line: bytes, format_: str, user: str | None, limit: int) -> Conversation:
    """The conversation of a line. The session id is made from the owner and the `id`, or without one the content."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(LINE, f"is not JSON: {error}") from error
    fields = found if isinstance(found, dict) else {"messages": found}
    fields = {name: value for name, value in fields.items() if value is not None}
    format_ = checked_format(fields.get("format", format_))
    # Checked here because the session's id is made from it, and because a dry run checks it as well.
    user = fields.get("user_id", user)
    user = None if user is None else checked_id(user, "user_id")
    title = checked_title(fields["title"]) if fields.get("title", "") != "" else None
    messages = checked_foreign(_messages(fields, format_), format_, limit)
    if "session_id" in fields:
        session_id = checked_session_id(fields["session_id"])
    else:
        session_id = uuid5(NAMESPACE, fingerprint(user, format_, _key(fields.get("id")) or messages))
    return Conversation(messages, user, session_id, format_, title)


def _messages(fields: dict[str, Any], format_: ForeignFormat) -> Any:
    """The messages of a line, which may be a request of its API, with the system prompt in a field of its own."""
    messages = fields.get("messages", fields.get("input") if format_ == "responses" else None)
    if messages is None:
        raise InvalidInputError(LINE, "has no `messages`")
    if format_ == "responses" and isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    system = fields.get({"anthropic": "system", "responses": "instructions"}.get(format_, ""))
    if system is None or not isinstance(messages, list):
        return messages
    return [{"role": "system", "content": system}, *messages]


def _key(value: Any) -> str | None:
    """The `id` of a conversation as text. It may be a whole number."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidInputError("id", f"must be a string or a whole number, not {value!r:.80}")


def _print(outcome: Outcome, dry_run: bool, names: tuple[str, str]) -> None:
    screen = stderr()
    for number, reason in outcome.bad:
        screen.say(f"line {number}: {reason}", style="red")
    became = {name.replace("_", " "): outcome.became[name] for name in BECAME}
    what = "would be imported" if dry_run else "imported"
    told = ", ".join(f"{number:,} {name}" for name, number in became.items())
    whole = f"{counted(outcome.became.total(), names[0])} with {counted(outcome.messages, names[1])}"
    stdout().say(f"{whole} {what}: {told}; {len(outcome.bad):,} not imported")


def _print_json(outcome: Outcome, dry_run: bool, names: tuple[str, str]) -> None:
    bad = [{"line": number, "reason": reason} for number, reason in outcome.bad]
    done = {"imported": outcome.became.total(), f"{names[1]}s": outcome.messages, "dry_run": dry_run}
    done |= {name: outcome.became[name] for name in BECAME}
    emit_json(json.dumps({**done, "sessions": [session_id for _, session_id in sorted(outcome.sessions)], "bad": bad}))
