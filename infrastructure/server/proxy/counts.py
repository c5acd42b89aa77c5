"""What the proxy has done, in numbers: for metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ProxyCounts:
    """Requests since the process began: `recorded`, with their answer or with what kept it from coming; `refused`,
    because they could not be recorded; `unrecorded`, which went on all the same, in whole or in part; `passed`, of
    kinds that are not recorded. `running`: those that are under way now, also of clients that have gone."""

    recorded: int = 0
    refused: int = 0
    unrecorded: int = 0
    passed: int = 0
    running: int = 0
