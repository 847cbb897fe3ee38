"""Each permission has a name for people, which error texts and pages share."""

from __future__ import annotations

import pytest

from dragoman.domain.permissions import PERMISSION_WORDS, access_refusal
from dragoman.store.accounts.roles import PERMISSIONS


def test_every_permission_has_a_name_and_a_description_of_its_own() -> None:
    assert frozenset(PERMISSION_WORDS) == PERMISSIONS
    for texts in (
        [each.label for each in PERMISSION_WORDS.values()],
        [d.description for d in PERMISSION_WORDS.values()],
    ):
        assert all(texts)
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("permission", sorted(PERMISSIONS))
def test_a_refusal_names_whom_to_ask_and_for_what_without_the_identifier(permission: str) -> None:
    said = access_refusal(permission)
    assert PERMISSION_WORDS[permission].label in said
    assert "administrator" in said
    assert permission not in said
