"""Merkle trees as in RFC 9162 (2.1): a root over leaves in order, and short proofs that one of them is in it.

The hash of a leaf is ``SHA-256(0x00 || leaf)``, that of a node ``SHA-256(0x01 || left || right)``; of *n* leaves the
left side has the largest power of two that is smaller than *n*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def leaf_hash(leaf: bytes) -> bytes:
    """Hash a leaf's bytes."""
    return hashlib.sha256(b"\0" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def root(hashes: Iterable[bytes]) -> bytes:
    """The root over leaves by their *hashes*, in constant memory; SHA-256 of nothing where there are none."""
    # Complete subtrees from the left, each with the number of its leaves: always falling powers of two.
    stack: list[tuple[int, bytes]] = []
    for found in hashes:
        size, top = 1, found
        while stack and stack[-1][0] == size:
            top = _node(stack.pop()[1], top)
            size *= 2
        stack.append((size, top))
    if not stack:
        return hashlib.sha256(b"").digest()
    _, top = stack.pop()
    while stack:
        top = _node(stack.pop()[1], top)
    return top


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """What :func:`root_of` needs beside leaf *index* to come to the root: the other sides, from the leaf upwards."""
    if len(hashes) == 1:
        return []
    half = 1 << ((len(hashes) - 1).bit_length() - 1)
    if index < half:
        return [*path(hashes[:half], index), root(hashes[half:])]
    return [*path(hashes[half:], index - half), root(hashes[:half])]


def root_of(leaf: bytes, index: int, size: int, others: Sequence[bytes]) -> bytes | None:
    """The root of a tree of *size* leaves, in which that leaf's hash stands at *index*; None if *others* do not fit."""
    if not 0 <= index < size:
        return None
    at, last, top = index, size - 1, leaf
    for other in others:
        if last == 0:
            return None
        if at % 2 or at == last:
            top = _node(other, top)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            top = _node(top, other)
        at, last = at // 2, last // 2
    return top if last == 0 else None
