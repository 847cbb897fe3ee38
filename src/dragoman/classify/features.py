"""What a text says, as features: its words, pairs of words that stand near each other, and pieces of words.

Pieces of words carry over inflections, spelling mistakes and, among languages with Latin letters, related words.
"""

from __future__ import annotations

from collections.abc import Iterator

from dragoman.bounded import reads_outside_text
from dragoman.dispatch.words import tokens

MAX_CHARACTERS = 1000
"""No wish needs more; a longer text is read from its beginning."""

NEAR = 8
"""Two words make a pair when the second is among so many that follow the first."""

SHORTEST_PIECE, LONGEST_PIECE = 2, 4


@reads_outside_text
def prepare(text: str) -> str:
    """Give the words alone, lower case and without accents; digits become zeros, since no number names a wish."""
    said = " ".join(tokens(text[:MAX_CHARACTERS]))[:MAX_CHARACTERS]
    return "".join("0" if letter.isdigit() else letter for letter in said)


def word_features(said: str) -> Iterator[str]:
    """Give words, neighbours in their order, and pairs of near words in any order."""
    words = said.split()
    if not words:
        return
    yield from words
    for place, word in enumerate(words):
        for other in words[place + 1 : place + 1 + NEAR]:
            yield f"{word}~{other}" if word <= other else f"{other}~{word}"
    for first, second in zip(("", *words), (*words, ""), strict=True):
        yield f"{first}_{second}"


def piece_features(said: str) -> Iterator[str]:
    """Cut every word into pieces of two to four characters; its borders count as characters."""
    for word in said.split():
        bordered = f" {word} "
        length = len(bordered)
        for size in range(SHORTEST_PIECE, LONGEST_PIECE + 1):
            if size >= length:
                yield bordered
                break
            for start in range(length - size + 1):
                yield bordered[start : start + size]
