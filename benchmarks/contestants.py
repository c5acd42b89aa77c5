"""Who takes part: turnlog, the limits, and the peers that are installed and were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.peers import PEERS, installed_peers
from turnlog.domain.errors import InvalidInputError


def peers_help(peers: Mapping[str, str]) -> str:
    """The help of an option that chooses peers."""
    return f"Which peers: a comma list of {', '.join(peers)}; or all, or none."


PEERS_HELP = peers_help(PEERS)


def chosen_peers(names: str, peers: Mapping[str, str] = PEERS) -> tuple[list[type[Any]], list[str]]:
    """The peers, and a note for each that is not installed. Raises InvalidInputError for an unknown name."""
    wanted = _wanted(names, peers)
    there, missing = installed_peers(wanted, peers)
    return there, [_note(name, why) for name, why in missing.items()]


def _wanted(names: str, peers: Mapping[str, str]) -> list[str]:
    if names in ("all", "none"):
        return list(peers) if names == "all" else []
    wanted = names.split(",")
    for name in wanted:
        if name not in peers:
            raise InvalidInputError("peers", f"{name!r} is not one of: {', '.join(peers)}")
    return wanted


def _note(name: str, why: str) -> str:
    return f"{name} is not measured: {why} (`make bench` installs it)"
