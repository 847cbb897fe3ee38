"""``demo.json``, which tells scripts how to get into the demo, at a later start of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from dragoman.cli import demo, logs


def test_a_later_start_at_another_port_tells_scripts_the_new_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {
        "base_url": "http://127.0.0.1:8000",
        "users": {"admin": {"email": "admin@voltfair.example", "password": "as it was"}},
        "standin": {"url": "http://127.0.0.1:8000/standin", "control_token": "as it was"},
    }
    access = tmp_path / "demo.json"
    access.write_text(json.dumps(made))
    (tmp_path / "demo.complete").touch()
    monkeypatch.setenv("DRAGOMAN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DRAGOMAN_PORT", "8123")
    monkeypatch.delenv("DRAGOMAN_BASE_URL", raising=False)
    # It would be for good, and for all of this process.
    monkeypatch.setattr(logs, "configure", lambda *_given, **_more: None)
    demo.demo()
    assert json.loads(access.read_text()) == {
        "base_url": "http://127.0.0.1:8123",
        "users": made["users"],
        "standin": {"url": "http://127.0.0.1:8123/standin", "control_token": "as it was"},
    }
    assert stat.S_IMODE(access.stat().st_mode) == 0o600
