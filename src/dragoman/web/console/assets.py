"""Finds the bundled front-end: logical names lead to the hashed files that the build made."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from dragoman.domain.errors import ConfigurationError

FOLDER = Path(__file__).resolve().parents[1] / "static" / "dist"
PREFIX = "/static"


@lru_cache(maxsize=1)
def _files() -> dict[str, str]:
    try:
        manifest = json.loads((FOLDER / "manifest.json").read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(
            "the front-end bundle is missing: install the package again, or run `python hatch_build.py`"
        ) from error
    files: dict[str, str] = manifest["files"]
    return files


def address(name: str) -> str:
    """Where *name* (``app.css``) is served. Raises ConfigurationError without a bundle."""
    return f"{PREFIX}/{_files()[name]}"
