"""The picture of the rooms: who imports whom, read from the imports.

The boxes have their positions here; the arrows are found. An arrow that follows from others is left out:
append imports follow, and follow imports the store, so the one from append to the store is not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import grimp

from docs.generate.svg import Box, arrow, drawing, text

_WIDTH, _HEIGHT, _ROW = 152, 52, 86
_LAYER = 808


def _box(column: float, row: int, name: str, note: str, kind: str = "box") -> Box:
    return Box(int(20 + column * 164), 44 + row * _ROW, _WIDTH, _HEIGHT, name, note, kind)


def _layer(row: int, name: str, note: str) -> Box:
    return Box(20, 44 + row * _ROW, _LAYER, _HEIGHT, name, note, "inner")


BOXES: Mapping[str, Box] = {
    "demo": _box(0, 0, "demo/", "turnlog demo"),
    "cli": _box(1, 0, "cli/", "the command line"),
    "server": _box(3, 0, "server/", "the log over HTTP"),
    "testing": _box(0, 1, "testing/", "a provider for tests"),
    "callers": _box(2, 1, "log.py, session.py", "what callers hold"),
    "composition": _box(1.45, 2, "composition.py", "puts the parts together"),
    "repair": _box(2.5, 2, "repair/", "replays, imports, forks", "repair"),
    "embedded": _box(0, 3, "embedded/", "servers of its own"),
    "log_parts": _box(2.5, 3, "log_parts.py", "an open log's parts"),
    "answer": _box(1, 3, "answer/", "asks, runs tools", "append"),
    "otel": _box(4, 3, "otel/", "spans and metrics"),
    "append": _box(1, 4, "append/", "decides and records", "append"),
    "follow": _box(2, 4, "follow/", "events as they come", "follow"),
    "read": _box(3, 4, "read/", "views and prompts", "read"),
    "tables": _box(4, 4, "tables/", "over the whole log"),
    "cache": _box(2, 5, "cache.py", "Redis; and channels.py"),
    "store": _box(3, 5, "store/", "Postgres"),
    "projections": _layer(6, "projections/", "the fold, the view, the prompt: pure"),
    "domain": _layer(7, "domain/", "events, decide, evolve: pure, no I/O"),
}
"""By room. The names are those of the folders in infrastructure/, the two inner layers, and some modules."""

MODULES = {
    "log": "callers",
    "session": "callers",
    "session_turns": "callers",
    "session_reading": "callers",
    "log_of_turns": "callers",
    "resuming": "callers",
    "access": "callers",
    "composition": "composition",
    "telemetry": "composition",
    "log_parts": "log_parts",
    "cache": "cache",
    "cache_entry": "cache",
    "redis_calls": "cache",
    "redis_refusals": "cache",
    "channels": "cache",
    "mailboxes": "cache",
}
"""The modules of infrastructure/ that are drawn. The small ones that everybody uses (settings, tasks) are not."""


def picture() -> str:
    """The picture as SVG."""
    arrows = [_arrow(BOXES[above], BOXES[below]) for above, below in sorted(reduced(imports()))]
    lines = [
        text(20, 24, "An arrow means: imports. Arrows that follow from others are left out.", "note"),
        *arrows,
        *(box.drawn() for box in BOXES.values()),
    ]
    return drawing(_LAYER + 40, 44 + 8 * _ROW - 16, "The rooms of turnlog, and which room imports which", lines)


def imports() -> set[tuple[str, str]]:
    """Which room imports which. Raises KeyError for a folder that has no box."""
    graph = grimp.build_graph("turnlog")
    found = set[tuple[str, str]]()
    for module in graph.modules:
        room = _room(module, graph)
        for imported in graph.find_modules_directly_imported_by(module):
            other = _room(imported, graph)
            if room and other and room != other:
                found.add((room, other))
    return found


def reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges that do not follow from the others. Raises ValueError for a cycle."""
    below = {above: {end for start, end in edges if start == above} for above, _ in edges}
    reached = {room: _reached(room, below) for room in below}
    return {(above, end) for above, end in edges if not any(end in reached.get(mid, ()) for mid in below[above])}


def _reached(room: str, below: Mapping[str, set[str]], above: tuple[str, ...] = ()) -> set[str]:
    if room in above:
        raise ValueError(f"a cycle of imports: {' -> '.join([*above, room])}")
    direct = below.get(room, set())
    return direct.union(*(_reached(each, below, (*above, room)) for each in direct))


def _room(module: str, graph: grimp.ImportGraph) -> str | None:
    _, _, inside = module.partition(".")
    layer, _, inside = inside.partition(".")
    name = inside.partition(".")[0]
    if layer in ("domain", "projections"):
        return layer
    if layer != "infrastructure" or not name:
        return None
    is_folder = bool(graph.find_children(f"turnlog.infrastructure.{name}"))
    if is_folder and name not in BOXES:
        raise KeyError(f"infrastructure/{name}/ has no box in the picture of the rooms")
    return name if is_folder else MODULES.get(name)


def _arrow(above: Box, below: Box) -> str:
    if above.y == below.y:
        right = below.x > above.x
        y = above.y + _HEIGHT // 2
        return arrow((above.x + (above.width if right else 0), y), (below.x + (0 if right else below.width), y))
    start, end = above.x + above.width // 2, below.x + below.width // 2
    if below.width > _WIDTH:  # a layer: straight down
        end = start
    if below.y - above.y > _ROW and start != end:  # past the row between them
        side, y = above.x + (above.width if end > start else 0), above.y + _HEIGHT // 2
        return arrow((side, y), (end, y), (end, below.y))
    return arrow((start, above.y + above.height), (end, below.y))
