"""``python -m tests.handoff``: many schedules, or one again by its seed."""

from __future__ import annotations

import argparse
import sys
import time

from tests.handoff.simulation import play


def main() -> None:
    parser = argparse.ArgumentParser(prog="handoff", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, help="only this one, with its steps")
    given = parser.parse_args()
    if given.seed is not None:
        for step, seconds, what in play(given.seed).log:
            sys.stdout.write(f"{step:4} {seconds:8.1f} s  {what}\n")
        return
    begun = time.monotonic()
    for seed in range(given.first_seed, given.first_seed + given.schedules):
        play(seed)
        if (seed + 1) % 10_000 == 0:
            sys.stdout.write(f"up to seed {seed}: {time.monotonic() - begun:.0f} s\n")
            sys.stdout.flush()
    sys.stdout.write(f"{given.schedules} schedules in {time.monotonic() - begun:.0f} s: all is well.\n")


if __name__ == "__main__":
    main()
