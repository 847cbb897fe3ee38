"""An error is counted once, and alike wherever it is counted: on the row, in the transcript and on the timeline."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import yaml

from dragoman.ledger.pages import errors_among
from dragoman.ledger.read import Event
from dragoman.web.console import wording
from tests.browser.records import event

GOLDEN = Path(__file__).parents[1] / "scenarios" / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_timeline_counts_the_errors_that_the_session_counts(path: Path) -> None:
    events: list[Event] = []
    for number, step in enumerate(yaml.safe_load(path.read_text("utf-8"))["steps"], 1):
        for told in [told for turn in step["turns"] for told in turn["events"]]:
            if told["type"] == "session.opened":
                # Another session of the same contact begins.
                events = []
            events.append(event(len(events) + 1, told["type"], UUID(int=number), **(told.get("payload") or {})))
        if step["turns"]:
            assert len(errors_among(events, wording.ERRORS)) == step["session"]["error_count"]
