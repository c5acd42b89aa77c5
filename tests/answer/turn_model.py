"""A world of sessions in which several participants say, answer, stop, decide and die, as a seed says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID

from tests.answer.participants import Participant
from tests.answer.scripted import Script
from turnlog import (
    SYSTEM,
    LogClosedError,
    Session,
    Settings,
    StepClosedError,
    StoreUnavailableError,
    ToolResultConflictError,
    ToolRunningError,
    TurnClosedError,
    TurnInProgressError,
    UnknownToolCallError,
)

LEASE_SECONDS = 0.5
SETTLES_WITHIN = 90.0
"""Seconds within which everything comes to its end once nothing goes wrong any more."""
REFUSALS = (
    LogClosedError,
    StepClosedError,
    StoreUnavailableError,
    ToolResultConflictError,
    ToolRunningError,
    TurnClosedError,
    TurnInProgressError,
    UnknownToolCallError,
)
"""What an operation may be refused with."""

Work = Callable[[Participant, Session, Random], Awaitable[Any]]


class Talk:
    """One session of the world. `model` names it to the provider; `messages` are the ids of the messages that were
    sent, and `trace` what was done."""

    def __init__(self, model: str, session_id: UUID, rng: Random) -> None:
        self.model = model
        self.session_id = session_id
        self.rng = rng
        self.messages: list[str] = []
        self.held_runs: set[str] = set()
        self.trace: list[str] = []


class World:
    """Participants, and the sessions on which they work."""

    def __init__(self, seed: int, settings: Settings) -> None:
        self.seed = seed
        self.rng = Random(seed)
        reap = 0.3 if self.rng.random() < 0.5 else 0
        self._settings = settings.model_copy(update={"lease_seconds": LEASE_SECONDS, "reap_seconds": reap})
        self.participants: dict[str, Participant] = {}
        self.script = Script(seed, self._interrupt)
        self.talks: list[Talk] = []
        self.wrong: list[str] = []
        self._dice = threading.Lock()
        self._kills_left = 2
        self._under_way: list[tuple[Participant, str, asyncio.Task[None]]] = []

    async def open(self, participants: int, talks: int) -> None:
        """Opens the logs and starts the sessions."""
        opened = await asyncio.gather(*(self._opened(f"p{number}") for number in range(participants)))
        for number in range(talks):
            session = await opened[0].call(lambda: opened[0].log.start_session(user_id="u1"))
            self.talks.append(Talk(f"s{number}", session.id, Random(f"{self.seed} {number}")))

    async def _opened(self, name: str) -> Participant:
        participant = self.participants[name] = await Participant(name, self._settings).open()
        return participant

    async def close(self) -> None:
        """Closes everything, the dead too."""
        self.script.is_calm = True
        await asyncio.gather(*(participant.close() for participant in self.participants.values()))
        for _, _, task in self._under_way:
            task.cancel()
        await asyncio.gather(*(task for _, _, task in self._under_way), return_exceptions=True)

    # What goes wrong

    def _interrupt(self, name: str, rng: Random) -> None:
        """Holds a participant where it is."""
        if (dies := self._may_hold(rng)) is not None:
            self._has_troubles()
            self.participants[name].hold_here(dies=dies)

    def _may_hold(self, rng: Random) -> bool | None:
        """Whether a participant that is held now dies; None if none is to be held."""
        with self._dice:
            alive = [one for one in self.participants.values() if not one.is_held]
            if len(alive) < 2:
                return None
            dies = rng.random() < 0.5 and self._kills_left > 0 and len(alive) > 1
            self._kills_left -= dies
            return dies

    def _has_troubles(self) -> None:
        for talk in self.talks:
            self.script.count_trouble(talk.model)

    async def _disturb(self) -> None:
        """Holds participants from time to time, and lets those go that are not dead."""
        while True:
            await asyncio.sleep(self.rng.random() * LEASE_SECONDS)
            for participant in self.participants.values():
                if participant.is_held and not participant.is_dead and self.rng.random() < 0.4:
                    participant.let_go()
            if self.rng.random() < 0.2:
                participant = self.rng.choice(list(self.participants.values()))
                if not participant.is_held and (dies := self._may_hold(self.rng)) is not None:
                    self._has_troubles()
                    participant.hold(dies=dies)

    # What is done

    async def run(self, operations: int) -> None:
        """Does so many operations in each session, and then lets everything come to its end."""
        disturbing = asyncio.create_task(self._disturb())
        try:
            await asyncio.gather(*(self._talk(talk, operations) for talk in self.talks))
        finally:
            disturbing.cancel()
            await asyncio.gather(disturbing, return_exceptions=True)
        await self.settle()

    async def _talk(self, talk: Talk, operations: int) -> None:
        for _ in range(operations):
            await asyncio.sleep(talk.rng.random() * 0.15)
            alive = [one for one in self.participants.values() if not one.is_held]
            participant = talk.rng.choice(alive)
            name, work = talk.rng.choices(list(OPERATIONS.items()), [weight for _, weight in OPERATIONS.values()])[0]
            await self.do(talk, participant, name, work[0])

    async def do(self, talk: Talk, participant: Participant, name: str, work: Operation) -> None:
        """Begins an operation; waits for it now and then."""
        rng = Random(talk.rng.random())
        talk.trace.append(f"{participant.name} {name}")

        async def run() -> None:
            try:
                await work(self, talk, participant, participant.log.session(talk.session_id, SYSTEM), rng)
            except REFUSALS as error:
                talk.trace.append(f"{participant.name} {name}: {type(error).__name__}: {error}")
            except Exception as error:  # noqa: BLE001 whatever it is, it is reported
                self.wrong.append(f"{talk.model} {participant.name} {name}: {type(error).__name__}: {error}")

        task = asyncio.ensure_future(participant.call(run))
        self._under_way.append((participant, f"{talk.model} {name}", task))
        if rng.random() < 0.3:
            await asyncio.wait([task], timeout=rng.random())

    # The end

    async def settle(self) -> None:
        """Everybody who lives comes to his end, and somebody else goes on with the turns of the dead."""
        self.script.is_calm = True
        for participant in self.participants.values():
            if participant.is_held and not participant.is_dead:
                participant.let_go()
        healer = await self._opened("healer")
        try:
            async with asyncio.timeout(SETTLES_WITHIN):
                await self._heal(healer)
                await self._living()
                await self._heal(healer)
        except TimeoutError:
            late = [name for one, name, task in self._under_way if not one.is_dead and not task.done()]
            self.wrong.append(f"not at its end after {SETTLES_WITHIN:g} s; under way: {late}")

    async def _living(self) -> None:
        """Waits for what those who live have begun."""
        tasks = [task for participant, _, task in self._under_way if not participant.is_dead]
        if tasks:
            await asyncio.wait(tasks)

    async def _heal(self, healer: Participant) -> None:
        by_id = {talk.session_id: talk for talk in self.talks}

        def answer(session: Session) -> Any:
            return self.answer(by_id[session.id], healer, session)

        unsettled = list(self.talks)
        while unsettled:
            await healer.call(lambda: healer.log.resume(answer))
            unsettled = [
                talk for talk in self.talks if not await healer.call(lambda t=talk: self._is_settled(healer, t))
            ]
            await asyncio.sleep(0.05)

    async def _is_settled(self, healer: Participant, talk: Talk) -> bool:
        session = healer.log.session(talk.session_id, SYSTEM)
        view = await session.view()
        for call in view.waiting_tool_calls:
            with suppress(*REFUSALS):
                if call.waits_for == "decision":
                    await session.refuse(call.id, by="healer", step_id=call.step_id)
                else:
                    await session.add_tool_result(call.id, f"late {call.step_id}", step_id=call.step_id)
        if view.turns and view.turns[-1].status == "open":
            with suppress(*REFUSALS):
                await self.answer(talk, healer, session)
        return all(turn.has_ended for turn in view.turns) and not view.waiting_tool_calls

    def answer(self, talk: Talk, participant: Participant, session: Session, **arguments: Any) -> Any:
        """The answer of a session, with the scripted provider and tools."""
        client, tools = self.script.client(participant.name), self.script.tools(participant.name)
        return session.answer(client, model=talk.model, tools=tools, max_steps=30, **arguments)


Operation = Callable[[World, Talk, Participant, Session, Random], Awaitable[Any]]


async def _answer(world: World, talk: Talk, participant: Participant, session: Session, rng: Random) -> None:
    message_id = f"{talk.model}-{len(talk.messages)}"
    talk.messages.append(message_id)
    on_busy = rng.choice(["steer", "steer", "queue", "queue", "refuse", "stop"])
    await _ask(world, talk, participant, session, message_id, on_busy, rng)


async def _retry(world: World, talk: Talk, participant: Participant, session: Session, rng: Random) -> None:
    if talk.messages:
        message_id = rng.choice(talk.messages)
        await _ask(world, talk, participant, session, message_id, rng.choice(["steer", "queue", "refuse"]), rng)


async def _ask(
    world: World, talk: Talk, participant: Participant, session: Session, message_id: str, on_busy: str, rng: Random
) -> None:
    talk.trace.append(f"{participant.name} {message_id} {on_busy}")
    if on_busy == "stop":
        world.script.count_trouble(talk.model)
    answer = world.answer(
        talk,
        participant,
        session,
        message=message_id,
        message_id=message_id,
        on_busy=on_busy,
        on_break=rng.choice(["end", "again"]),
    )
    if rng.random() < 0.3:
        deltas = [delta.position async for delta in answer]
        assert deltas == sorted(set(deltas))
    outcome = await answer
    assert outcome.status in ("finished", "waiting", "stopped", "failed", "abandoned", "interrupted"), outcome
    assert any(message.message_id == message_id for message in outcome.turn.messages), outcome
    talk.trace.append(f"{participant.name} {message_id} {outcome.status} {outcome.reason}")


async def _go_on(world: World, talk: Talk, participant: Participant, session: Session, _rng: Random) -> None:
    outcome = await world.answer(talk, participant, session)
    talk.trace.append(f"{participant.name} went on: {outcome.turn_id} {outcome.status} {outcome.reason}")


async def _say(world: World, talk: Talk, _participant: Participant, session: Session, rng: Random) -> None:
    message_id = f"{talk.model}-{len(talk.messages)}"
    talk.messages.append(message_id)
    on_busy = rng.choice(["steer", "queue", "stop"])
    if on_busy == "stop":
        world.script.count_trouble(talk.model)
    await session.say(message_id, message_id, on_busy=on_busy)


async def _cancel(world: World, talk: Talk, _participant: Participant, session: Session, rng: Random) -> None:
    world.script.count_trouble(talk.model)
    turn_id = rng.choice([None, *talk.messages])
    await session.cancel("stopped by hand", turn_id=turn_id)


async def _late_result(_world: World, _talk: Talk, _participant: Participant, session: Session, rng: Random) -> None:
    for call in (await session.view()).pending_tool_calls:
        status = rng.choice(["final", "error", "pending"])
        await session.add_tool_result(call.id, f"late {rng.random()}", status, step_id=call.step_id)


async def _decide(_world: World, _talk: Talk, _participant: Participant, session: Session, rng: Random) -> None:
    for call in (await session.view()).waiting_tool_calls:
        if call.waits_for != "decision":
            continue
        if rng.random() < 0.7:
            await session.approve(call.id, by="somebody", step_id=call.step_id, for_turn=rng.random() < 0.3)
        else:
            await session.refuse(call.id, by="somebody", reason="no", step_id=call.step_id)


async def _resume(world: World, talk: Talk, participant: Participant, _session: Session, _rng: Random) -> None:
    by_id = {one.session_id: one for one in world.talks}
    await participant.log.resume(lambda session: world.answer(by_id[session.id], participant, session))


async def _own_loop(world: World, talk: Talk, participant: Participant, session: Session, rng: Random) -> None:
    client = world.script.client(participant.name)
    async with session.turn(takeover=rng.random() < 0.5) as turn:
        talk.held_runs.add(turn._owner.run)
        stream = client.chat.completions.create(model=talk.model, messages=await session.prompt())
        recording = session.record(stream)
        with suppress(Exception):
            async for _ in recording:
                pass
        for call in (await session.view()).pending_tool_calls:
            if call.step_id == recording.step_id:
                await turn.start_tool(call)
                await session.add_tool_result(call.id, "by hand", step_id=call.step_id)


OPERATIONS: dict[str, tuple[Operation, int]] = {
    "answer": (_answer, 6),
    "retry": (_retry, 3),
    "go on": (_go_on, 2),
    "say": (_say, 2),
    "cancel": (_cancel, 2),
    "late result": (_late_result, 2),
    "decide": (_decide, 3),
    "resume": (_resume, 1),
    "own loop": (_own_loop, 1),
}
