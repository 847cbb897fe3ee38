"""Holds questions that are alike as one group, and names what none is meant to answer."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

OUT_OF_SCOPE = "out_of_scope"
"""The intent of what no skill is meant to answer."""


@dataclass(frozen=True, slots=True)
class LikeGroup:
    """Is a group of questions, by the first one that was in it: the hashes of the pieces of its words."""

    group_id: UUID
    features: frozenset[int]
