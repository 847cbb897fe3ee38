"""The front-end's lock, and when the build hook builds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.axe import build_hook

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"


def test_the_lock_names_no_registry_and_every_package_by_its_hash() -> None:
    text = (FRONTEND / "package-lock.json").read_text()
    assert '"resolved"' not in text
    assert all("sponsors" in url for url in re.findall(r'"https?://[^"]+"', text))
    for name, package in json.loads(text)["packages"].items():
        assert name == "" or package["integrity"].startswith("sha512-"), name


def test_every_version_is_exact_and_tools_of_the_tests_are_not_built_in() -> None:
    package = json.loads((FRONTEND / "package.json").read_text())
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    assert "axe-core" in package["devDependencies"]


def test_the_sources_evaluate_nothing() -> None:
    for source in (FRONTEND / "src").glob("*.js"):
        assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", source.read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "frontend" / "src").mkdir(parents=True)
    (tmp_path / "frontend" / "src" / "app.js").write_text("1")
    return tmp_path


def _publish(bundle: Any) -> None:
    bundle.output.mkdir(parents=True)
    (bundle.output / "app-1.js").write_text("1")
    manifest = {"files": {"app.js": "app-1.js"}, "source": bundle.digest()}
    (bundle.output / "manifest.json").write_text(json.dumps(manifest))


def test_a_bundle_is_built_again_when_a_source_changes_or_a_file_is_gone(checkout: Path) -> None:
    bundle = build_hook(ROOT).Bundle(checkout)
    assert not bundle.is_current()
    _publish(bundle)
    assert bundle.is_current()
    (checkout / "frontend" / "node_modules").mkdir()
    (checkout / "frontend" / "node_modules" / "x.js").write_text("2")
    assert bundle.is_current(), "a developer's node_modules are no source"
    (bundle.output / "app-1.js").unlink()
    assert not bundle.is_current()
    (bundle.output / "app-1.js").write_text("1")
    (checkout / "frontend" / "src" / "new.css").write_text("")
    assert not bundle.is_current()
