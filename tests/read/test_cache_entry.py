"""An entry of the cache is what was written for its key, or it is nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog.infrastructure import cache_entry
from turnlog.infrastructure.cache_entry import BLOCK_BYTES, END_BYTES, CorruptEntryError, Entry, Signer

SIGNER, KEY = Signer(b"s" * 32), "turnlog:log:v1.2:session"
LINES = [b'{"n":%d,"text":"%b"}' % (number, b"x" * 700) for number in range(40)]


def grown(*sizes: int) -> list[Entry]:
    """The entries with so many lines, each made from the end of the one before it."""
    entries, done = [SIGNER.made(KEY, 1, [], b'{"head":0}')], 0
    for size in sizes:
        base = entries[-1]
        lines = LINES[done : done + size]
        entries.append(SIGNER.made(KEY, base.position + 1, lines, b'{"head":%d}' % len(entries), base))
        done += size
    return entries


def read(value: bytes, key: str = KEY, *, whole: bool = True, signer: Signer = SIGNER) -> Entry | None:
    """None for what is not believed."""
    try:
        return signer.checked(key, value, whole=whole)
    except CorruptEntryError:
        return None


@given(st.lists(st.integers(0, 20), max_size=6))
def test_an_entry_that_grew_in_any_steps_has_the_lines_that_were_added(sizes: list[int]) -> None:
    last = grown(*sizes)[-1]
    found = read(last.value)
    assert found == last
    assert found is not None
    assert found.is_whole
    assert found.lines == LINES[: sum(sizes)]
    values, head = found.parsed()
    assert [value["n"] for value in values] == list(range(min(sum(sizes), len(LINES))))
    assert head == {"head": len(sizes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_entry, "PARSED_AT_ONCE", 1_000)
        assert found.parsed() == (values, head)


@given(st.lists(st.integers(0, 20), max_size=6), st.integers(0, 40_000))
def test_the_end_of_an_entry_has_its_last_line_and_the_lines_before_it(sizes: list[int], size: int) -> None:
    last = grown(*sizes)[-1]
    end = read(last.value[-(size + END_BYTES + len(last.last)) :], whole=False)
    assert end is not None
    assert end.last == last.last
    assert end.lines == last.lines[len(last.lines) - len(end.lines) :]
    assert sum(map(len, end.lines)) >= min(size - BLOCK_BYTES, sum(map(len, last.lines)))
    assert end.is_whole == (end.lines == last.lines)
    more = [SIGNER.made(KEY, 99, [b'{"n":1}'], b"{}", base) for base in (last, end, end.end())]
    assert len({entry.tag for entry in more}) == 1
    assert len({entry.value[base.start :] for entry, base in zip(more, (last, end, end.end()), strict=True)}) == 1


def test_no_byte_can_be_changed() -> None:
    value = grown(15, 2)[-1].value
    for at in range(len(value)):
        for bit in (1, 32, 128):
            spoilt = value[:at] + bytes([value[at] ^ bit]) + value[at + 1 :]
            assert read(spoilt) is None
            end = read(spoilt, whole=False)
            # The end of an entry can be read where its beginning, which it does not need, is not what it was.
            assert end is None or (at == 0 and not end.is_whole and end.lines == LINES[:17])


def test_no_part_can_be_left_out_or_put_elsewhere() -> None:
    value = grown(30)[-1].value
    ends = [at + 1 for at, byte in enumerate(value) if byte == ord("\n")]
    cuts = [0, 1, *ends, len(value)]
    for first, second in pairwise(cuts):
        assert read(value[:first] + value[second:]) is None
    for first, second, third in zip(cuts, cuts[1:], cuts[2:], strict=False):
        assert read(value[:first] + value[second:third] + value[first:second] + value[third:]) is None
    for cut in range(1, len(value), 7):
        assert read(value[cut:]) is None
        assert read(value[:-cut]) is None
        assert read(value[:-cut], whole=False) is None


def test_parts_of_an_older_entry_do_not_fit_a_newer_one() -> None:
    """Two entries that grew from the same one: their last lines belong to other lines."""
    base = grown(14)[-1]
    one = SIGNER.made(KEY, 10, [b'{"turn":"as it was"}'], b'{"head":1}', base)
    two = SIGNER.made(KEY, 11, [b'{"turn":"as it is"}'], b'{"head":2}', base)
    mixed = one.value[: one.start] + two.value[two.start :]
    assert read(one.value) == one
    assert read(two.value) == two
    assert read(mixed) is None
    assert read(mixed, whole=False) is None


@pytest.mark.parametrize("key", ["turnlog:log:v1.2:other", KEY + ":chat", "turnlog:log:v2.2:session", KEY[:-1], ""])
def test_an_entry_belongs_to_its_key(key: str) -> None:
    value = grown(3)[-1].value
    assert read(value, key) is None
    assert read(value, key, whole=False) is None


def test_without_the_secret_no_entry_can_be_made() -> None:
    forged = Signer(b"another").made(KEY, 5, LINES[:2], b"{}")
    assert read(forged.value) is None
    assert read(forged.value, signer=Signer(b"another")) == forged


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_no_entry(garbage: bytes, whole: bool) -> None:
    assert read(garbage, whole=whole) is None
    assert read(garbage + grown(1)[-1].value[-111:], whole=whole) is None


def test_sizes_that_lie_cost_nothing() -> None:
    value = grown(1)[-1].value
    for tail in (b"0000000000", b"9999999999", b"0000000111"):
        for size in (b"0000000000", b"9999999999", b"0000000080"):
            spoilt = value[:-109] + tail + b" " + size + value[-88:]
            assert len(spoilt) == len(value)
            assert read(spoilt) is None
            assert read(spoilt, whole=False) is None
