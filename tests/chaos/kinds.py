"""The kinds of faults, by name. The modules of `faults` add them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from tests.chaos.arena import Arena

Group = Literal["network", "server", "process", "limit", "redis", "clock", "failover", "turn"]
Inject = Callable[[Arena], Awaitable[None]]

_MODULES = ("network", "server", "process", "limits", "redis", "clocks", "failover", "turns")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault: `says` is what happens, in a line. The work goes on meanwhile. What is left in the way, `heal`
    takes away. `is_slow`: it takes some seconds."""

    name: str
    group: Group
    says: str
    inject: Inject
    needs_disk: bool = False
    is_slow: bool = False


_KINDS: dict[str, Kind] = {}


def kind(group: Group, says: str, *, needs_disk: bool = False, is_slow: bool = False) -> Callable[[Inject], Inject]:
    """Adds a function as a kind, under its name."""

    def named(inject: Inject) -> Inject:
        name = inject.__name__.strip("_").replace("_", "-")
        add(Kind(name, group, says, inject, needs_disk, is_slow))
        return inject

    return named


def add(kind: Kind) -> None:
    """Adds a kind."""
    assert kind.name not in _KINDS, kind.name
    _KINDS[kind.name] = kind


def kinds() -> dict[str, Kind]:
    """All kinds."""
    for module in _MODULES:
        import_module(f"tests.chaos.faults.{module}")
    return _KINDS
