"""The page that `turnlog ui` opens, in a Chromium: sessions, a session, and the time line, by mouse and by keyboard."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.page.looking import Looking, Talks
from tests.support.browsers import SOON, expect, needs_chromium
from tests.support.chat_streams import delta
from tests.support.pages import ROOT

pytestmark = needs_chromium
AXE = ROOT / "infrastructure" / "server" / "page" / "source" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def trip(talks: Talks) -> str:
    """A session with a call, a pending result, a late one, and a step that failed."""
    session = talks.begin("A trip to Lisbon")
    talks.say(session, "Plan a trip.")
    talks.call(session, "c-1", "plan_trip", {"city": "Lisbon", "days": [1, 2, {"walks": True}]})
    talks.result(session, "c-1", "It is being planned.", "pending")
    talks.answer(session, "It is ", "being ", "planned.")
    talks.result(session, "c-1", "Two days by the river.")
    talks.say(session, "And then?")
    talks.record(session, delta(content="Then you"), {"error": {"message": "overloaded"}})
    talks.say(session, "Go on.")
    talks.answer(session, "Then you go home.")
    return session


def test_sessions_are_listed_as_they_change_and_are_found(looking: Looking, talks: Talks, trip: str) -> None:
    looking.open()
    page = looking.page
    sessions = page.get_by_role("list", name="Sessions")
    expect(sessions).to_contain_text("A trip to Lisbon", timeout=SOON)
    assert "token" not in page.url
    talks.begin("Begun meanwhile", "u2")
    expect(sessions.get_by_role("listitem").first).to_contain_text("Begun meanwhile", timeout=SOON)
    page.get_by_role("searchbox").fill("lisbon")
    expect(page.get_by_role("status").first).to_contain_text("1 session found")
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox", name="Status of the latest turn").select_option("finished")
    expect(sessions).not_to_contain_text("Begun meanwhile", timeout=SOON)
    page.reload()  # the tab has kept the token
    sessions.get_by_role("link").first.focus()
    page.keyboard.press("ArrowDown")
    expect(sessions.get_by_role("link").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("A trip to Lisbon", timeout=SOON)


def test_whoever_has_no_token_is_asked_for_one(looking: Looking, talks: Talks) -> None:
    looking.page.goto(f"{talks.http.base_url}/")
    looking.page.get_by_label("Token").fill("another")
    looking.page.get_by_role("button", name="Go on").click()
    looking.page.get_by_label("Token").wait_for()
    looking.page.get_by_label("Token").fill("the-token-of-the-page")
    looking.page.get_by_role("button", name="Go on").click()
    looking.page.get_by_role("navigation", name="Sessions").wait_for()
    assert {text for text in looking.wrong if "401" in text} == set(looking.wrong)
    looking.wrong.clear()


def test_a_session_shows_calls_results_and_how_each_step_ended(looking: Looking, trip: str) -> None:
    looking.open(f"#/{trip}")
    turns = looking.part("Turns")
    expect(turns.get_by_role("article")).to_have_count(3, timeout=SOON)
    first, second, _ = turns.get_by_role("article").all()
    for text in (
        "plan_trip",
        "city: Lisbon",
        "Two days by the river.",
        "It is being planned.",
        "late result",
    ):
        expect(first).to_contain_text(text)
    expect(first).not_to_contain_text("walks")  # a tree is opened as far as is wanted
    first.locator("summary", has_text="2: {1}").click()
    expect(first).to_contain_text("walks: true")
    for text in ("Then you", "failed", "overloaded"):
        expect(second).to_contain_text(text)


def test_what_people_and_models_write_is_text(looking: Looking, talks: Talks) -> None:
    session = talks.begin(f"{HOSTILE}\u202e")
    long = "x" * 1_000_000
    talks.say(session, HOSTILE + long)
    talks.call(session, HOSTILE, HOSTILE, {HOSTILE: HOSTILE, "long": long})
    talks.result(session, HOSTILE, json.dumps({"html": HOSTILE, "list": list(range(1000))}))
    talks.answer(session, "javascript:alert(3) ", HOSTILE, "a" + "\u0301" * 500)
    looking.open(f"#/{session}/2")
    page = looking.page
    expect(looking.part("Turns")).to_contain_text("javascript:alert(3)", timeout=SOON)
    looking.at_rest()
    for name in ("View then", "Event"):
        expect(looking.part(name)).to_contain_text("<script>", timeout=SOON)
    page.get_by_role("button", name="more").first.click()
    assert page.evaluate("document.querySelectorAll('main img, main script, nav img, nav script').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.body.textContent.length") < 500_000


def view_text(looking: Looking) -> str:
    """What the steps of the view then say."""
    return "|".join(looking.part("View then").locator(".step .part .text").all_text_contents())


def test_the_time_line_shows_what_the_log_says_of_each_position(looking: Looking, talks: Talks, trip: str) -> None:
    looking.open(f"#/{trip}/2")
    page, line = looking.page, looking.page.get_by_role("slider", name="Event")
    looking.at_rest()
    last = int(page.evaluate("document.querySelector('[role=slider]').ariaValueMax"))
    events = talks.get(f"/sessions/{trip}/events?after=1&limit=1000")["items"]
    assert events[last]["topic"] == "message-added.v1"  # the next turn
    for index in sorted(random.Random(7).sample(range(last), min(last, 10))):
        line.focus()
        page.keyboard.press("Home")
        for _ in range(index):
            page.keyboard.press("ArrowRight")
        event = events[index]
        expect(page.locator(".bar [role=status]")).to_contain_text(f"position {event['position']} ")
        looking.at_rest()
        assert page.url.endswith(f"/{event['position']}")
        path = f"/sessions/{trip}/versions/{event['position']}"
        view = talks.get(path)
        turn = next(turn for turn in view["turns"] if turn["index"] == 0)
        said = [part["text"] for step in turn["steps"] for part in step["message"]["parts"] if part["kind"] == "text"]
        assert view_text(looking) == "|".join(text for text in said if text)
        shown = looking.part("Prompt then").locator(".sent .kind").all_inner_texts()
        assert shown == [message["role"] for message in talks.get(f"{path}/prompt")]
        expect(looking.part("Event")).to_contain_text(f"at: {event['event']['at']}")


def test_the_time_line_is_dragged_and_played(looking: Looking, trip: str) -> None:
    looking.open(f"#/{trip}/2")
    page, line = looking.page, looking.page.get_by_role("slider", name="Event")
    looking.at_rest()
    place = line.bounding_box()
    page.mouse.move(place["x"] + 1, place["y"] + 5)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 1, place["y"] + 5, steps=5)
    page.mouse.up()
    most = str(page.evaluate("document.querySelector('[role=slider]').ariaValueMax"))
    expect(line).to_have_attribute("aria-valuenow", most)
    looking.part("Turns").get_by_role("link", name="Position 3", exact=True).click()
    expect(line).to_have_attribute("aria-valuenow", "2")
    line.press("End")
    looking.part("Turns").get_by_role("link", name="Position 3", exact=True).click()  # once more
    expect(line).to_have_attribute("aria-valuenow", "2")
    page.get_by_label("Speed").select_option("8")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Replay")).to_be_visible(timeout=SOON)  # it has come to the end
    expect(line).to_have_attribute("aria-valuenow", most)


def test_the_event_that_broke_a_cached_prefix_is_one_click_away(looking: Looking, talks: Talks) -> None:
    session = talks.begin("Brief")
    talks.say(session, "Hello")
    talks.answer(session, "Hello, how can I help you today?")
    talks.say(session, "Be brief.", role="system")
    talks.say(session, "What is two and two?")
    talks.answer(session, "4")
    (broken,) = talks.get(f"/sessions/{session}/prompt/explanation?api=anthropic")["breaks"]
    looking.open(f"#/{session}/2")
    prompt = looking.part("Prompt then")
    prompt.get_by_role("combobox", name="API").select_option("anthropic")
    expect(prompt).to_contain_text("broke the cached prefix from message 0 on: the API has system messages apart")
    prompt.get_by_role("link", name=f"Position {broken['position']}").click()
    expect(looking.page.locator(".bar [role=status]")).to_contain_text(f"position {broken['position']} ")
    expect(looking.part("Event")).to_contain_text("Be brief.")


def test_a_position_in_a_long_session_is_shown_without_the_rest(looking: Looking, talks: Talks) -> None:
    session = talks.long("A long talk", 2000)
    position = talks.get(f"/sessions/{session}/turns?before=101&limit=1")["turns"][0]["steps"][0]["position"]
    looking.open(f"#/{session}/{position}")
    turns = looking.part("Turns")
    expect(turns.locator("[data-chosen=true]")).to_contain_text("Answer 100", timeout=SOON)
    assert turns.get_by_role("article").count() <= 60
    asked = [url for _, url in looking.asked if "/turns" in url]
    assert len(asked) < 25
    looking.page.get_by_role("link", name="Close the time line").click()
    first = turns.get_by_role("article").first
    before = first.get_attribute("aria-label")
    first.scroll_into_view_if_needed()
    expect(turns.get_by_role("article").first).not_to_have_attribute("aria-label", str(before), timeout=SOON)


def test_an_answer_that_is_written_now_is_seen(looking: Looking, talks: Talks) -> None:
    session = talks.begin("Now")
    looking.open(f"#/{session}")
    turns = looking.part("Turns")
    expect(turns).to_contain_text("Nothing has been said yet", timeout=SOON)
    looking.page.context.set_offline(True)
    expect(looking.page.get_by_role("alert")).to_contain_text("does not answer", timeout=SOON)
    looking.page.context.set_offline(False)
    expect(looking.page.get_by_role("alert")).to_have_count(0, timeout=SOON)
    assert all("ERR_INTERNET_DISCONNECTED" in text for text in looking.wrong)
    looking.wrong.clear()
    talks.say(session, "Are you there?")
    talks.answer(session, "Here I am.")
    expect(turns).to_contain_text("Here I am.", timeout=SOON)
    assert turns.inner_text().count("Here I am.") == 1


@pytest.mark.skipif(not AXE.exists(), reason="make page installs axe-core")
@pytest.mark.parametrize("looking", ["light", "dark"], indirect=True)
def test_axe_finds_nothing(looking: Looking, trip: str) -> None:
    for place in ("", f"#/{trip}", f"#/{trip}/8"):
        looking.open(place)
        if place:
            expect(looking.part("Turns").get_by_role("article")).to_have_count(3, timeout=SOON)
        if place.endswith("/8"):
            looking.page.get_by_role("slider").wait_for()
            looking.at_rest()
        assert violations(looking.page) == []


def violations(page: Any) -> list[Any]:
    """What axe objects to. The policy of the page lets no other script in, so it comes by the browser's own channel."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run(document).then(found => found.violations)")
    return [(one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
