"""The reference has all that there is: it is made from the code, and each part of it finds everything."""

from __future__ import annotations

import re
from typing import get_args

import turnlog
from docs.generate import command_line, deltas, dialects, errors, events, limits, routes, settings
from tests.support.pages import ROOT
from turnlog import Settings, testing
from turnlog.domain import limits as domain_limits
from turnlog.domain.events import EVENT_TYPES
from turnlog.domain.finish_reasons import MEANINGS, EndMeaning
from turnlog.infrastructure.cli.app import COMMANDS, cli
from turnlog.infrastructure.server.problems import OF_REQUESTS, PROBLEMS
from turnlog.infrastructure.server.router import described
from turnlog.infrastructure.settings import variable
from turnlog.projections.deltas import Delta
from turnlog.projections.prompt.dialects import DIALECTS

REFERENCE = ROOT / "docs" / "reference"


def test_every_public_name_is_in_the_reference() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in REFERENCE.glob("*.md"))
    pages += errors.reference() + deltas.reference()
    names = [*turnlog.__all__, *turnlog._OF_EXTRAS]
    assert [name for name in names if name != "__version__" and not re.search(rf"\b{name}\b", pages)] == []


def test_every_name_for_tests_is_in_the_reference() -> None:
    page = (REFERENCE / "testing.md").read_text("utf-8")
    assert sorted(re.findall(r"^::: turnlog\.testing\.(\w+)$", page, re.MULTILINE)) == sorted(testing.__all__)


def test_every_error_is_in_the_tree_and_leads_to_its_section() -> None:
    listed = re.findall(r"\* \[`(\w+)`\]\(#turnlog\.\1\)", errors.reference())

    assert sorted(listed) == sorted(name for name in turnlog.__all__ if name.endswith("Error"))
    assert re.findall(r"^::: turnlog\.(\w+)$", errors.reference(), re.MULTILINE) == listed


def test_every_event_has_its_topic_and_its_fields() -> None:
    sections = re.split(r"^## ", events.reference(), flags=re.MULTILINE)[1:]

    assert [section.split()[0] for section in sections] == [event.topic for event in EVENT_TYPES]
    for event, section in zip(EVENT_TYPES, sections, strict=True):
        assert ["at", *re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)] == list(event.model_fields)
        assert "```json" in section


def test_every_dialect_has_a_row_and_its_sources() -> None:
    assert re.findall(r"^\| `(\w+)` \|", dialects.reference(), re.MULTILINE) == list(DIALECTS)
    assert re.findall(r"^\* `(\w+)`: \S", dialects.reference(), re.MULTILINE) == list(DIALECTS)
    assert "<!-- generated: dialects -->" in (ROOT / "docs" / "prompts.md").read_text("utf-8")
    assert [name for name, row in DIALECTS.items() if row.dialect.has_functions] == ["openai", "azure"]
    assert "All but openai and azure have" in dialects.reference()


def test_every_delta_has_its_kind_and_its_fields() -> None:
    sections = re.split(r"^::: turnlog\.", deltas.reference(), flags=re.MULTILINE)[1:]

    for delta, section in zip(get_args(Delta), sections, strict=True):
        assert section.startswith(f"{delta.__name__}\n")
        listed = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
        assert sorted([*listed, "position"]) == sorted(delta.model_fields)


def test_every_limit_has_its_value_and_its_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| \S.+\. \|$", limits.reference(), re.MULTILINE)
    constants = {name: value for name, value in vars(domain_limits).items() if name.isupper()}

    assert {name: int(value.replace(",", "")) for name, value in rows} == constants


def test_every_finish_reason_has_its_meaning() -> None:
    page = (REFERENCE / "finish-reasons.md").read_text("utf-8")
    meanings = re.findall(r"^\| `(\w+)` \| is finished|^\| `(failed)` \| has failed", page, re.MULTILINE)
    rows = re.findall(r"^\| `([\w-]+)` \| (\w+) \| \w.* \|$", page, re.MULTILINE)

    assert ["".join(meaning) for meaning in meanings] == list(MEANINGS) == list(get_args(EndMeaning))
    assert rows == [(reason, meaning) for meaning, reasons in MEANINGS.items() for reason in reasons]


def test_every_setting_has_its_variable_default_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+?) \|$", settings.reference(), re.MULTILINE)
    values = {name: default.strip("`") for name, _, default, _ in rows if default.startswith("`")}

    assert [name for name, *_ in rows] == list(Settings.model_fields)
    assert all(named == variable(name) for name, named, *_ in rows)
    assert {name for name, *_ in rows if name not in values} == {"database_url", "redis_url", "data_dir", "telemetry"}
    assert Settings.from_env({variable(name): value for name, value in values.items()}) == Settings.model_construct()
    assert [name for name, *_, meaning in rows if meaning == "None"] == []


def test_every_command_and_option_is_in_the_reference() -> None:
    sections = re.split(r"^## turnlog ", command_line.reference(), flags=re.MULTILINE)

    assert [section.split()[0] for section in sections[1:]] == list(COMMANDS)
    for section, command in zip(sections, [cli, *(lazy.load() for lazy in COMMANDS.values())], strict=True):
        options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
        assert [name for name in options if f"`{name}" not in section and f", {name}" not in section] == []


def test_every_route_and_every_problem_has_its_row() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (\S+)` \| \S.*\. \| .*\|$", routes.routes(), re.MULTILINE)
    assert rows == [(route.method, route.path) for _, route in described()]
    told = re.findall(r"^\| (\d+) \| `(\S+)` \| \S.*\. \| .*\|$", routes.problems(), re.MULTILINE)
    assert told == [(str(one.status), one.type) for one in (*PROBLEMS.values(), *OF_REQUESTS)]
