"""What is counted and measured, against what is in the log."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from tests.support.answering import asking, until
from tests.support.telemetry import Telemetry
from turnlog import SYSTEM, Session, SessionLog, Settings, StoreError
from turnlog.infrastructure import composition
from turnlog.infrastructure.otel import names
from turnlog.infrastructure.otel.prefixes import Prefixes
from turnlog.infrastructure.otel.spans import OpenSpans
from turnlog.testing import Answer, ToolCall


def weather() -> str:
    """The weather."""
    return "21 degrees"


async def answered(session: Session) -> None:
    script = [Answer(tool_calls=[ToolCall("weather")]), Answer(["It ", "is ", "warm."], delay=0.02)]
    async with asking(script) as model:
        await model.answer(session, "what is the weather", tools=[weather])


async def test_what_was_stored_is_counted(session: Session, log: SessionLog, telemetry: Telemetry) -> None:
    await answered(session)

    events = [recorded.event async for recorded in session.events()]
    texts = sum(event.topic == "text-delta.v1" for event in events)
    statistics = log.writer_statistics
    assert telemetry.value("turnlog.deltas", turnlog_delta_kind="text-delta") == texts > 0
    assert telemetry.value("turnlog.deltas", turnlog_delta_kind="tool-call-started") == 1
    assert telemetry.value("turnlog.events") == statistics.events == len(events)
    assert telemetry.value("turnlog.commits") == statistics.commits
    assert telemetry.value("turnlog.commit.duration") == telemetry.value("turnlog.commit.size") == statistics.commits
    (size,) = telemetry.points("turnlog.commit.size")
    assert size.sum == len(events)
    assert telemetry.value("turnlog.events.failed") == 0
    assert telemetry.value("turnlog.queue") == 0


async def test_answers_are_measured(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    view = await session.view()
    asked = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "m"}
    assert telemetry.value("gen_ai.client.operation.duration", turnlog_step_status="finished", **asked) == 2
    assert telemetry.value("gen_ai.client.operation.time_to_first_chunk", **asked) == 2
    usages = {point.attributes["gen_ai.token.type"]: point for point in telemetry.points("gen_ai.client.token.usage")}
    assert usages["input"].sum == view.usage.prompt_tokens
    assert usages["output"].sum == view.usage.completion_tokens
    gaps = telemetry.points("gen_ai.client.operation.time_per_output_chunk")
    assert sum(point.count for point in gaps) >= 2
    assert 0 < sum(point.sum for point in gaps) < 10
    assert telemetry.value("turnlog.turn.duration", turnlog_turn_status="finished") == 1
    assert telemetry.value("turnlog.tool.duration", gen_ai_tool_name="weather", turnlog_tool_result_status="final") == 1


async def test_every_metric_is_told_and_is_described(session: Session, telemetry: Telemetry) -> None:
    await answered(session)
    await session.view()
    session._parts.observer.proxied("unrecorded")

    described = {metric.name for metric in names.METRICS}
    lags = {names.LAG.name, names.LAG_TIME.name}  # nothing was projected
    assert telemetry.names() == described - lags


async def test_every_attribute_is_described(session: Session, telemetry: Telemetry) -> None:
    await answered(session)

    for metric in names.METRICS:
        for point in telemetry.points(metric.name):
            assert set(point.attributes) <= set(metric.attributes), metric.name
    kinds = {kind.name.partition(" ")[0]: kind for kind in names.SPANS}
    for span in telemetry.spans():
        assert set(span.attributes) <= set(kinds[span.name.partition(" ")[0]].attributes), span.name


def test_the_names_are_those_of_the_conventions() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    known = {
        value
        for module in (gen_ai_attributes, gen_ai_metrics)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    used = {metric.name for metric in names.METRICS}
    used |= {one for kind in names.SPANS for one in (*kind.attributes, *kind.content)}
    assert {name for name in used if name.startswith("gen_ai.")} <= known


async def test_followers_are_counted_as_long_as_they_follow(session: Session, telemetry: Telemetry) -> None:
    following = session.follow()
    await anext(following)
    assert telemetry.value("turnlog.followers") == telemetry.value("turnlog.sessions.followed") == 1
    await following.aclose()
    assert telemetry.value("turnlog.followers") == telemetry.value("turnlog.sessions.followed") == 0


async def test_a_kept_view_and_prompt_are_hits(session: Session, telemetry: Telemetry) -> None:
    await session.say("Hi")
    for read in (session.view, session.view, session.prompt, session.prompt):
        await read()
        await session._parts.background.close()  # what is kept for the next reader is there

    def looked(cache: str, *, hit: bool) -> float:
        return telemetry.value("turnlog.cache.lookups", turnlog_cache=cache, turnlog_cache_hit=hit)

    assert (looked("prompt", hit=False), looked("prompt", hit=True)) == (1, 1)
    assert (looked("view", hit=False), looked("view", hit=True)) == (1, 2)  # the first prompt has looked, too


async def test_a_prompt_whose_beginning_has_changed_is_broken(session: Session, telemetry: Telemetry) -> None:
    def prompts() -> list[float]:
        kinds = ("first", "extended", "broken")
        return [telemetry.value("turnlog.prompts", turnlog_prompt_prefix=kind) for kind in kinds]

    await answered(session)
    assert prompts() == [1, 1, 0]
    await session.say("And tomorrow?")
    await session.prompt()
    assert prompts() == [1, 2, 0]
    await session.prompt(max_tokens=20)  # what is too old is left out
    assert prompts() == [1, 2, 1]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (["a"], ["a", "b"], "extended"),
        (["a", "b"], ["a", "b"], "extended"),
        (["a", "b"], ["a"], "broken"),
        (["a", "b"], ["x", "b", "c"], "broken"),
        ([{"role": "user", "content": "\ud83d"}], [{"role": "user", "content": "\ud83d"}, "b"], "extended"),
        ({"system": "a", "messages": [1]}, {"system": "a", "messages": [1, 2]}, "extended"),
        ({"system": "a", "messages": [1]}, {"system": "b", "messages": [1, 2]}, "broken"),
    ],
)
def test_what_a_prompt_is_to_the_one_before(before: object, after: object, found: str) -> None:
    prefixes, session_id = Prefixes(), uuid4()
    assert prefixes.of(session_id, "chat", before) == "first"
    assert prefixes.of(uuid4(), "chat", after) == prefixes.of(session_id, "anthropic", after) == "first"
    assert prefixes.of(session_id, "chat", after) == found


def test_what_is_remembered_is_bounded() -> None:
    prefixes, first = Prefixes(limit=2), uuid4()
    for session_id in (first, uuid4(), uuid4(), first):
        assert prefixes.of(session_id, "chat", []) == "first"


def test_spans_that_stay_open_are_bounded(telemetry: Telemetry) -> None:
    from opentelemetry.trace import get_tracer

    class Held:
        def __init__(self, name: str) -> None:
            self.span = get_tracer("test").start_span(name)

    held: OpenSpans[Held] = OpenSpans(limit=2)
    for name in "abc":
        held[name] = Held(name)
    assert [span.name for span in telemetry.spans()] == ["a"]
    assert held.get("a") is None
    assert held.get("b") is not None


async def test_how_far_projections_are_behind_is_told(
    settings: Settings, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "LAG_SECONDS", 0.05)
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        await log.usage(SYSTEM)
        for number in range(3):
            await session.say(str(number))
        await until(lambda: telemetry.value("turnlog.projection.lag", turnlog_projection="usage") == 3)


@pytest.mark.owner
async def test_what_could_not_be_stored_is_counted(settings: Settings, telemetry: Telemetry) -> None:
    async with SessionLog.open(settings) as log:
        session = await log.start_session("u1")
        with psycopg.connect(settings.database_url or "", autocommit=True) as admin:
            events = log._parts.store.recorder.events_table_name
            admin.execute(f"alter table {settings.database_schema}.{events} rename to elsewhere")
        with pytest.raises(StoreError):
            await session.say("Hi")
    assert telemetry.value("turnlog.events.failed") == 1


async def test_what_a_closed_log_has_counted_stays(settings: Settings, telemetry: Telemetry) -> None:
    for _ in range(2):
        async with SessionLog.open(settings) as log:
            await log.start_session("u1")
    assert telemetry.value("turnlog.events") == 2
