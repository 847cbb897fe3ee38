"""A whole installation for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dragoman.domain.nouns import Policy
from dragoman.store.database import Database
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    policy = Policy(retry_base_seconds=0.01, retry_cap_seconds=0.02)
    async with harness.build(database, tmp_path, little_shop(calls), policy=policy, lease_seconds=60.0) as made:
        yield made
