"""axe-core for the tests: fetched by npm as locked into a folder that is neither committed nor shipped."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType


def axe_source(root: Path) -> str:
    """The script. The first call of a checkout takes a second or two, and the network."""
    lock = root / "frontend" / "package-lock.json"
    kept = root / ".cache" / f"axe-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}.js"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        # A folder of its own: two test processes may come here at once.
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            work = Path(folder)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(root / "frontend" / name, work / name)
            build_hook(root).install_packages(work)
            (work / "node_modules" / "axe-core" / "axe.min.js").replace(kept)
    return kept.read_text("utf-8")


@cache
def build_hook(root: Path) -> ModuleType:
    """``hatch_build.py``, which knows how to find Node and run npm."""
    spec = importlib.util.spec_from_file_location("hatch_build", root / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
