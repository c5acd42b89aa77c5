"""The demo from its beginning to its end."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from turnlog.infrastructure.cli.output import Screen, one_line, shortened
from turnlog.infrastructure.cli.transcript import print_block, print_session
from turnlog.infrastructure.demo.client import Answerer, is_live, live, recorded
from turnlog.infrastructure.demo.conversation import Player
from turnlog.infrastructure.demo.crash import Crash, crash
from turnlog.infrastructure.demo.crowd import crowd
from turnlog.infrastructure.demo.killed_turn import killed_turn
from turnlog.infrastructure.demo.meter import Measured, Meter
from turnlog.infrastructure.demo.scene import Scene, load_scene
from turnlog.infrastructure.demo.stage import Stage
from turnlog.infrastructure.demo.summary import Summary, print_summary
from turnlog.infrastructure.log import SessionLog
from turnlog.infrastructure.principal import SYSTEM
from turnlog.infrastructure.session import Session
from turnlog.infrastructure.settings import Settings

USER = "demo"
KEPT = 3
"""Sessions that can be kept: all but the crowd's."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen. `pace` is in seconds a chunk, None is as recorded; `keep` leaves the sessions in the log."""

    pace: float | None = None
    keep: bool = False
    model: str = "gpt-4o-mini"
    crowd: int = 50


async def run_demo(settings: Settings, options: Options, screen: Screen, progress: Screen) -> Summary:
    """Runs it, and prints on `screen`; progress bars go to `progress`. Raises TurnlogError and OpenAIError."""
    stage = Stage(screen)
    scene = load_scene(options.pace)
    began = time.perf_counter()
    async with SessionLog.open(settings) as log, _answerer(options) as answerer, _sessions(log, options) as cast:
        stage.note(f"Connected after {time.perf_counter() - began:.1f} s. Answers come from {_provider(options)}.")
        stage.heading(1, "A conversation: text, parallel tool calls, and a tool that runs for minutes")
        talk = await _talk(log, cast[0], scene, answerer, stage)
        stage.heading(2, "A handler is killed in mid-stream")
        crashed, recovery = await _crash(log, cast[1], scene, answerer, stage)
        stage.heading(3, "A process is killed while its tool runs, and another one finishes the turn")
        killed = await killed_turn(cast[2], log.settings, scene, answerer, stage)
        stage.heading(4, f"{options.crowd} sessions at once: group commit")
        stage.note(f"(each records {len(scene.crowd.chunks)} chunks; what has queued up meanwhile is one commit)")
        crowded = await crowd(log, cast[KEPT:], scene, progress)
        stage.note(_crowd_text(crowded))
        stage.heading(5, "What the log made of the conversation")
        await _show(cast[0], screen)
        kept = [str(session.id) if options.keep else None for session in cast[:KEPT]]
        seconds = time.perf_counter() - began
        summary = Summary(
            _provider(options), talk, kept[0], crashed, recovery, kept[1], killed, kept[2], crowded, seconds
        )
        stage.heading(6, "Summary")
        print_summary(screen, summary)
    return summary


def _provider(options: Options) -> str:
    return f"the provider of the environment, {options.model}" if is_live() else "recorded streams, over HTTP"


def _answerer(options: Options) -> AbstractAsyncContextManager[Answerer]:
    return live(options.model) if is_live() else recorded([])


@asynccontextmanager
async def _sessions(log: SessionLog, options: Options) -> AsyncIterator[list[Session]]:
    """One for the conversation, one for each process that is killed, and the crowd's. Deletes them afterwards, but
    those to keep."""
    titles = [
        "A day at the harbour",
        "How to keep a lighthouse",
        "The weather in Lisbon",
        *["In the crowd"] * options.crowd,
    ]
    sessions = [await log.start_session(user_id=USER, title=title) for title in titles]
    try:
        yield sessions
    finally:
        for session in sessions[KEPT if options.keep else 0 :]:
            await log.delete_session(session.id, SYSTEM)


async def _talk(log: SessionLog, session: Session, scene: Scene, answerer: Answerer, stage: Stage) -> Measured:
    with Meter(log) as meter:
        await Player(answerer, meter, stage).play(session, scene)
    return meter.measured


async def _crash(
    log: SessionLog, session: Session, scene: Scene, answerer: Answerer, stage: Stage
) -> tuple[Crash, Measured]:
    with Meter(log) as meter:
        crashed = await crash(session, log.settings, scene, Player(answerer, meter, stage), stage)
    return crashed, meter.measured


def _crowd_text(measured: Measured) -> str:
    return (
        f"{measured.events:,} events in {measured.commits:,} commits, {measured.events_per_commit:.1f} to a commit; "
        f"a delta was durable after {measured.wait_ms(0.50):.1f} ms (p50), {measured.wait_ms(0.99):.1f} ms (p99)."
    )


async def _show(session: Session, screen: Screen) -> None:
    print_session(screen, await session.view())
    screen.say("\nThe next prompt, shortened:", style="bold")
    messages: list[Any] = await session.prompt()
    for message in messages:
        print_block(screen, message["role"], shortened(_in_short(message), 78), "dim")


def _in_short(message: dict[str, Any]) -> str:
    text = one_line(message["content"] if isinstance(message["content"], str) else json.dumps(message["content"] or ""))
    if calls := message.get("tool_calls"):
        named = ", ".join(f"{call['function']['name']} {call['id']}" for call in calls)
        return f"{shortened(text, 30)} tool_calls: {one_line(named)}" if message["content"] else one_line(named)
    return f"{message['tool_call_id']}: {text}" if message["role"] == "tool" else text
