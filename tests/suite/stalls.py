"""Stalls: processes of a test run that stand still for a moment, as on a machine with too much to do.

What a test takes for simultaneous, or for in turn, then lies apart: two clocks that one statement reads, an answer and
the next request, a page and its script.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

LONGEST_S = 0.06
"""As long as a scheduler with a handful of busy processes keeps one waiting."""

STALLS_IN_A_LOOK = 16
"""After so many the processes are looked for again, which takes about as long as one stall."""

DATABASES = "dragoman-test-"
"""Begins the names of the folders in which the databases of test runs work; these are nobody's children."""


@contextlib.contextmanager
def stalled_processes(find: Callable[[], list[psutil.Process]]) -> Iterator[None]:
    """Stop one of the processes that *find* finds for some milliseconds, again and again, while the block runs."""
    stop = threading.Event()
    stalling = threading.Thread(target=_stall_until, args=(stop, find))
    stalling.start()
    try:
        yield
    finally:
        stop.set()
        stalling.join()


def _stall_until(stop: threading.Event, find: Callable[[], list[psutil.Process]]) -> None:
    chance = random.SystemRandom()
    while not stop.wait(chance.uniform(0, LONGEST_S)):
        found = find()
        for process in chance.sample(found, min(len(found), STALLS_IN_A_LOOK)):
            with contextlib.suppress(psutil.Error):
                stall(process, chance.uniform(0, LONGEST_S), stop)
            stop.wait(chance.uniform(0, LONGEST_S))


def stall(process: psutil.Process, seconds: float, stop: threading.Event) -> None:
    """Let *process* stand still for so long, or until *stop* is set; not one that is stopped already."""
    if process.status() == psutil.STATUS_STOPPED:
        return  # Its test has done so, and wants it to stay.
    process.suspend()
    try:
        stop.wait(seconds)
    finally:
        process.resume()


def processes_of_tests() -> list[psutil.Process]:
    """Find what this process has started, directly or not, and all processes of test runs' databases."""
    found: list[psutil.Process] = psutil.Process().children(recursive=True)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(part.startswith(DATABASES) for part in Path(process.cwd()).parts):
                found.append(process)
    return found
