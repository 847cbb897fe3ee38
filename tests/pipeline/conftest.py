"""A whole installation for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dragoman.domain.nouns import Policy
from dragoman.store.database import Database
from tests import world
from tests.little_shop import Calls, little_shop
from tests.world import World


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[World]:
    policy = Policy(retry_base_seconds=0.01, retry_cap_seconds=0.02)
    async with world.build(database, tmp_path, little_shop(calls), policy=policy, lease_seconds=60.0) as made:
        yield made
