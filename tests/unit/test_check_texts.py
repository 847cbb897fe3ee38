"""scripts/check-texts finds what no catalogue can translate, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-texts"


def found(path: Path, source: str) -> list[str]:
    path.write_text(source, "utf-8")
    run = subprocess.run([sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, check=False)
    assert run.returncode in (0, 1), run.stderr
    lines = run.stdout.strip().split("\n")
    return [] if run.returncode == 0 else [line.partition(": not marked for translation: ")[2] for line in lines]


@pytest.mark.parametrize(
    ("name", "source", "texts"),
    [
        ("a.html", "<p>{{ _('Saved') }} {{ name }}</p>", []),
        ("a.html", "<p>Saved {{ name }}</p>", ["Saved"]),
        ("a.html", "{% trans name=x %}By <b>{{ name }}</b>{% endtrans %}<code>from</code> 5 s", []),
        ("a.html", '{# A comment #}<button aria-label="Close" class="btn line">×</button>', ["aria-label=Close"]),
        ("a.html", "{{ hint('minutes', 'Runs once each hour.') }}", ["'Runs once each hour.'"]),
        ("a.html", "{{ hint('minutes', _('Runs once each hour.')) }}", []),
        (
            "a.html",
            "{% set word = _('Any') %}{% macro a() %}{{ word }}{% endmacro %}",
            ["looked up once for all readers; set it within the macro"],
        ),
        ("a.html", "{% macro a() %}{% set word = _('Any') %}{{ word }}{% endmacro %}", []),
        ("a.py", 'def f():\n    """Say it."""\n    return _("Nothing was found.")\n', []),
        ("a.py", 'def f():\n    return "Nothing was found."\n', ["'Nothing was found.'"]),
        ("a.py", 'def f(x):\n    return _("%(what)s is gone", what="The reply of " + x)\n', ["'The reply of '"]),
        ("a.js", "say(_('Link copied'));\n", []),
        ("a.js", "say('Link copied');\n", ["Link copied"]),
    ],
)
def test_it_finds_what_is_not_marked(tmp_path: Path, name: str, source: str, texts: list[str]) -> None:
    assert found(tmp_path / name, source) == texts
