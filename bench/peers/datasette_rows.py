"""Datasette over a SQLite copy of the same rows: ``datasette_rows.py FILE DIGITS N DEEP`` prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from datasette.app import Datasette

SCREENS = {
    "first page": "",
    "deep page": "_next={deep}",
    "outcome, common": "outcome=SUCCESS",
    "outcome, rare": "outcome=SESSION_BUSY",
    "state, rare": "state=WITH_AGENT",
    "phone, rare part": "contact_phone__contains={digits}",
}


async def main() -> None:
    """Ask each screen N times, at most for a minute."""
    file, digits, count, deep = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    # Its usual limit of one second would end the slow screens with an error instead of a time.
    datasette = Datasette([file], immutables=[], settings={"sql_time_limit_ms": 60_000, "default_page_size": 50})
    await datasette.invoke_startup()
    taken: dict[str, list[float]] = {}
    for name, query in SCREENS.items():
        times: list[float] = []
        until = time.perf_counter() + 60
        while len(times) <= count and time.perf_counter() < until:
            begun = time.perf_counter()
            response = await datasette.client.get(
                f"/rows/session?_sort_desc=last_activity_at&{query.format(digits=digits, deep=deep)}"
            )
            times.append((time.perf_counter() - begun) * 1000)
            assert response.status_code == 200, (name, response.status_code, response.text[:300])
        taken[name] = times[1:] or times
    print(json.dumps(taken))


asyncio.run(main())
