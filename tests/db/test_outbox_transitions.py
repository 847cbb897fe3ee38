"""What may follow what in the outbox: the domain's table and the database's are one, and nothing else is written."""

from __future__ import annotations

import itertools
import re

import asyncpg
import pytest

from dragoman.domain.outbox_status import (
    ALLOWED,
    OPEN,
    TRANSITIONS,
    EntryAction,
    IllegalOutboxTransitionError,
    OutboxStatus,
    check_outbox_transition,
)
from dragoman.store.embedded import DatabaseURLs

PAIRS = list(itertools.product(OutboxStatus, OutboxStatus))


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_the_domain_allows_what_its_table_has(old: OutboxStatus, new: OutboxStatus) -> None:
    if old is new or (old, new) in TRANSITIONS:
        check_outbox_transition(old, new)
    else:
        with pytest.raises(IllegalOutboxTransitionError):
            check_outbox_transition(old, new)


def test_what_an_administrator_may_do_is_a_transition() -> None:
    assert all((status, OutboxStatus.RETRYING) in TRANSITIONS for status in ALLOWED[EntryAction.RETRY])
    assert all((status, OutboxStatus.CANCELLED) in TRANSITIONS for status in ALLOWED[EntryAction.CANCEL])
    assert ALLOWED[EntryAction.CANCEL] == OPEN


async def test_the_database_has_the_same_table(database_urls: DatabaseURLs) -> None:
    owner = await asyncpg.connect(database_urls.owner)
    text = await owner.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'outbox_transition_legal'"
    )
    await owner.close()
    assert set(re.findall(r"'([A-Z]+>[A-Z]+)'", text)) == {f"{old}>{new}" for old, new in TRANSITIONS}
