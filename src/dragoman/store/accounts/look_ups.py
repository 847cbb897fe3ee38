"""Counts how many numbers a reader looks for who may see none: so many a minute, for all processes together.

The rows lie beside the other rate limits (:mod:`dragoman.store.receiving.limits`), and go with them after a day. What
was looked for stands there as a digest with the reader's id, so that the same is known again within the minute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from dragoman.domain.errors import DragomanError
from dragoman.domain.plurals import counted
from dragoman.store.database import Connection

MOST_A_MINUTE = 30


class TooManyLookUpsError(DragomanError):
    """The reader has looked for as many numbers as they may; ``wait_s`` is how many seconds until the next ones."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            f"You may look for {MOST_A_MINUTE} numbers a minute, since you may not see them. "
            f"Try again in {counted(wait_s, 'second', 'seconds')}."
        )
        self.wait_s = wait_s


async def count_look_up(
    connection: Connection, tenant_id: UUID, reader_id: UUID, sought: Mapping[str, str], *, now: datetime
) -> None:
    """Count that the reader looks for *sought*; the same again within the minute is counted once.

    Raises TooManyLookUpsError; the transaction must then be rolled back, or asking twice would be let through.
    """
    start = now.replace(second=0, microsecond=0)
    row = await connection.fetchrow(
        # Whoever asks for the same at the same moment waits at the first row, and then finds it.
        "WITH fresh AS (INSERT INTO rate_window (tenant_id, scope, subject_id, window_start, shard, allowed, taken) "
        "VALUES ($1, 'look_up', $2, $3, 0, 1, 1) ON CONFLICT DO NOTHING RETURNING 1), "
        "counted AS (INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken) "
        "SELECT $1, 'reader', $4, $3, 0, $5, 1 FROM fresh "
        "ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) DO UPDATE SET taken = w.taken + 1 "
        "WHERE w.taken < w.allowed RETURNING 1) "
        "SELECT (SELECT count(*) FROM fresh) AS fresh, (SELECT count(*) FROM counted) AS counted",
        tenant_id,
        uuid5(reader_id, json.dumps(sought, sort_keys=True)),
        start,
        reader_id,
        MOST_A_MINUTE,
    )
    if row is not None and row["fresh"] > row["counted"]:
        raise TooManyLookUpsError(int((start + timedelta(minutes=1) - now).total_seconds()) + 1)
