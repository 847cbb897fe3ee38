"""Groups questions that are alike, each as it comes: it joins the group that it is most like, or begins one.

Texts are compared by pieces of their words, so that inflections and spelling mistakes count little. Pieces that many
texts have (of "how", "can", "please") say less than rare ones. Only hashes of the pieces are kept, no words.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from dragoman.bounded import reads_outside_text
from dragoman.dispatch.words import tokens
from dragoman.domain.questions import LikeGroup

LIKE_ENOUGH = 0.3
"""From which likeness on two texts are one question. Of 600 messages with 20 wishes from one trade, nine in ten found a
group, of which four in five members wanted the same; 0.4 groups fewer, 0.25 mixes more.
"""

ALIKE_WHEN_SHORT = 0.6
"""The same for a text of a word or two, all of whose pieces a longer one may have by chance."""

SHORT = 6
"""Up to how many pieces a text is short."""

MOST_CHARACTERS = 300
PIECE = 4


@reads_outside_text
def features(text: str) -> frozenset[int]:
    """Give the hashes of the pieces of a text's words; empty for a text without words."""
    pieces: set[str] = set()
    for word in tokens(text[:MOST_CHARACTERS]):
        pieces.add(f"{word[: PIECE + 1]}…")
        padded = f" {word} "
        pieces.update(padded[place : place + PIECE] for place in range(max(1, len(padded) - PIECE + 1)))
    # As PostgreSQL's integers are: signed, 32 bits.
    return frozenset(zlib.crc32(piece.encode()) - 2**31 for piece in pieces)


@dataclass(slots=True)
class QuestionGroups:
    """Holds the groups that there are, and how common each piece is; *background* are texts that people write."""

    background: Iterable[str] = ()
    _groups: list[LikeGroup] = field(init=False, default_factory=list)
    _having: dict[int, list[int]] = field(init=False, default_factory=dict)
    _common: Counter[int] = field(init=False, default_factory=Counter)
    _texts: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        for text in self.background:
            self._common.update(features(text))
            self._texts += 1

    def add(self, group: LikeGroup) -> None:
        """Let later texts join *group*."""
        place = len(self._groups)
        self._groups.append(group)
        for piece in group.features:
            self._having.setdefault(piece, []).append(place)
        self._common.update(group.features)
        self._texts += 1

    def find(self, pieces: frozenset[int]) -> UUID | None:
        """Find the group that a text with these pieces belongs to; None where it is like none."""
        shared: dict[int, float] = {}
        for piece in pieces:
            weight = self._weight(piece)
            for place in self._having.get(piece, ()):
                shared[place] = shared.get(place, 0.0) + weight
        own = self._size(pieces)
        best, likest = None, 0.0
        for place, weight in shared.items():
            there = self._groups[place].features
            likeness = weight / math.sqrt(own * self._size(there))
            least = LIKE_ENOUGH if min(len(pieces), len(there)) > SHORT else ALIKE_WHEN_SHORT
            if likeness >= least and likeness > likest:
                best, likest = self._groups[place].group_id, likeness
        return best

    def _weight(self, piece: int) -> float:
        return math.log(1 + (self._texts + 1) / (self._common[piece] + 1)) ** 2

    def _size(self, pieces: frozenset[int]) -> float:
        return sum(self._weight(piece) for piece in pieces) or 1.0
