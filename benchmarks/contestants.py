"""Who takes part: turnlog, the limits, and the peers that are installed and were asked for."""

from __future__ import annotations

from benchmarks.peers import PEERS, installed_peers
from benchmarks.systems import System
from turnlog.domain.errors import InvalidInputError

PEERS_HELP = f"Which peers: a comma list of {', '.join(PEERS)}; or all, or none."


def chosen_peers(names: str) -> tuple[list[type[System]], list[str]]:
    """The peers, and a note for each that is not installed. Raises InvalidInputError for an unknown name."""
    wanted = _wanted(names)
    there, missing = installed_peers(wanted)
    return there, [_note(name, why) for name, why in missing.items()]


def _wanted(names: str) -> list[str]:
    if names in ("all", "none"):
        return list(PEERS) if names == "all" else []
    wanted = names.split(",")
    for name in wanted:
        if name not in PEERS:
            raise InvalidInputError("peers", f"{name!r} is not one of: {', '.join(PEERS)}")
    return wanted


def _note(name: str, why: str) -> str:
    return f"{name} is not measured: {why} (`make bench` installs it)"
