"""``python -m tests.chaos``: the long form, as ``make chaos`` runs it."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import ChaosPlan, run


def say(text: str) -> None:
    """One or more lines for whoever waits, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--webs", type=int, default=2)
    parser.add_argument("--contacts", type=int, default=300)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=50.0)
    parser.add_argument("--kill-every", type=float, default=1.0)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--rest-seconds", type=float, default=900.0)
    parser.add_argument("--keep", type=Path, help="directory for the logs; a temporary one if absent")
    given = vars(parser.parse_args())
    # Whoever ends a run early, by whatever signal: its processes go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    keep = given.pop("keep")
    plan = ChaosPlan(**given)
    say(f"{plan}")
    with tempfile.TemporaryDirectory(prefix="dragoman-chaos-", ignore_cleanup_errors=True) as temporary:
        home = keep or Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(run(plan, home))
    say("\n".join(report.lines))
    for finding in report.findings:
        say(f"WRONG: {finding}")
    if report.findings:
        sys.exit(f"{len(report.findings)} findings; again with --seed {plan.seed}")
    say("All is well.")


if __name__ == "__main__":
    main()
