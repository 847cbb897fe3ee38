"""``make test``: every test once; what fails is tried once more by itself, and never passes in silence.

A test that passes then is *flaky*: the run is green, and the last lines name it. Whoever reads them mends it the same
day. Nothing is tried again where many tests fail, since that is no accident.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.suite.pytest_runs import BOTH_CORES, FAILED, run_pytest

TRIED_AGAIN_AT_MOST = 10
FLAKY = "flaky: failed among the others and passed by itself; to be mended today"


def run_suite(arguments: Sequence[str]) -> int:
    """Run the suite with pytest's *arguments* and return the exit code: 0 if every test passed in the end."""
    run = run_pytest([*BOTH_CORES, "--durations", "10", *arguments])
    if run.code != FAILED or run.is_broken or len(run.not_passed) > TRIED_AGAIN_AT_MOST:
        return run.code
    print(f"\nonce more, each by itself: {len(run.not_passed)}", flush=True)
    flaky = [test for test in run.not_passed if run_pytest(["--no-header", test]).code == 0]
    if flaky:
        print(f"\n{FLAKY}")
        print("\n".join(f"  {test}" for test in flaky), flush=True)
    failed = [test for test in run.not_passed if test not in flaky]
    if failed:
        print("\nfailed twice:")
        print("\n".join(f"  {test}" for test in failed), flush=True)
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(run_suite(sys.argv[1:]))
