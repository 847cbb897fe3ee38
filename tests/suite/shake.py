"""``make shake``: find the tests that hang on order, on each other, or on how fast the machine is.

The suite, or the part that the arguments name, runs some times in random order beside two busy processes; then
once in reverse. With ``--files`` each file runs in a process of its own instead, in reverse. With ``--stalls`` their
processes and databases stand still for a moment, too, again and again. The last lines are a table of the tests that did
not pass every time.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.suite.pytest_runs import BOTH_CORES, NOTHING_COLLECTED, Run, run_pytest
from tests.suite.stalls import processes_of_tests, stalled_processes

BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(10**5))\n"
"""A process that keeps one core busy until its parent is gone, however that ends."""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep *count* cores busy while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def shake(seeds: Sequence[int], arguments: Sequence[str], logs: Path) -> dict[str, Run]:
    """Run the tests that *arguments* name once for each of *seeds* and once in reverse; say how each run went."""
    orders = {f"seed {seed}": ["-p", "randomly", f"--randomly-seed={seed}"] for seed in seeds}
    orders["in reverse"] = ["--reverse"]
    runs = {}
    for name, order in orders.items():
        log = logs / f"{name.replace(' ', '-')}.log"
        print(f"{name}: running, output in {log}", flush=True)
        runs[name] = run_pytest([*BOTH_CORES, *order, *arguments], log=log)
        print(f"{name}: {closing_line(log)}", flush=True)
    return runs


def shake_files(files: Sequence[Path], logs: Path) -> dict[str, Run]:
    """Run each of *files* by itself in reverse, two at a time; say how each run went."""

    def alone(file: Path) -> tuple[str, Run]:
        log = logs / f"{'-'.join(file.with_suffix('').parts)}.log"
        run = run_pytest(["--reverse", str(file)], log=log)
        print(f"{file}: {closing_line(log)}", flush=True)
        # A file whose tests are all deselected has nothing to show.
        return f"{file} alone", Run(0, ()) if run.code == NOTHING_COLLECTED else run

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(alone, files))


def files_in(arguments: Sequence[str]) -> list[Path]:
    """Return the test files in the files and folders among *arguments*."""
    named = [Path(argument) for argument in arguments if Path(argument).exists()] or [Path("tests")]
    found: set[Path] = set()
    for path in named:
        found |= {path} if path.is_file() else set(path.rglob("test_*.py"))
    return sorted(found)


def closing_line(log: Path) -> str:
    """Return pytest's last line, or what stands there in its place."""
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip("= ") if lines else "no output"


def table(runs: Mapping[str, Run]) -> list[str]:
    """Return a line for each test that did not pass every time, and for each run that did not come to its end."""
    lines = [f"  {name}: pytest ended with exit code {run.code}" for name, run in runs.items() if run.is_broken]
    tests = sorted({test for run in runs.values() for test in run.not_passed})
    for test in tests:
        where = [name for name, run in runs.items() if test in run.not_passed]
        lines.append(f"  {test}: not passed in {len(where)} of {len(runs)} runs ({', '.join(where)})")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Shake as the command line says; return 0 if every test passed every time, otherwise 1."""
    parser = argparse.ArgumentParser(prog="make shake ARGS=...", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3, help="how many random orders (3)")
    parser.add_argument("--seeds", default="", help="the seeds of these orders, with commas between; else chosen")
    parser.add_argument("--busy", type=int, default=2, help="how many busy processes run beside (2)")
    parser.add_argument("--files", action="store_true", help="each file by itself and in reverse, instead")
    parser.add_argument("--stalls", action="store_true", help="stop processes of the tests for moments")
    options, rest = parser.parse_known_args(arguments)
    seeds = [int(seed) for seed in options.seeds.split(",") if seed]
    seeds = seeds or [random.SystemRandom().randrange(2**32) for _ in range(options.rounds)]
    logs = Path(tempfile.mkdtemp(prefix="dragoman-shake-", dir=os.environ.get("TMPDIR")))
    with busy_processes(options.busy), stalled_processes(processes_of_tests) if options.stalls else nullcontext():
        runs = shake_files(files_in(rest), logs) if options.files else shake(seeds, rest, logs)
    found = table(runs)
    orders = [f"seeds {','.join(map(str, seeds))}"] if seeds else []
    how = "each file alone and in reverse" if options.files else ", and ".join([*orders, "in reverse"])
    print(f"\ndid not pass every time ({len(runs)} runs: {how}):")
    print("\n".join(found) or "  none", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
