"""Where a peer is better than turnlog, out of the figures, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.page.tables import Data
from benchmarks.page.why import WHY
from benchmarks.report import by_quantity


def wins(reports: Sequence[Data]) -> Iterator[str]:
    """A line for each peer in each benchmark in which its median is better than the best of turnlog's."""
    for data in reports:
        for peer, won in _won(data).items():
            what = "; ".join(f"{quantity} ({', '.join(cases)})" for quantity, cases in won.items())
            why = WHY.get((data["benchmark"], peer))
            yield f"* `{data['benchmark']}`, **{peer}**: {what}.{f' {why}.' if why else ''}"


def _won(data: Data) -> dict[str, dict[str, list[str]]]:
    """By peer and quantity the cases that it wins."""
    found: dict[str, dict[str, list[str]]] = {}
    for quantity, rows in by_quantity(data).items():
        for case in dict.fromkeys(row["case"] for row in rows):
            medians = {row["system"]: row["median"] for row in rows if row["case"] == case}
            for peer in _better(data, medians, more_is_better=quantity.endswith("/s")):
                found.setdefault(peer, {}).setdefault(quantity, []).append(case)
    return found


def _better(data: Data, medians: Mapping[str, float], *, more_is_better: bool) -> list[str]:
    ours = [median for system, median in medians.items() if system.startswith("turnlog")]
    peers = [name for name, system in data.get("systems", {}).items() if system["is_peer"] and name in medians]
    if not ours:
        return []
    best = max(ours) if more_is_better else min(ours)
    return [peer for peer in peers if medians[peer] != best and (medians[peer] > best) == more_is_better]
