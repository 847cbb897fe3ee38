"""Runs of pytest in processes of their own, and which tests did not pass in them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FAILED = 1
NOTHING_COLLECTED = 5
"""Exit codes of pytest: some tests did not pass; no test was found."""

BOTH_CORES = ("-n", "2", "--dist", "worksteal")
"""Each worker begins with one half, in the order of the files, and takes from the other's rest when it is done.

pytest-xdist's groups have no effect with pytest 9.2, and no test needs one: each makes what it looks at.
"""


@dataclass(frozen=True)
class Run:
    """How one run ended: pytest's exit code, and the ids of the tests that did not pass, in order of id."""

    code: int
    not_passed: tuple[str, ...]

    @property
    def is_broken(self) -> bool:
        """Whether it ended otherwise than with tests that passed or failed: interrupted, or not even begun."""
        return self.code not in {0, FAILED} or (self.code == FAILED and not self.not_passed)


def run_pytest(arguments: Sequence[str], *, log: Path | None = None) -> Run:
    """Run pytest with *arguments*, its output on the terminal or in the file *log*.

    Which tests did not pass is what pytest's own cache notes for ``--last-failed``; each run has an empty one.
    """
    with tempfile.TemporaryDirectory(prefix="dragoman-pytest-") as cache:
        command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
        if log is None:
            code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
        else:
            with log.open("wb") as out:
                code = subprocess.run(
                    command, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
                ).returncode
        noted = Path(cache) / "v" / "cache" / "lastfailed"
        not_passed = sorted(json.loads(noted.read_text("utf-8"))) if noted.exists() else []
    return Run(code, tuple(not_passed))
