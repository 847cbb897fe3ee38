"""``python -m bench [names…] [--quick]``: run the benchmarks and write bench/results/latest.json.

The quick form writes nothing: its figures must not stand where full ones did.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

from bench import (
    classifier,
    dispatch,
    export,
    figures,
    front_door,
    inbox,
    insights,
    live,
    outbox,
    retention,
    skill_hosts,
    start,
    verify,
    webhook,
    webhook_load,
)
from bench import logs as log_pages
from bench.harness import Result, publish, show
from dragoman.cli import logs

BENCHMARKS = {
    "classifier": classifier.run,
    "dispatch": dispatch.run,
    "export": export.run,
    "figures": figures.run,
    "front_door": front_door.run,
    "inbox": inbox.run,
    "insights": insights.run,
    "live": live.run,
    "logs": log_pages.run,
    "outbox": outbox.run,
    "retention": retention.run,
    "skill_hosts": skill_hosts.run,
    "start": start.run,
    "verify": verify.run,
    "webhook": webhook.run,
    "webhook_load": webhook_load.run,
}


async def main() -> None:
    """Run what was asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which ones; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="smaller and fewer, to see that they run; nothing is written"
    )
    arguments = parser.parse_args()
    logs.configure("text", level=logging.WARNING)
    names = arguments.names or list(BENCHMARKS)
    results: list[Result] = []
    for name in names:
        results += await BENCHMARKS[name](quick=arguments.quick)
    show(results)
    if not arguments.quick:
        publish(results, keep_others=bool(arguments.names))


if __name__ == "__main__":
    asyncio.run(main())
