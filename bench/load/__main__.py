"""``python -m bench.load [--sessions N]``: make the database of that size, or see that it is there."""

from __future__ import annotations

import argparse
import asyncio

from bench.load.kept import loaded


async def main() -> None:
    """Make it and say where it is."""
    parser = argparse.ArgumentParser(prog="bench.load")
    parser.add_argument("--sessions", type=int, default=1_000_000, help="how many; 10000000 takes most of an hour")
    arguments = parser.parse_args()
    async with loaded(arguments.sessions) as made:
        print(f"{made.sessions:,} sessions under {made.home}, the largest tenant is {made.tenant_id}")


if __name__ == "__main__":
    asyncio.run(main())
