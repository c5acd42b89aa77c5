"""Why a peer wins where it does, by benchmark and peer. Written by hand, shown where the figures say that it wins."""

from __future__ import annotations

_SHORT = "A short session is a handful of rows, and nothing else is looked at"
_WHOLE = (
    "It loads the session whole and saves the answer once, when it is complete, where turnlog commits each delta; and "
    "it has no Redis to keep up to date. turnlog with whole answers is the same work"
)
_AFTER = (
    "It commits once or a few times a turn, and what was shown before that is lost with the process. turnlog commits "
    "each delta before it is shown, and who has the turn in hand, and that a tool begins"
)

WHY = {
    ("read", "replaced pattern"): "Its cache hit is one GET and one parse of a flat list: no turns, steps or faults, "
    "nothing is made valid for the API, and what another process has written since is not seen",
    ("read", "eventsourcing"): _SHORT,
    ("read", "langchain"): _SHORT,
    ("read", "langgraph"): _SHORT,
    ("read", "openai-agents"): "Its items are nearly what the API takes: nothing is folded, and nothing made valid",
    ("storage", "replaced pattern"): "A partial answer is not written to Postgres at all",
    ("turn", "replaced pattern"): "A partial answer is not written to Postgres: what is shown may be lost",
    ("answer", "openai-agents, Runner"): _AFTER,
    ("answer", "pydantic-ai, messages saved"): _AFTER,
    ("growth", "langgraph"): _WHOLE,
    ("growth", "openai-agents"): _WHOLE,
    ("growth", "google-adk"): _WHOLE,
    ("growth", "langchain"): _WHOLE,
    ("growth", "eventsourcing"): _WHOLE,
    ("growth", "replaced pattern"): "It saves the answer once, when it is complete, where turnlog commits each delta",
}
