"""Why a peer wins where it does, by benchmark and peer. Written by hand, shown where the figures say that it wins."""

from __future__ import annotations

WHY = {
    ("read", "replaced pattern"): "its cache hit is one GET and one parse of a flat list. It holds no turns, steps or "
    "faults, nothing is made valid for the API, and what another process has written since is not seen",
    ("read", "eventsourcing"): "a short session is a handful of rows and nothing else is looked at",
    ("read", "langchain"): "a short session is a handful of rows and nothing else is looked at",
    ("read", "openai-agents"): "its items are nearly what the API takes; nothing is folded and nothing made valid",
    ("storage", "replaced pattern"): "a partial answer is not written to Postgres at all",
    ("turn", "replaced pattern"): "a partial answer is not written to Postgres: what is shown may be lost",
    ("growth", "langgraph"): "the answer is saved once, as a whole message, and not delta by delta",
    ("growth", "openai-agents"): "the answer is saved once, as a whole message, and not delta by delta",
    ("growth", "google-adk"): "the answer is saved once, as a whole message, and not delta by delta",
    ("growth", "langchain"): "the answer is saved once, as a whole message, and not delta by delta",
    ("growth", "eventsourcing"): "the answer is saved once, as a whole message, and not delta by delta",
    ("growth", "replaced pattern"): "the answer is saved once, as a whole message, and not delta by delta",
}
