"""What a skill host writes to its standard output and error: it is counted, and logged only where that was asked for.

What a skill prints may quote what a contact wrote, so it has no place in a log (decision 0042). Who develops skills
sets DRAGOMAN_SKILL_OUTPUT=logged. A skill may write without end: lines are cut, no more than some a second are logged,
and a host that writes faster than that is made to wait, which its watch then notices.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from dragoman.bounded import reads_outside_text
from dragoman.domain.plain_text import cut

log = structlog.get_logger()

LINE = 500
LINES = 40
WINDOW_SECONDS = 10.0
CHUNK = 16 * 1024
PAUSE_SECONDS = 0.05
ADVICE = "what skills print may quote contacts; DRAGOMAN_SKILL_OUTPUT=logged shows it, for development"


class PrintedLine(str):
    """A line that a skill has printed, where the operator wants to see these."""

    __slots__ = ()


class Lines:
    """Cuts bytes into lines and lets so many through in each window; *say* gets a line, *drop* how many were lost."""

    def __init__(
        self,
        say: Callable[[str], None],
        drop: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._drop, self._clock = say, drop, clock
        self._rest, self._cutting = b"", False
        self._window, self._said, self._dropped = clock(), 0, 0

    @reads_outside_text
    def feed(self, data: bytes) -> bool:
        """Take *data*; True when lines were dropped."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        before = self._dropped
        for line in whole:
            if not self._cutting:
                self._line(line)
            self._cutting = False
        if len(self._rest) > LINE:
            # The beginning of a long line is said at once; its remainder goes unread.
            if not self._cutting:
                self._line(self._rest)
            self._rest, self._cutting = b"", True
        return self._dropped > before

    def end(self) -> None:
        """Say what is left."""
        if self._rest and not self._cutting:
            self._line(self._rest)
        self._rest = b""
        if self._dropped:
            self._drop(self._dropped)

    def _line(self, line: bytes) -> None:
        now = self._clock()
        if now - self._window >= WINDOW_SECONDS:
            if self._dropped:
                self._drop(self._dropped)
            self._window, self._said, self._dropped = now, 0, 0
        if self._said >= LINES:
            self._dropped += 1
            return
        self._said += 1
        text = line[: LINE + 1].decode("utf-8", "replace").rstrip()
        shown = text if len(text) <= LINE else f"{cut(text, LINE)}…"
        # Terminal escapes of a skill have no business on the operator's terminal.
        self._say("".join(letter if letter.isprintable() else " " for letter in shown))


async def relay(reader: asyncio.StreamReader, host: str, stream: str, *, logged: bool) -> None:
    """Read what comes from *reader* until its end, and say what comes, or with *logged* False only that it does."""
    withheld = 0

    def say(line: str) -> None:
        nonlocal withheld
        if not line.strip():
            return
        if logged:
            log.info("skill_output", host=host, stream=stream, line=PrintedLine(line))
        else:
            withheld += 1
            if withheld == 1:
                log.info("skill_output_withheld", host=host, stream=stream, advice=ADVICE)

    def drop(count: int) -> None:
        nonlocal withheld
        if logged:
            log.warning("skill_output_dropped", host=host, stream=stream, lines=count)
        else:
            withheld += count

    lines = Lines(say, drop)
    try:
        while data := await reader.read(CHUNK):
            if lines.feed(data):
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        lines.end()
        if withheld:
            log.info("skill_output_ended", host=host, stream=stream, lines=withheld)
