"""The demo's mail server: what it takes and refuses, and the box that keeps it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from mail_standin import box as boxes
from mail_standin.box import MailBox
from mail_standin.server import MailStandin
from tests.ports import free_port


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[tuple[MailBox, int]]:
    box, port = MailBox(tmp_path / "mails"), free_port()
    server = MailStandin(box, port=port)
    await server.start()
    yield box, port
    await server.close()


def mail(subject: str = "Grüße") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "help@shop.example", "bo@example.org", subject
    message.set_content("Hello ✓")
    return message


async def test_a_mail_is_kept_and_read(standin: tuple[MailBox, int]) -> None:
    box, port = standin
    await aiosmtplib.send(mail(), hostname="127.0.0.1", port=port, recipients=["bo@example.org", "cy@example.org"])
    kept = box.list_newest(10)
    assert sorted(each.recipient for each in kept) == ["bo@example.org", "cy@example.org"]
    found = box.get(kept[0].name)
    assert found is not None
    assert (found.message["Subject"], found.message.get_content().strip()) == ("Grüße", "Hello ✓")


@pytest.mark.parametrize(("recipient", "code"), [("unknown.person@example.org", 550), ("BUSY@example.org", 451)])
async def test_some_recipients_are_refused(standin: tuple[MailBox, int], recipient: str, code: int) -> None:
    box, port = standin
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await aiosmtplib.send(mail(), hostname="127.0.0.1", port=port, recipients=[recipient])
    assert [each.code for each in refused.value.recipients] == [code]
    assert box.list_newest(10) == []


def test_the_oldest_go_and_the_newest_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "MOST_KEPT", 3)
    times = iter(range(1_800_000_000, 1_800_000_010))
    box = MailBox(tmp_path, lambda: next(times))
    for number in range(5):
        box.add(f"{number}@example.org", mail().as_bytes())
    assert [each.recipient[0] for each in box.list_newest(10)] == ["4", "3", "2"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "x", "1800000000000-1.eml", "1800000000000-999"])
def test_only_what_is_in_the_box_is_read(tmp_path: Path, name: str) -> None:
    assert MailBox(tmp_path).get(name) is None
