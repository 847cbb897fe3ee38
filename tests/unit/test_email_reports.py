"""Bounces and complaints as mail servers write them, and mails that machines wrote: what is believed, and of what."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.channels.email.channel import NO_MAIL_OF_OURS, Email, with_return_path
from dragoman.channels.email.outgoing import message_id_of
from dragoman.channels.interface import ChannelMessage, Item, MalformedDeliveryError, Other, Status
from dragoman.domain.email_address import without_tag

MAILBOX = "help@shop.example"
ENTRY = UUID("0198f3a2-7c11-7d3e-9a44-5b0c2f6e8d10")
OURS = message_id_of(ENTRY, MAILBOX)

HEAD = "Return-Path: <>\r\nFrom: {sender}\r\nTo: help@shop.example\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\n{more}"
RETURNED = "From: Help <help@shop.example>\r\nTo: bo@example.org\r\nSubject: Hello\r\nMessage-ID: <{id}>\r\n"


def report(
    *parts: tuple[str, str], kind: str = "delivery-status", sender: str = "MAILER-DAEMON@mx.example", more: str = ""
) -> bytes:
    """A multipart/report out of parts, each with its type and its text."""
    written = "".join(f"--b\r\nContent-Type: {of}\r\n\r\n{text}\r\n" for of, text in parts)
    head = HEAD.format(sender=sender, more=more)
    described = f'Content-Type: multipart/report; report-type={kind};\r\n boundary="b"\r\nMIME-Version: 1.0\r\n\r\n'
    return f"{head}{described}{written}--b--\r\n".encode()


def postfix(action: str = "failed", status: str = "5.1.1", said: str | None = None, original: str = OURS) -> bytes:
    said = "550 5.1.1 <bo@example.org>: Recipient address rejected: User unknown" if said is None else said
    return report(
        ("text/plain; charset=us-ascii", "This is the mail system at host mx.example.\r\n\r\nI'm sorry."),
        (
            "message/delivery-status",
            "Reporting-MTA: dns; mx.example\r\nX-Postfix-Queue-ID: 4Zabc\r\n"
            "X-Postfix-Sender: rfc822; help@shop.example\r\nArrival-Date: Mon,  2 Mar 2026 10:00:00 +0000 (UTC)\r\n\r\n"
            "Final-Recipient: rfc822; bo@example.org\r\nOriginal-Recipient: rfc822;bo@example.org\r\n"
            f"Action: {action}\r\nStatus: {status}\r\nRemote-MTA: dns; mail.example.org\r\n"
            f"Diagnostic-Code: smtp; {said}",
        ),
        ("message/rfc822", f"{RETURNED.format(id=original)}\r\nHello"),
        more="Auto-Submitted: auto-replied\r\nSubject: Undelivered Mail Returned to Sender\r\n",
    )


EXCHANGE = report(
    ('multipart/alternative; differences=Content-Type;\r\n boundary="c"',
     "--c\r\nContent-Type: text/plain\r\n\r\nYour message couldn't be delivered.\r\n--c--"),
    ("message/delivery-status",
     "Reporting-MTA: dns;DB9PR.prod.example\r\nReceived-From-MTA: dns;mx.example\r\n\r\n"
     "Final-Recipient: rfc822;bo@example.org\r\nAction: failed\r\nStatus: 5.1.10\r\n"
     "Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient\r\n not found by SMTP address lookup"),
    ("text/rfc822-headers", "Received: from a by b\r\n" + RETURNED.format(id=OURS).replace("ID: ", "ID:\r\n ")),
    sender="Microsoft Outlook <postmaster@example.onmicrosoft.example>",
)  # fmt: skip
GMAIL = report(
    ('multipart/related; boundary="d"', "--d\r\nContent-Type: text/html\r\n\r\n<b>Address not found</b>\r\n--d--"),
    ("message/delivery-status",
     "Reporting-MTA: dns; googlemail.example\r\nX-Original-Message-ID: <x@y>\r\n\r\n"
     "Final-Recipient: rfc822; bo@example.org\r\nAction: failed\r\nStatus: 5.2.2\r\n"
     "Diagnostic-Code: smtp; 552-5.2.2 The recipient's inbox is out of storage space."),
    sender="Mail Delivery Subsystem <mailer-daemon@googlemail.example>",
    more=f"X-Failed-Recipients: bo@example.org\r\nIn-Reply-To: <{OURS}>\r\nReferences: <other@x> <{OURS}>\r\n",
)  # fmt: skip
QMAIL = (
    HEAD.format(sender="MAILER-DAEMON@old.example", more="Subject: failure notice\r\n")
    + "\r\nHi. This is the qmail-send program at old.example.\r\nI'm afraid I wasn't able to deliver your message.\r\n"
    "\r\n<bo@example.org>:\r\n192.0.2.1 does not like recipient.\r\nRemote host said: 550 no mailbox here (#5.1.1)\r\n"
    "\r\n--- Below this line is a copy of the message.\r\n\r\nReturn-Path: <help@shop.example>\r\n"
    + RETURNED.format(id=OURS)
    + "\r\nHello"
).encode()
ENVELOPE_ID = report(
    ("message/delivery-status",
     f"Original-Envelope-Id: {OURS}\r\nReporting-MTA: dns; a\r\n\r\nFinal-Recipient: rfc822; bo@example.org\r\n"
     "Action: FAILED (really)\r\nStatus: 4.4.7 (delivery time expired)"),
)  # fmt: skip
INTERNATIONAL = report(
    ("message/global-delivery-status",
     "Reporting-MTA: dns; a\r\n\r\nFinal-Recipient: utf-8; bö@example.org\r\nAction: failed\r\nStatus: 5.7.1\r\n"
     "Diagnostic-Code: smtp; 554 5.7.1 no"),
    ("message/global-headers", RETURNED.format(id=OURS)),
)  # fmt: skip


def only(body: bytes, **given: object) -> Item:
    (item,) = Email(MAILBOX, frozenset({MAILBOX, "sales@shop.example"})).parse(body)
    return item


@pytest.mark.parametrize(
    ("body", "code", "enhanced", "reason"),
    [
        (postfix(), 550, "5.1.1",
         "It came back: there is no such address (5.1.1). Its server said: 550 5.1.1 <bo@example.org>: Recipient "
         "address rejected: User unknown"),
        (EXCHANGE, 550, "5.1.10", "It came back: the address takes no mail (5.1.10). Its server said: "
         "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
        (GMAIL, 552, "5.2.2", "It came back: the mailbox is full (5.2.2). Its server said: "
         "552-5.2.2 The recipient's inbox is out of storage space."),
        (QMAIL, 550, "5.1.1", "It came back: there is no such address (5.1.1). Its server said: 192.0.2.1 does "
         "not like recipient. Remote host said: 550 no mailbox here (#5.1.1)"),
        (ENVELOPE_ID, None, "4.4.7", "It came back: the recipient's server did not take it in time (4.4.7)."),
        (INTERNATIONAL, 554, "5.7.1", "It came back: the recipient's server does not want it (5.7.1). "
         "Its server said: 554 5.7.1 no"),
        (postfix(status="", said=""), None, "", "It came back."),
        (postfix(action="", status="5.9.9", said="x"), None, "5.9.9", "It came back (5.9.9). Its server said: x"),
    ],
    ids=["postfix", "exchange", "gmail", "qmail", "envelope id", "international", "says nothing", "without action"],
)  # fmt: skip
def test_a_bounce_is_a_failure_of_the_mail_that_it_names(
    body: bytes, code: int | None, enhanced: str, reason: str
) -> None:
    item = only(body)
    assert isinstance(item, Status)
    assert (item.channel_message_id, item.status, item.correlation, item.recipient) == (OURS, "failed", None, ())
    (error,) = item.errors
    assert (error["code"], error["title"], error["unwanted"]) == (code, enhanced, False)
    assert error["reason"] == reason
    assert item.channel_at is not None


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_what_is_no_failure_changes_nothing_and_says_so(action: str) -> None:
    item = only(postfix(action, "2.0.0" if action != "delayed" else "4.4.1"))
    assert isinstance(item, Other)
    assert item.reason.startswith("a report that a mail of ours ")


def test_of_several_recipients_the_one_that_failed_counts() -> None:
    blocks = "\r\n\r\n".join(
        f"Final-Recipient: rfc822; {who}@example.org\r\nAction: {action}\r\nStatus: {status}"
        for who, action, status in (("a", "delivered", "2.0.0"), ("b", "failed", "5.2.1"), ("c", "delayed", "4.0.0"))
    )
    item = only(
        report(("message/delivery-status", f"Reporting-MTA: dns; a\r\n\r\n{blocks}"),
               ("message/rfc822", RETURNED.format(id=OURS)))
    )  # fmt: skip
    assert isinstance(item, Status)
    assert item.errors[0]["title"] == "5.2.1"
    assert item.raw["recipient"] == "b@example.org"


@pytest.mark.parametrize(
    "original",
    ["1@example.org", f"{ENTRY}", f"{ENTRY}@", f"x{OURS}", f"{ENTRY}@a b", str(ENTRY)[:-1] + "@shop.example"],
)
def test_a_bounce_of_another_mail_is_none_of_ours(original: str) -> None:
    item = only(postfix(original=original))
    assert isinstance(item, Other)
    assert item.reason == NO_MAIL_OF_OURS


def test_what_a_returned_mail_answers_to_is_not_what_came_back() -> None:
    """The mail that came back is another one; ours is in its thread, and in that of the report."""
    item = only(
        report(
            ("message/delivery-status", "Reporting-MTA: dns; a\r\n\r\nAction: failed\r\nStatus: 5.1.1"),
            ("message/rfc822", f"Message-ID: <9@example.org>\r\nReferences: <{OURS}>\r\n\r\nHello"),
            more=f"References: <{OURS}>\r\n",
        )
    )
    assert isinstance(item, Other)


def test_a_forwarded_bounce_is_a_persons_mail() -> None:
    message = EmailMessage()
    message["From"] = "ana@example.org"
    message["Message-ID"] = "<5@example.org>"
    message.set_content("What is this?")
    inner = EmailMessage()
    inner["From"] = "MAILER-DAEMON@mx.example"
    inner.set_content("Hi. This is the qmail-send program.")
    message.add_attachment(inner)
    assert isinstance(Email(MAILBOX).parse(bytes(message))[0], ChannelMessage)


def complaint(kind: str, original: str = OURS) -> bytes:
    return report(
        ("text/plain", "This is an email abuse report."),
        (
            "message/feedback-report",
            f"Feedback-Type: {kind}\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\n"
            "Original-Rcpt-To: <bo@example.org>\r\n",
        ),
        ("message/rfc822", f"{RETURNED.format(id=original)}\r\nHello"),
        kind="feedback-report",
        sender="fbl@provider.example",
    )


@pytest.mark.parametrize("kind", ["abuse", "fraud", "opt-out", "ABUSE"])
def test_a_complaint_is_a_failure_that_takes_the_recipient_off(kind: str) -> None:
    item = only(complaint(kind))
    assert isinstance(item, Status)
    (error,) = item.errors
    assert (error["reason"], error["unwanted"]) == ("The recipient reported it as unwanted.", True)


@pytest.mark.parametrize(("kind", "named"), [("not-spam", "not-spam"), ("virus", "virus"), ("<b>", "unknown")])
def test_other_feedback_changes_nothing(kind: str, named: str) -> None:
    item = only(complaint(kind))
    assert isinstance(item, Other)
    assert f"of the kind {named}," in item.reason


def test_a_read_receipt_is_kept() -> None:
    receipt = ("message/disposition-notification", "Disposition: manual-action/MDN-sent-manually; displayed")
    item = only(report(receipt, kind="disposition-notification", sender="bo@example.org"))
    assert isinstance(item, Other)
    assert "such as that a mail was read" in item.reason


def written(headers: Mapping[str, str]) -> bytes:
    lines = {"From": "Bo <bo@example.org>", "Message-ID": "<7@example.org>", **headers}
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\nI am away."


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Auto-Submitted": "auto-replied"}, "Auto-Submitted"),
        ({"Auto-Submitted": "auto-generated; owner-email=x@y"}, "Auto-Submitted"),
        ({"auto-submitted": "AUTO-NOTIFIED (by hand)"}, "Auto-Submitted"),
        ({"Precedence": "bulk"}, "Precedence"),
        ({"Precedence": "Junk"}, "Precedence"),
        ({"Precedence": "list"}, "Precedence"),
        ({"Precedence": "auto_reply"}, "Precedence"),
        ({"List-Id": "Friends <friends.example.org>"}, "List-Id"),
        ({"List-Unsubscribe": "<mailto:off@example.org>"}, "List-Unsubscribe"),
        ({"Return-Path": "<>"}, "no return address"),
        ({"X-Auto-Response-Suppress": "DR, OOF, AutoReply"}, "X-Auto-Response-Suppress"),
        ({"X-Auto-Response-Suppress": "All"}, "X-Auto-Response-Suppress"),
        ({"X-Autoreply": "yes"}, "an automatic answer"),
        ({"From": "MAILER-DAEMON@mx.example"}, "a mail system"),
        ({"From": "Postmaster <postmaster@mx.example>"}, "a mail system"),
        ({"From": "Sales <Sales@shop.example>"}, "a mailbox of ours"),
        ({"From": "help+tag@shop.example"}, "a mailbox of ours"),
    ],
)
def test_what_a_machine_wrote_is_kept_with_the_reason(headers: Mapping[str, str], says: str) -> None:
    item = only(written(headers))
    assert isinstance(item, Other)
    assert item.reason.startswith("an automatic mail, which is not answered: ")
    assert says in item.reason
    assert "@" not in item.reason


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto-Submitted": "no"},
        {"Auto-Submitted": ""},
        {"Precedence": "normal"},
        {"Precedence": "first-class"},
        {"Return-Path": "<bo@example.org>"},
        {"X-Auto-Response-Suppress": "None"},
        {"X-Auto-Response-Suppress": "DR, RN"},
        {"Subject": "Auto-Submitted: yes"},
    ],
)
def test_what_a_person_wrote_is_a_message(headers: Mapping[str, str]) -> None:
    assert isinstance(only(written(headers)), ChannelMessage)


def test_the_envelope_sender_stands_above_what_the_mail_says_itself() -> None:
    mail = written({"Return-Path": "<bo@example.org>"})
    assert with_return_path(mail, None) == mail
    assert isinstance(only(with_return_path(mail, "")), Other)
    assert isinstance(only(with_return_path(written({"Return-Path": "<>"}), "bo@example.org")), ChannelMessage)
    assert with_return_path(mail, "a\r\nX: <y>\x00" + "z" * 1000).count(b"\r\n") == mail.count(b"\r\n") + 1


def test_an_address_without_its_tag() -> None:
    assert [without_tag(one) for one in ("a+b+c@x.example", "a@x.example", "+b@x.example", "a+b", "")] == [
        "a@x.example", "a@x.example", "+b@x.example", "a+b", "",
    ]  # fmt: skip


def test_what_is_made_to_keep_its_reader_busy_is_refused() -> None:
    for flood in (b"From: a@b.example\r\n\r\n" + b"\n" * 600_000, b"a: b\r\n" * 10_000, b"a: " + b"b" * 2_000_000,
                  b"\r" * 600_000):  # fmt: skip
        with pytest.raises(MalformedDeliveryError):
            Email(MAILBOX).check(flood)
    Email(MAILBOX).check(b"From: a@b.example\r\n\r\n" + (b"x" * 76 + b"\r\n") * 330_000)


PIECES = st.sampled_from([
    b"Action: failed", b"Status: 5.1.1", b"Status: 5." + b"9" * 400, b"\r\n", b"\r\n\r\n", b"--b", b"--b--", b"\x00",
    b"Content-Type: message/delivery-status", b"Content-Type: message/rfc822", b"Content-Type: text/rfc822-headers",
    b"Content-Type: message/feedback-report", b"Content-Type: multipart/mixed; boundary=b", b"Feedback-Type: abuse",
    b"Message-ID: <" + OURS.encode() + b">", b"Diagnostic-Code: smtp; 550 \xff\xfe", b"Diagnostic-Code: ;;;550",
    b"Original-Envelope-Id: <<>>", b"Content-Transfer-Encoding: base64", b"=?utf-8?b?////?=", b"\xe2\x80\xae", b": ",
    b"Hi. This is the qmail", b"\n--- Below this line is a copy of the ", b"<a@b>:", b"#5.1.1",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"multipart/report; boundary=b", b"text/plain", b"message/delivery-status", b"multipart/report"]),
    st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=40),
)
def test_no_bytes_break_the_reader(kind: bytes, pieces: list[bytes]) -> None:
    body = b"From: a@b.example\r\nContent-Type: " + kind + b"\r\n\r\n--b\r\n" + b"\r\n".join(pieces)
    (item, *_) = Email(MAILBOX).parse(body)
    if isinstance(item, Status):
        (error,) = item.errors
        assert len(error["reason"]) < 1000
        assert error["reason"].isprintable()
        assert error["code"] is None or 400 <= error["code"] < 600
    assert len(Email(MAILBOX).raw_items(body)) >= 1
