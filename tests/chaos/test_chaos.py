"""The short form, in every run of the tests; ``make chaos`` runs the long one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.chaos.run import ChaosPlan, run
from tests.waiting import PATIENCE_S

SHORT = ChaosPlan(
    seed=20261123,
    workers=3,
    webs=1,
    contacts=40,
    messages=400,
    per_second=40.0,
    kill_every=1.0,
    restarts=1,
    rest_seconds=2 * PATIENCE_S,
)
"""Ten seconds of traffic; how long it may take to come to rest is a bound for a busy machine, not a measure."""


async def test_nothing_is_lost_or_doubled_while_everything_dies() -> None:
    # A short path: PostgreSQL's socket lies under it.
    with tempfile.TemporaryDirectory(prefix="dragoman-chaos-", ignore_cleanup_errors=True) as directory:
        report = await run(SHORT, Path(directory))
    assert report.findings == [], "\n".join([*report.lines, *report.findings])
