"""The suite's own tools: what fails once is told, what fails twice is red, and what hangs on others is found."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.suite.run import FLAKY, TRIED_AGAIN_AT_MOST
from tests.suite.stalls import stall, stalled_processes
from tests.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
ALONE = ("-n", "0")
"""Where two processes would show no more than one does."""

GOOD = "def test_good():\n    pass\n"
FAILS_ONCE = """
from pathlib import Path

def test_fails_once():
    tried = Path(__file__).with_name("tried")
    before = tried.exists()
    tried.touch()
    assert before
"""
FAILS_ALWAYS = "def test_fails_always():\n    assert False\n"
DEPENDS = """
rows = []

def test_makes_a_row():
    rows.append(1)

def test_wants_a_row():
    assert rows
"""


def run_module(module: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run *module* on the tests in *folder*; return the exit code and what it wrote."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:randomly -p xdist -p reverse\n")
    environment = os.environ | {
        "PYTHONPATH": str(CHECKOUT),
        # Only what these runs need: each plugin costs a second for each process that it is imported in.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TMPDIR": str(folder),
    }
    environment = {name: value for name, value in environment.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return done.returncode, done.stdout


def plant(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)


def after(output: str, heading: str) -> list[str]:
    """The lines under *heading*."""
    assert heading in output, output
    return [line.strip() for line in output.partition(heading)[2].split("\n\n")[0].splitlines()[1:]]


def test_a_test_that_fails_once_is_green_and_told(tmp_path: Path) -> None:
    plant(tmp_path, good=GOOD, once=FAILS_ONCE)
    code, output = run_module("tests.suite.run", tmp_path)
    assert code == 0, output
    assert after(output, FLAKY) == ["test_once.py::test_fails_once"]
    assert output.rstrip().endswith("test_once.py::test_fails_once")


def test_a_test_that_fails_twice_is_red(tmp_path: Path) -> None:
    plant(tmp_path, good=GOOD, once=FAILS_ONCE, always=FAILS_ALWAYS)
    code, output = run_module("tests.suite.run", tmp_path, *ALONE)
    assert code == 1, output
    assert after(output, FLAKY) == ["test_once.py::test_fails_once"]
    assert after(output, "failed twice:") == ["test_always.py::test_fails_always"]


def test_where_many_fail_nothing_is_tried_again(tmp_path: Path) -> None:
    many = "".join(FAILS_ALWAYS.replace("always", f"always_{n}") for n in range(TRIED_AGAIN_AT_MOST + 1))
    plant(tmp_path, many=many)
    code, output = run_module("tests.suite.run", tmp_path, *ALONE)
    assert code == 1, output
    assert "once more" not in output


def test_all_green_says_nothing_more(tmp_path: Path) -> None:
    plant(tmp_path, good=GOOD)
    code, output = run_module("tests.suite.run", tmp_path, *ALONE)
    assert code == 0, output
    assert "flaky" not in output


def test_a_file_that_cannot_be_imported_is_red(tmp_path: Path) -> None:
    plant(tmp_path, good=GOOD, broken="import no_such_module\n")
    code, output = run_module("tests.suite.run", tmp_path, *ALONE)
    assert code not in {0, 5}, output


@pytest.mark.parametrize("how", [("--seeds", "1"), ("--files",)])
def test_who_wants_another_s_rows_is_found_by_shaking(tmp_path: Path, how: tuple[str, ...]) -> None:
    plant(tmp_path, good=GOOD, depends=DEPENDS)
    code, output = run_module("tests.suite.shake", tmp_path, *how, "--busy", "0", ".", *ALONE)
    assert code == 1, output
    table = after(output, "did not pass every time")
    assert [line.split(":")[0:3:2] for line in table] == [["test_depends.py", "test_wants_a_row"]], output


def test_what_always_passes_leaves_the_table_empty(tmp_path: Path) -> None:
    plant(tmp_path, good=GOOD)
    code, output = run_module("tests.suite.shake", tmp_path, "--seeds", "7", "--busy", "1", ".", *ALONE)
    assert code == 0, output
    assert "seed 7: 1 passed" in output
    assert after(output, "did not pass every time") == ["none"]


def test_what_is_stalled_stands_still_and_goes_on() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        with stalled_processes(lambda: [process]):
            wait_until(lambda: process.status() == psutil.STATUS_STOPPED, otherwise=lambda: "it never stood still")
        wait_until(lambda: process.status() != psutil.STATUS_STOPPED, otherwise=lambda: "it stands still")
        child.communicate(b"\n")
    assert child.returncode == 0


def test_what_its_test_has_stopped_is_left_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        process.suspend()
        try:
            wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
            stall(process, 0.0, threading.Event())
            assert process.status() == psutil.STATUS_STOPPED
        finally:
            process.resume()
            child.communicate(b"\n")
