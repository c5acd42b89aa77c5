"""What is written: made-up words with Zipf frequencies, cut into deltas. The same in every run."""

from __future__ import annotations

import itertools
import random

_ONSETS, _VOWELS, _CODAS = "bcdfglmnprstvw", "aeiou", ("", "", "n", "r", "s", "t", "l")
_SYLLABLES = (1, 1, 2, 2, 3, 4)
_VOCABULARY = 4_000
_POOL = 20_011  # a prime: sessions that start at different words do not come into step


class Workload:
    """An endless text for each session, in deltas of about five characters."""

    def __init__(self, seed: int = 1) -> None:
        rng = random.Random(seed)
        words = [_word(rng) for _ in range(_VOCABULARY)]
        zipf = list(itertools.accumulate(1 / rank for rank in range(1, _VOCABULARY + 1)))
        self._pool = [f"{word} " for word in rng.choices(words, cum_weights=zipf, k=_POOL)]

    def delta(self, session: int, number: int) -> str:
        """The n-th delta of a session."""
        return self._pool[(session * 7919 + number) % _POOL]

    def text(self, session: int, first: int, last: int) -> str:
        """What the deltas first <= n < last come to."""
        return "".join(self.delta(session, number) for number in range(first, last))


def _word(rng: random.Random) -> str:
    return "".join(
        rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.choice(_SYLLABLES))
    )
