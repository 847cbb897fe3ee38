"""What a message carries beside its content travels as one value."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"


def test_a_part_of_the_context_is_named_where_it_is_read_and_where_it_is_shown() -> None:
    # Between the channel and the page the value is handed on whole; a layer that takes it apart makes each new field
    # an edit of every layer.
    naming = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.suffix in {".py", ".html"} and "frequently_forwarded" in path.read_text("utf-8")
    ]
    assert 0 < len(naming) <= 7, naming
