"""A server that speaks S3, in a process and an environment of its own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from tests.ports import free_port
from tests.waiting import PATIENCE_S, wait_until

HOME = Path(__file__).resolve().parents[2] / ".cache" / "s3-server"
LOCK = Path(__file__).parent / "requirements.lock"


def python() -> Path:
    """The environment's interpreter; made on first use, and again when the lock has changed, by one process of all."""
    mark, wanted = HOME / "installed.lock", LOCK.read_text()
    found = HOME / "bin" / "python"
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with HOME.with_suffix(".making").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != wanted:
            uv = [str(Path(sys.executable).with_name("uv"))]
            subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(HOME)], check=True)
            install = ["pip", "install", "--quiet", "--python", str(found), "--require-hashes", "-r", str(LOCK)]
            subprocess.run([*uv, *install], check=True)
            mark.write_text(wanted)
    return found


@contextmanager
def serving(bucket: str) -> Iterator[str]:
    """A server with an empty *bucket*; its address, on this machine."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [str(python()), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _made(server, f"{endpoint}/{bucket}"), otherwise=lambda: "the S3 server did not start")
        yield endpoint
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def _made(server: subprocess.Popen[bytes], address: str) -> bool:
    assert server.poll() is None, "the S3 server stopped"
    try:
        urlopen(Request(address, method="PUT"), timeout=PATIENCE_S).close()
    except OSError:
        return False
    return True
