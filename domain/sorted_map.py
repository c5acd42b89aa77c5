"""A sorted map that never changes. A changed copy shares nearly all of it, so a change costs about the same however
large the map is: a state that is kept after each of ten thousand events costs ten thousand times the same.

It is a tree of tuples, as wide as a copy of one level is cheap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import eq, itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")

WIDTH = 32
"""Entries of a node, at most."""


class _Leaf(NamedTuple):
    keys: tuple[Any, ...]
    values: tuple[Any, ...]


class _Inner(NamedTuple):
    """`keys[i]` separates the children: that of `i` has no smaller key, those before it no greater one."""

    keys: tuple[Any, ...]
    values: tuple[_Node, ...]


_Node = _Leaf | _Inner
_EMPTY = _Leaf((), ())


class SortedMap(Generic[K, V]):
    """Values by keys that can be compared, in their order."""

    __slots__ = ("_length", "_root")

    def __init__(self, root: _Node = _EMPTY, length: int = 0) -> None:
        self._root = root
        self._length = length

    @classmethod
    def of(cls, items: Iterable[tuple[K, V]]) -> SortedMap[K, V]:
        """The map of these entries. Of two with one key the last one counts."""
        entries = sorted(dict(items).items(), key=itemgetter(0))
        nodes: list[_Node] = [
            _Leaf(tuple(key for key, _ in part), tuple(value for _, value in part)) for part in _parts(entries)
        ]
        while len(nodes) > 1:
            nodes = [_Inner(tuple(node.keys[0] for node in part), tuple(part)) for part in _parts(nodes)]
        return cls(nodes[0] if nodes else _EMPTY, len(entries))

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SortedMap) and len(self) == len(other) and all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return _items(self._root)

    def get(self, key: K) -> V | None:
        """The value of a key, if it is there."""
        node = self._root
        while isinstance(node, _Inner):
            node = node.values[_child(node, key)]
        index = bisect_left(node.keys, key)
        found: V | None = node.values[index] if index < len(node.keys) and node.keys[index] == key else None
        return found

    def first_from(self, key: K) -> tuple[K, V] | None:
        """The first entry whose key is not smaller."""
        return _first_from(self._root, key)

    def last_before(self, key: K) -> tuple[K, V] | None:
        """The last entry whose key is smaller."""
        return _last_before(self._root, key)

    def last(self) -> tuple[K, V] | None:
        """The entry with the greatest key."""
        node = self._root
        while isinstance(node, _Inner):
            node = node.values[-1]
        return (node.keys[-1], node.values[-1]) if node.keys else None

    def plus(self, key: K, value: V) -> SortedMap[K, V]:
        """The map with this entry, in place of one with its key."""
        nodes = _plus(self._root, key, value)
        root = nodes[0] if len(nodes) == 1 else _Inner(tuple(node.keys[0] for node in nodes), nodes)
        return SortedMap(root, self._length + (self.get(key) is None))

    def minus(self, key: K) -> SortedMap[K, V]:
        """The map without this key."""
        if self.get(key) is None:
            return self
        return SortedMap(_minus(self._root, key) or _EMPTY, self._length - 1)


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    # Half full, so that the next entries find room.
    size = WIDTH // 2
    return (items[first : first + size] for first in range(0, len(items), size))


def _child(node: _Inner, key: Any) -> int:
    return max(0, bisect_right(node.keys, key) - 1)


def _plus(node: _Node, key: Any, value: Any) -> tuple[_Node, ...]:
    """The node with the entry; two of them where one would be too wide."""
    if isinstance(node, _Leaf):
        index = bisect_left(node.keys, key)
        end = index + (index < len(node.keys) and node.keys[index] == key)
        return _split(_Leaf, _with(node.keys, index, end, key), _with(node.values, index, end, value))
    index = _child(node, key)
    nodes = _plus(node.values[index], key, value)
    keys = tuple(child.keys[0] for child in nodes)
    return _split(_Inner, _with(node.keys, index, index + 1, *keys), _with(node.values, index, index + 1, *nodes))


def _with(items: tuple[Any, ...], start: int, end: int, *new: Any) -> tuple[Any, ...]:
    return (*items[:start], *new, *items[end:])


def _split(kind: type[_Leaf | _Inner], keys: tuple[Any, ...], values: tuple[Any, ...]) -> tuple[_Node, ...]:
    if len(keys) <= WIDTH:
        return (kind(keys, values),)
    middle = len(keys) // 2
    return kind(keys[:middle], values[:middle]), kind(keys[middle:], values[middle:])


def _minus(node: _Node, key: Any) -> _Node | None:
    """The node without the key, which it has; None if nothing is left."""
    if isinstance(node, _Leaf):
        index = bisect_left(node.keys, key)
        left: tuple[Any, ...] = ()
        key_left: tuple[Any, ...] = ()
    else:
        index = _child(node, key)
        child = _minus(node.values[index], key)
        left = () if child is None else (child,)
        key_left = () if child is None else (node.keys[index],)
    keys = _with(node.keys, index, index + 1, *key_left)
    return type(node)(keys, _with(node.values, index, index + 1, *left)) if keys else None


def _first_from(node: _Node, key: Any) -> tuple[Any, Any] | None:
    if isinstance(node, _Leaf):
        index = bisect_left(node.keys, key)
        return (node.keys[index], node.values[index]) if index < len(node.keys) else None
    # No node is empty, so the second child that is looked at has it.
    found = (_first_from(child, key) for child in node.values[_child(node, key) :])
    return next((one for one in found if one is not None), None)


def _last_before(node: _Node, key: Any) -> tuple[Any, Any] | None:
    if isinstance(node, _Leaf):
        index = bisect_left(node.keys, key)
        return (node.keys[index - 1], node.values[index - 1]) if index else None
    found = (_last_before(child, key) for child in node.values[_child(node, key) :: -1])
    return next((one for one in found if one is not None), None)


def _items(node: _Node) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, _Leaf):
        yield from zip(node.keys, node.values, strict=True)
    else:
        for child in node.values:
            yield from _items(child)
