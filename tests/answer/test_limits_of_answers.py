"""Limits of an answer, what goes wrong in it, and where it cannot be used. Whatever it is, the turn ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.answering import Gate, asking, calling, said, slow, statuses, told, turns_of, until
from turnlog import (
    InvalidInputError,
    Pending,
    Session,
    SessionLog,
    Settings,
    StoreUnavailableError,
    Tool,
    TurnClosedError,
)
from turnlog.infrastructure.answer import turn_work
from turnlog.testing import Answer, Failure, Recorded, ToolCall


async def ping() -> str:
    return "pong"


# How much


async def test_so_many_requests_and_no_more(session: Session) -> None:
    async with asking(lambda _: calling("ping")) as model:
        outcome = await model.answer(session, "Hi", "m-1", tools=[ping], max_steps=3)
        assert (outcome.status, outcome.reason, model.asked) == ("failed", "no end after 3 requests", 3)
        assert not (await turns_of(session))[0].steps[-1].unanswered_calls()
        outcome = await model.answer(session, "Hi", "m-1", tools=[ping], max_steps=2)
        assert (outcome.status, model.asked) == ("failed", 5)


async def test_messages_that_are_steered_do_not_count_as_requests(session: Session) -> None:
    async with asking([calling("say"), Answer("Done.")]) as model:

        async def say() -> str:
            for number in range(5):
                await session.say(str(number))
            return "said"

        assert (await model.answer(session, "Hi", tools=[say], max_steps=2)).status == "finished"


async def test_so_many_tools_at_a_time(session: Session) -> None:
    running, most = 0, 0

    async def work() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        return "done"

    async with asking([calling(*["work"] * 7), Answer("Done.")]) as model:
        assert (await model.answer(session, "Hi", tools=[work], max_parallel=3)).status == "finished"
    assert most == 3


@pytest.mark.parametrize("when", ["it streams", "a tool runs", "it has not begun"])
async def test_so_many_seconds(session: Session, when: str) -> None:
    gate = Gate()
    first = {"it streams": slow(delay=0.2), "a tool runs": calling("wait"), "it has not begun": Answer("x", delay=5)}
    async with asking([first[when], Answer("Now.")]) as model:
        outcome = await model.answer(session, "Hi", "m-1", tools=[gate.tool], seconds=0.5)
        assert (outcome.status, outcome.reason) == ("failed", "not answered within 0.5 seconds")
        (turn,) = await turns_of(session)
        assert turn.steps[0].status == ("finished" if when == "a tool runs" else "failed")
        outcome = await model.answer(session, "Hi", "m-1", tools=[gate.tool])
        assert (outcome.status, outcome.text, model.asked) == ("finished", "Now.", 2)
        assert said(model.prompts[1])[-1][0] == ("tool" if when == "a tool runs" else "user")


# What goes wrong


async def test_what_goes_wrong_with_a_tool_is_read_by_the_model(session: Session) -> None:
    async def fails() -> str:
        raise ValueError("no such city")

    async def sleeps() -> str:
        await asyncio.sleep(10)
        return "late"

    async def adds(number: int) -> int:
        return number

    def huge() -> str:
        return "x" * 2_000_000

    def strange() -> Any:
        return object()

    tools = [fails, Tool(sleeps, timeout=0.1), adds, huge, strange]
    calls = [ToolCall(name) for name in ("fails", "sleeps", "huge", "strange", "made_up")]
    calls += [ToolCall("adds", "{not json"), ToolCall("adds", {"number": "many"}), ToolCall("adds", {"number": 3})]
    async with asking([Answer(tool_calls=calls), Answer("I see.")]) as model:
        assert (await model.answer(session, "Hi", tools=tools)).text == "I see."
        contents = {m["tool_call_id"]: m["content"] for m in model.prompts[1] if m["role"] == "tool"}
        results = [contents[call["id"]] for call in model.prompts[1][1]["tool_calls"]]
    for result, words in zip(results, [
        "no such city", "did not end within 0.1 seconds", "", "not JSON", "There is no tool of the name made_up",
        "not valid", "number", "3",
    ], strict=True):  # fmt: skip
        assert words in result
    (turn,) = await turns_of(session)
    by_index = {result.index: result.status for result in turn.steps[0].tool_results}
    assert by_index == {0: "error", 1: "error", 2: "final", 3: "error", 4: "error", 5: "error", 6: "error", 7: "final"}


async def test_a_result_that_is_too_large_is_said_to_be(settings: Settings) -> None:
    def huge() -> str:
        return "x" * 2_000

    async with SessionLog.open(settings.model_copy(update={"max_message_bytes": 1_000})) as log:
        session = await log.start_session("u1")
        async with asking([calling("huge"), Answer("I see.")]) as model:
            assert (await model.answer(session, "Hi", tools=[huge])).text == "I see."
            assert "Ask for less" in said(model.prompts[1])[-1][1]


async def test_a_stream_that_breaks_ends_the_turn_and_is_made_again_by_a_retry(session: Session) -> None:
    async with asking([Answer("Hello there you", fails_after=2), Answer("Whole.")]) as model:
        outcome = await model.answer(session, "Hi", "m-1")
        assert (outcome.status, outcome.text, model.asked) == ("failed", "Hello there", 1)
        assert (await model.answer(session, "Hi", "m-1")).text == "Whole."
        assert said(model.prompts[1]) == [("user", "Hi")]
    assert said(await session.prompt()) == [("user", "Hi"), ("assistant", "Whole.")]


async def test_a_stream_that_breaks_is_asked_for_again_by_policy_and_followers_are_told(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_work, "RETRY_SECONDS", 0.01)
    broken = Answer("Hello there you", fails_after=2)
    async with asking([broken, broken, Answer("Whole.")]) as model:
        follower = asyncio.create_task(told(session.deltas(until_turn_ends=True)))
        outcome = await model.answer(session, "Hi", on_break="again")
        assert (outcome.status, outcome.text) == ("finished", "Whole.")
        assert [said(prompt) for prompt in model.prompts] == [[("user", "Hi")]] * 3
        begun = [delta for delta in await follower if delta.kind == "step_started"]
    (turn,) = await turns_of(session)
    assert [step.supersedes for step in turn.steps] == [None, turn.steps[0].step_id, turn.steps[1].step_id]
    assert [delta.supersedes for delta in begun] == [step.supersedes for step in turn.steps]
    assert said(await session.prompt()) == [("user", "Hi"), ("assistant", "Whole.")]


async def test_a_stream_that_breaks_again_and_again_is_given_up(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_work, "RETRY_SECONDS", 0.01)
    async with asking(lambda _: Answer("Hello there", fails_with=Failure(500), fails_after=1)) as model:
        outcome = await model.answer(session, "Hi", on_break="again", attempts=4)
        assert (outcome.status, model.asked) == ("failed", 4)


async def test_what_a_provider_refuses_is_not_asked_for_again(session: Session) -> None:
    async with asking(lambda _: Failure(429)) as model:
        assert (await model.answer(session, "Hi", on_break="again")).status == "failed"
        assert model.asked == 1


async def test_a_prompt_that_cannot_be_built_ends_the_turn(session: Session) -> None:
    async with asking() as model:
        outcome = await model.answer(session, "word " * 500, "m-1", max_tokens=20)
        assert outcome.status == "failed"
        assert "PromptTooLongError" in outcome.reason
        assert model.asked == 0
        assert (await model.answer(session, "word " * 500, "m-1")).status == "finished"


async def test_a_client_that_raises_ends_the_turn(session: Session) -> None:
    class Completions:
        def create(self, **_: Any) -> Any:
            raise TimeoutError("no proxy")

    client = type("Client", (), {"chat": type("Chat", (), {"completions": Completions()})()})()
    outcome = await session.answer(client, model="m", message="Hi")
    assert (outcome.status, outcome.reason) == ("failed", "TimeoutError: no proxy")
    assert await statuses(session) == ["failed"]


async def test_a_store_that_fails_leaves_a_turn_that_can_be_gone_on_with(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailableError("Postgres is away")

    gate = Gate()
    async with asking([calling("wait"), Answer("Done.")]) as model:
        answer = model.answer(session, "Hi", tools=[gate.tool])
        await gate.begun.wait()
        with monkeypatch.context() as patch:
            patch.setattr(type(answer._io), "known_turns", away)
            gate.opened.set()
            with pytest.raises(StoreUnavailableError):
                await answer
        assert await statuses(session) == ["abandoned"]
        assert (await model.answer(session, tools=[gate.tool])).text == "Done."
        assert (gate.runs, model.asked) == (1, 2)


async def test_whatever_a_tool_raises_the_turn_does_not_stay_in_hand(session: Session) -> None:
    class Worse(BaseException):
        pass

    async def explodes() -> str:
        raise Worse("boom")

    async with asking([calling("explodes"), Answer("Done.")]) as model:
        with pytest.raises(Worse):
            await model.answer(session, "Hi", tools=[explodes])
        assert await statuses(session) == ["abandoned"]
        assert (await model.answer(session, tools=[explodes])).text == "Done."


async def test_there_is_nothing_to_answer(session: Session) -> None:
    async with asking([Answer("Hello.")]) as model:
        with pytest.raises(TurnClosedError, match="nothing to answer"):
            await model.answer(session)
        await model.answer(session, "Hi")
        with pytest.raises(TurnClosedError, match="nothing to answer"):
            await model.answer(session)
        assert model.asked == 1


async def test_what_is_wrong_with_the_arguments_is_said_at_once(session: Session) -> None:
    async with asking() as model:
        wrong: list[tuple[str, dict[str, Any]]] = [
            ("message", {"message_id": "m-1"}),
            ("on_busy", {"message": "Hi", "on_busy": "wait"}),
            ("on_break", {"message": "Hi", "on_break": "twice"}),
            ("max_steps", {"message": "Hi", "max_steps": 0}),
            ("max_parallel", {"message": "Hi", "max_parallel": 0}),
            ("seconds", {"message": "Hi", "seconds": -1}),
            ("attempts", {"message": "Hi", "attempts": 0}),
            ("extra.stream", {"message": "Hi", "extra": {"stream": False}}),
            ("tools[0]", {"message": "Hi", "tools": [3]}),
        ]
        for field, options in wrong:
            with pytest.raises(InvalidInputError) as refused:
                model.answer(session, **options)
            assert refused.value.field == field
        with pytest.raises(InvalidInputError, match="client"):
            session.answer(object(), model="m", message="Hi")
        assert await turns_of(session) == ()


async def test_further_arguments_reach_the_provider(session: Session) -> None:
    async with asking() as model:
        extra = {"temperature": 0.5, "tool_choice": "none"}
        await model.answer(session, "Hi", tools=[ping], extra=extra)
        request = model.provider.requests[0]
        assert (request["temperature"], request["tool_choice"]) == (0.5, "none")
        assert request["stream_options"] == {"include_usage": True}
        assert (await session.view()).usage.total_tokens > 0


async def test_an_answer_that_is_left_goes_on(session: Session) -> None:
    async with asking([slow("Hello.")]) as model:
        answer = model.answer(session, "Hi")
        waiting = asyncio.create_task(told(aiter(answer)))
        await until(lambda: model.asked)
        waiting.cancel()
        del answer
        await asyncio.gather(waiting, return_exceptions=True)
        await told(session.deltas(until_turn_ends=True))
    assert await statuses(session) == ["finished"]


async def test_deltas_of_an_answer_are_those_of_its_turn(log: SessionLog, settings: Settings) -> None:
    async with asking([Answer("One."), Answer("Two."), slow("Three.")]) as model, SessionLog.open(settings) as other:
        session = await log.start_session("u1")
        await model.answer(session, "one")
        there = other.session(session.id, "u1")  # which has not read anything yet
        deltas = await told(aiter(model.answer(there, "two")))
        assert "".join(delta.text for delta in deltas if delta.kind == "text") == "Two."
        await session.say("three")
        deltas = await told(aiter(model.answer(there)))
        assert "".join(delta.text for delta in deltas if delta.kind == "text") == "Three."
        assert not [delta for delta in deltas if delta.kind == "message"]


async def test_a_recorded_stream_is_answered_as_it_was(session: Session) -> None:
    async with asking([Recorded("plain-text")]) as model:
        outcome = await model.answer(session, "Hi")
        assert outcome.status == "finished"
        assert outcome.text


async def test_a_tool_may_be_pending_for_one_call_and_final_for_another(session: Session) -> None:
    async def act(later: bool) -> Any:
        return Pending("later") if later else "now"

    calls = Answer(tool_calls=[ToolCall("act", {"later": True}), ToolCall("act", {"later": False})])
    async with asking([calls, Answer("One is there.")]) as model:
        assert (await model.answer(session, "Hi", tools=[act])).status == "waiting"
        assert [content for role, content in said(model.prompts[1]) if role == "tool"] == ["later", "now"]
