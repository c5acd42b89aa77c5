"""A sorted map is what a dict with the same changes is, sorted; what it was before stays as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turnlog.domain.sorted_map import WIDTH, SortedMap

keys = st.integers(0, 4 * WIDTH)
changes = st.lists(st.tuples(st.booleans(), keys), max_size=8 * WIDTH)


@given(begin=st.dictionaries(keys, st.just(-1)), changes=changes, asked=keys)
def test_a_map_is_what_a_dict_with_the_same_changes_is(
    begin: dict[int, int], changes: list[tuple[bool, int]], asked: int
) -> None:
    made, plain = SortedMap.of(begin.items()), dict(begin)
    for number, (adds, key) in enumerate(changes):
        if adds:
            made, plain[key] = made.plus(key, number), number
        else:
            made = made.minus(key)
            plain.pop(key, None)
    items = sorted(plain.items())
    assert list(made) == items
    assert len(made) == len(items)
    assert made.get(asked) == plain.get(asked)
    assert made.last() == (items[-1] if items else None)
    assert made.first_from(asked) == next((item for item in items if item[0] >= asked), None)
    assert made.last_before(asked) == next((item for item in reversed(items) if item[0] < asked), None)


def test_a_change_leaves_the_map_as_it_was() -> None:
    before = SortedMap.of((n, n) for n in range(1_000))
    before.plus(1, -1).minus(2)
    assert list(before) == [(n, n) for n in range(1_000)]


def test_maps_of_the_same_entries_are_equal_however_they_came_about() -> None:
    one = SortedMap.of((number, str(number)) for number in range(100))
    other: SortedMap[int, str] = SortedMap()
    for number in reversed(range(101)):
        other = other.plus(number, str(number))
    assert one != other
    assert one == other.minus(100)
    assert hash(one) == hash(other.minus(100))
    assert one.plus(3, "three") != one
    assert one != dict(one)
