"""The modules of the package, by who imports whom."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Also not for types alone. `prepare` raises CycleError, which names the modules."""
    graph = grimp.build_graph("turnlog", cache_dir=None)

    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()
