"""Other ways of keeping conversations, used as their makers recommend. All but two need the group `bench`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from benchmarks.systems import System

_HERE = __name__
PEERS = {
    "langgraph": f"{_HERE}.langgraph:Langgraph",
    "openai-agents": f"{_HERE}.openai_agents:OpenaiAgents",
    "google-adk": f"{_HERE}.google_adk:GoogleAdk",
    "langchain": f"{_HERE}.langchain:Langchain",
    "eventsourcing": f"{_HERE}.eventsourcing:Eventsourcing",
    "replaced": f"{_HERE}.replaced:Replaced",
}
"""By name: where its class is."""


def peer(name: str) -> type[System]:
    """The class of a peer. Raises ImportError where what it needs is not installed."""
    found: type[System] = _class_at(PEERS[name])
    return found


def _class_at(place: str) -> Any:
    module, _, kind = place.partition(":")
    return getattr(import_module(module), kind)


def installed_peers(
    names: Sequence[str] = tuple(PEERS), places: Mapping[str, str] = PEERS
) -> tuple[list[type[Any]], Mapping[str, str]]:
    """Those of them that can be measured here, and why not the others. `places` says where the classes are."""
    there, missing = [], {}
    for name in names:
        try:
            there.append(_class_at(places[name]))
        except ImportError as error:
            missing[name] = f"{error.name or error} is not installed"
    return there, missing
