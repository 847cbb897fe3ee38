"""Texts out of words of our own: few that everybody uses, many that hardly anybody does, as in any language.

Words are made of syllables, so that nothing here was said by anyone. Frequencies follow Zipf's law.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

COMMON_WORD = "bitte"
"""Stands in about every tenth message of a contact."""
RARE_WORD = "zyklotron"
"""Stands in about one message of fifty thousand."""

_OPENINGS = ("b", "br", "d", "f", "g", "gr", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_ACCENTS = str.maketrans("aeosz", "äéóšž")
_ENDINGS = ("", "l", "n", "r", "s", "t", "k", "m")
_EVERYDAY = (
    *("the", "a", "is", "my", "and", "when", "where", "please", "order", "invoice", "open", "thanks", "hello", "not"),
    *("der", "die", "und", "ist", "wann", "wo", "rechnung", "lieferung", "guten", "tag", "danke", "nicht", "mein"),
    *("que", "el", "la", "pedido", "factura", "hola", "gracias", "quando", "onde", "está", "não", "für", "où", "ça"),
)
SIZE = 20_000


def words(chance: random.Random) -> list[str]:
    """All words, the most frequent first."""
    syllables = [a + b + c for a, b, c in itertools.product(_OPENINGS, _VOWELS, _ENDINGS)]
    made = dict.fromkeys(_EVERYDAY)
    while len(made) < SIZE:
        word = "".join(chance.choices(syllables, k=chance.choice((2, 2, 3, 4))))
        made[word.translate(_ACCENTS) if chance.random() < 0.05 else word] = None
    return list(made)


class Texts:
    """Gives sentences; drawing many at once is what makes it quick."""

    def __init__(self, chance: random.Random, vocabulary: Sequence[str]) -> None:
        self._chance = chance
        self._words = vocabulary
        self._cumulative = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(vocabulary))))
        self._drawn: list[str] = []

    def sentence(self) -> str:
        """Three to fourteen words; without quotes and backslashes, so that it is the same in JSON and in COPY."""
        length = self._chance.choice((3, 4, 5, 6, 6, 7, 8, 10, 14))
        if len(self._drawn) < length:
            self._drawn = self._chance.choices(self._words, cum_weights=self._cumulative, k=100_000)
        taken, self._drawn[-length:] = self._drawn[-length:], []
        luck = self._chance.random()
        if luck < 0.1:
            taken[0] = COMMON_WORD
        elif luck > 1 - 1 / 50_000:
            taken[-1] = RARE_WORD
        elif luck > 0.93:
            taken.append(f"VF-{self._chance.randrange(100_000):05d}")
        return " ".join(taken)
