"""Long replies become several messages; what cannot be cut is a fault that its author can read."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from dragoman.channels.whatsapp import outbound
from dragoman.dispatch.draft import Draft
from dragoman.domain import message_limits as limits
from dragoman.domain.content import Content, Location, Option, Options, Text
from dragoman.domain.nouns import Identity, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State

NOW = datetime(2026, 11, 25, tzinfo=UTC)
LONG = "One sentence of this text. " * 400


def options(count: int = 1, *, title: str = "A title", key: str = "id{}", body: str = "Which?") -> Options:
    return Options(body=body, options=tuple(Option(id=key.format(n), title=title) for n in range(count)))


class CountedIds:
    def __init__(self) -> None:
        self.last = 0

    def new_id(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)

    def jitter(self) -> float:
        return 0.0


def said(reply: Content, channel: str) -> Draft:
    session = Session(
        session_id=UUID(int=90),
        thread_id=UUID(int=91),
        contact_id=UUID(int=92),
        state=State.ACTIVE,
        outcome=Outcome.IN_PROGRESS,
        started_at=NOW,
        last_activity_at=NOW,
    )
    draft = Draft(session, now=NOW, source=CountedIds(), dispatch_id=UUID(int=93), channel=channel)
    draft.say(reply)
    return draft


def test_a_long_text_is_several_messages_on_record_as_they_are_sent() -> None:
    turn = said(Text(LONG), "whatsapp").cut(final=True)
    bodies = [item.content.body for item in turn.transcript if isinstance(item.content, Text)]
    assert len(bodies) == 3
    assert " ".join(bodies) == LONG.strip()
    assert [event.payload.type for event in turn.events] == ["message.sent"] * 3
    assert turn.session.message_count == 3


def test_the_options_stand_below_the_last_part() -> None:
    *before, last = limits.fitting(options(2, body=LONG), "whatsapp")
    assert [type(part) for part in before] == [Text, Text]
    assert isinstance(last, Options)
    assert last.options == options(2).options
    for part in (*before, last):
        outbound.render(part, recipient=Identity(kind="wa_id", value="43"), reply_to=None, correlation="")


@pytest.mark.parametrize("content", [Text("short"), options(3), Location(latitude=1, longitude=2)])
def test_what_fits_is_left_alone(content: Content) -> None:
    assert limits.fitting(content, "whatsapp") == (content,)


def test_mail_is_not_cut() -> None:
    assert len(said(Text(LONG), "email").cut(final=True).transcript) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (options(11), "11 options; at most 10"),
        (options(title="x" * 25), "has 25 characters; at most 24"),
        (options(title=" "), "no title"),
        (options(key="x" * 201), "has 201 characters; 200"),
    ],
)
def test_faults_are_told(content: Content, says: str) -> None:
    assert says in (limits.fault(content) or "")


def test_what_has_no_fault_can_be_sent() -> None:
    """The limits here are not above those of the channel."""
    for content in (options(10, title="x" * 24), options(10, key="{}" + "x" * 199), options(3, title="🙂" * 12)):
        assert limits.fault(content) is None
        if len({option.title for option in content.options}) == 1:
            outbound.render(content, recipient=Identity(kind="wa_id", value="43"), reply_to=None, correlation="")
    assert limits.TEXT["whatsapp"] == outbound.TEXT_BODY
