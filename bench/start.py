"""Cold and warm start of ``make run`` on a fresh clone, until the first page answers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from bench.harness import Result, compare

CHECKOUT = Path(__file__).resolve().parents[1]
COLD_LIMIT, WARM_LIMIT = 180.0, 10.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _seconds_to_first_page(clone: Path, port: int, limit: float) -> float:
    environment = {**os.environ, "DRAGOMAN_PORT": str(port), "HOME": str(clone.parent)}
    for inherited in ("VIRTUAL_ENV", "DRAGOMAN_DATA_DIR", "DRAGOMAN_DATABASE_URL"):
        environment.pop(inherited, None)
    begun = time.perf_counter()
    with subprocess.Popen(
        ["make", "run"], cwd=clone, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as server:
        try:
            while time.perf_counter() - begun < limit * 3:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=2) as page:
                        if page.status == 200:
                            return time.perf_counter() - begun
                except (urllib.error.URLError, OSError):
                    time.sleep(0.05)
                if server.poll() is not None:
                    raise RuntimeError("make run ended before it served a page")
            raise RuntimeError(f"no page within {limit * 3} seconds")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _measure(warm_runs: int) -> tuple[list[float], list[float]]:
    with tempfile.TemporaryDirectory(prefix="dragoman-start-") as directory:
        Path(directory).chmod(0o755)
        clone = Path(directory) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
        port = _free_port()
        cold = [_seconds_to_first_page(clone, port, COLD_LIMIT)]
        warm = [_seconds_to_first_page(clone, port, WARM_LIMIT) for _ in range(warm_runs)]
    return cold, warm


async def run(*, quick: bool) -> list[Result]:
    """One cold start (its packages may come from the installer's cache), then warm ones."""
    cold, warm = await asyncio.to_thread(_measure, 1 if quick else 3)
    return [
        compare(
            "make run, cold, to the first page",
            unit="s",
            ours=cold,
            peer=[COLD_LIMIT],
            peer_name="limit",
            note="a fresh clone without .venv and var",
        ),
        compare("make run, warm, to the first page", unit="s", ours=warm, peer=[WARM_LIMIT], peer_name="limit"),
    ]
