"""Conversations that are trees: a message that was edited, or an answer that was made again, begins a branch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Tree(NamedTuple):
    """The parent of each node, in the order in which the nodes were made. None, or an unknown one, is the root."""

    parents: Mapping[str, str | None]

    def path(self, leaf: str | None) -> list[str]:
        """The nodes from the root to this one. A circle ends where it begins anew."""
        nodes = dict[str, None]()
        while leaf is not None and leaf in self.parents and leaf not in nodes:
            nodes[leaf] = None
            leaf = self.parents[leaf]
        return list(nodes)[::-1]

    def leaves(self) -> list[str]:
        """The nodes that nothing follows."""
        followed = set(self.parents.values())
        return [node for node in self.parents if node not in followed]

    def latest(self) -> str | None:
        """The leaf that is shown where nobody says which: of each message's followers the last."""
        last: dict[str | None, str] = {}
        for node, parent in self.parents.items():
            last[parent if parent in self.parents else None] = node
        leaf, seen = last.get(None), set[str | None]()
        while leaf in last and leaf not in seen:
            seen.add(leaf)
            leaf = last[leaf]
        return leaf or next(iter(self.leaves()), None)


def without_branches(nodes: Iterable[tuple[str, str | None, bool]]) -> set[str]:
    """The nodes (id, parent, whether a user wrote it) without the branches that the user has left: of the messages
    that a user wrote after the same one, the last counts. What is no user's stays: results of calls that were made
    together stand beside each other."""
    listed = list(nodes)
    chosen = {parent: node for node, parent, is_users in listed if is_users}
    left = {node for node, parent, is_users in listed if is_users and chosen[parent] != node}
    for node, parent, _ in listed:
        if parent in left:
            left.add(node)
    return {node for node, _, _ in listed} - left
