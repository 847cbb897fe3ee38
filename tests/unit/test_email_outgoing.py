"""A composed mail says what it should and nothing more, whatever stands in its fields."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import itertools
import re
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.channels.email import inbound
from dragoman.channels.email.outgoing import (
    MAX_MESSAGE_BYTES,
    check_address,
    compose,
    is_message_id,
    message_id_of,
)
from dragoman.channels.interface import AttachedFile, LimitError, OutgoingEmail

AT = datetime(2026, 3, 1, 12, 30, 5, tzinfo=timezone(timedelta(hours=2)))
PLAIN = OutgoingEmail(
    sender="shop@shop.example",
    sender_name="The Shop",
    recipient="ana@home.example",
    subject="Your order",
    text="Hello Ana,\nit is on its way.\n",
    html=None,
    message_id="1@shop.example",
    at=AT,
)
FILE = AttachedFile(filename="bill.pdf", mime_type="application/pdf", content=b"%PDF-1.7\x00\xff\r\n.\r\n")
KNOWN_HEADERS = {
    "from", "to", "subject", "date", "message-id", "in-reply-to", "references", "auto-submitted", "list-unsubscribe",
    "list-unsubscribe-post", "mime-version", "content-type", "content-transfer-encoding",
}  # fmt: skip


def parsed(**changed: Any) -> EmailMessage:
    return read(compose(dataclasses.replace(PLAIN, **changed)))


def read(composed: bytes) -> EmailMessage:
    """Parse a mail, after a look at what every mail must keep."""
    assert composed.isascii()
    assert composed.endswith(b"\r\n")
    assert b"\r" not in composed.replace(b"\r\n", b"")
    assert b"\n" not in composed.replace(b"\r\n", b"")
    assert b"\x00" not in composed
    assert max(len(line) for line in composed.split(b"\r\n")) <= 998
    message = email.message_from_bytes(composed, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    names = [name.lower() for name in message]
    assert set(names) <= KNOWN_HEADERS
    assert len(set(names)) == len(names)
    for part in message.walk():
        assert part.defects == []
        assert not [header for header in part.values() if header.defects]
    return message


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body(preferencelist=(kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_a_plain_mail() -> None:
    message = parsed()
    assert message.get_content_type() == "text/plain"
    assert text_of(message) == PLAIN.text
    found = {name: str(value) for name, value in message.items()}
    assert found == {
        "From": '"The Shop" <shop@shop.example>' if '"' in found["From"] else "The Shop <shop@shop.example>",
        "To": "ana@home.example",
        "Subject": "Your order",
        "Date": "Sun, 01 Mar 2026 10:30:05 +0000",
        "Message-ID": "<1@shop.example>",
        "MIME-Version": "1.0",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "quoted-printable",
    }


def test_a_mail_with_everything() -> None:
    message = parsed(
        sender_name="Käse & Söhne",
        subject="Grüße 🧀 an dich",
        text="Grüße,\ndie Käserei",
        html="<p>日本語のテキスト</p>",
        in_reply_to="b@home.example",
        references=("a@home.example", "b@home.example"),
        attachments=(FILE, dataclasses.replace(FILE, filename="Straße 日本.png", mime_type="image/png")),
        unsubscribe_url="https://shop.example/u?t=abc&x=1",
        auto_submitted="auto-replied",
    )
    (sender,) = message["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Käse & Söhne", "shop@shop.example")
    assert message["Subject"] == "Grüße 🧀 an dich"
    assert message["In-Reply-To"] == "<b@home.example>"
    assert message["References"].split() == ["<a@home.example>", "<b@home.example>"]
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["List-Unsubscribe"] == "<https://shop.example/u?t=abc&x=1>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
        "image/png",
    ]
    assert text_of(message) == "Grüße,\ndie Käserei"
    assert text_of(message, "html") == "<p>日本語のテキスト</p>"
    files = list(message.iter_attachments())
    assert [part.get_filename() for part in files] == ["bill.pdf", "Straße 日本.png"]
    assert [part.get_content() for part in files] == [FILE.content, FILE.content]


def test_our_own_inbound_side_reads_what_we_write() -> None:
    composed = compose(
        dataclasses.replace(PLAIN, subject="Grüße", in_reply_to="a@b", html="<b>x</b>", attachments=(FILE,))
    )
    mail = inbound.read(composed)
    assert mail is not None
    assert (mail.sender, mail.sender_name, mail.subject) == ("shop@shop.example", "The Shop", "Grüße")
    assert (mail.message_id, mail.references, mail.at) == ("1@shop.example", ("a@b",), AT)
    assert "it is on its way." in mail.text
    assert [one.filename for one in mail.attachments] == ["bill.pdf"]


def test_the_same_mail_is_the_same_bytes() -> None:
    mail = dataclasses.replace(PLAIN, html="<p>x</p>", attachments=(FILE,))
    assert compose(mail) == compose(mail)


def test_the_mail_that_is_answered_ends_the_thread_and_long_threads_are_shortened() -> None:
    assert parsed(in_reply_to="a@b")["References"] == "<a@b>"
    assert parsed(in_reply_to="a@b", references=("a@b", "c@d"))["References"].split() == ["<c@d>", "<a@b>"]
    found = parsed(in_reply_to="last@b", references=tuple(f"{number}@b" for number in range(500)))["References"].split()
    assert (len(found), found[0], found[-2:]) == (20, "<0@b>", ["<499@b>", "<last@b>"])


def test_one_outbox_entry_has_one_message_id() -> None:
    entry = UUID(int=7)
    assert message_id_of(entry, "a@bücher.example") == f"{entry}@xn--bcher-kva.example"
    assert message_id_of(entry, "b@shop.example") == message_id_of(entry, "a@shop.example")
    assert message_id_of(UUID(int=8), "a@shop.example") != message_id_of(entry, "a@shop.example")
    assert is_message_id(message_id_of(entry, "a@shop.example"))
    with pytest.raises(LimitError):
        message_id_of(entry, "shop.example")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        ".",
        ".\n.\n",
        "From here\nFrom there",
        "ends with spaces   \nand a tab\t\n ",
        "=20 is not a space",
        "x" * 5000,
        "é" * 5000,
        "one\n\n\n",
        "--=_boundary\n",
        "👩‍👩‍👧 مرحبا \u202e rtl",
    ],
)
def test_texts_come_back_as_they_were(text: str) -> None:
    # A mail of one part ends with a line, whatever its text ends with.
    assert text_of(parsed(text=text)).removesuffix("\n") == text.removesuffix("\n")
    message = parsed(text=text, html=text or None, attachments=(FILE,))
    assert text_of(message) == text
    if text:
        assert text_of(message, "html") == text


def test_line_ends_are_made_alike_and_what_no_text_has_is_taken_out() -> None:
    assert text_of(parsed(text="a\rb\r\nc\nd\x00e\x1bf\ud800g", html="")) == "a\nb\nc\nd e f\ufffdg"


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("a\r\nBcc: x@y.example", "a Bcc: x@y.example"),
        ("a\x00b\x85c\u2028d\te", "a b c d e"),
        ("=?utf-8?q?=0ABcc:?=", "=?utf-8?q?=0ABcc:?="),
        ("", ""),
        ("  a   b  ", "a b"),
        ("\ud83d\ude00", "\ufffd\ufffd"),
        ("x" * 900, "x" * 250),
        ("ü" * 90, "ü" * 90),
    ],
)
def test_subjects_are_one_line(subject: str, said: str) -> None:
    assert parsed(subject=subject)["Subject"] == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Shop, Ltd. <x@y>", "Shop, Ltd. <x@y>"),
        ('"The" \\ Shop', '"The" \\ Shop'),
        ("a\r\nBcc: x@y.example", "a Bcc: x@y.example"),
        ("=?utf-8?q?evil?=", "=?utf-8?q?evil?="),
        ("gro.live\u202e", "gro.live"),
        ("", ""),
        (None, ""),
        ("\r\n", ""),
        ("日本" * 6, "日本" * 6),
    ],
)
def test_names_cannot_leave_their_place(name: str | None, said: str) -> None:
    (sender,) = parsed(sender_name=name)["From"].addresses
    assert (sender.display_name, sender.addr_spec) == (said, "shop@shop.example")


@pytest.mark.parametrize("name", ["日本" * 40, "n" * 100, "🧀" * 100])
def test_long_names_take_several_lines(name: str) -> None:
    for whole in (name, name + "m" * 200):
        # Not by the standard library, which reads a space between the encoded words of a name.
        mail = inbound.read(compose(dataclasses.replace(PLAIN, sender_name=whole)))
        assert mail is not None
        assert mail.sender_name == whole[:100]


@pytest.mark.parametrize(
    ("filename", "said"),
    [
        ("../../etc/passwd", "etc_passwd"),
        ('a"b\\c.txt', "a_b_c.txt"),
        ("a\r\nX-Evil: 1.txt", "a_X-Evil_ 1.txt"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("", "file"),
        ("..", "file"),
        ("日" * 300 + ".pdf", "日" * 116 + ".pdf"),
        ("a;b=c.txt", "a;b=c.txt"),
        ("50% off's.txt", "50% off's.txt"),
        ("ü 50%'s.txt", "ü 50%'s.txt"),
    ],
)
def test_file_names_are_safe(filename: str, said: str) -> None:
    (part,) = parsed(attachments=(dataclasses.replace(FILE, filename=filename),)).iter_attachments()
    assert (part.get_filename(), part.get_content_disposition()) == (said, "attachment")
    assert part.get_content() == FILE.content


@pytest.mark.parametrize(
    "mime_type", ["", "text", "message/rfc822", "Multipart/mixed", "a/b; x=y", "a/b\r\nX: y", "ü/b", "text/plain\n"]
)
def test_types_that_are_none_are_any_bytes(mime_type: str) -> None:
    (part,) = parsed(attachments=(dataclasses.replace(FILE, mime_type=mime_type),)).iter_attachments()
    assert part.get_content_type() == "application/octet-stream"


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        ("a@b.example", "a@b.example"),
        ("a.b+c=d@B-2.example", "a.b+c=d@B-2.example"),
        ("o'neil@localhost", "o'neil@localhost"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@例え.jp", "a@xn--r8jz45g.jp"),
    ],
)
def test_addresses(address: str, wire: str) -> None:
    assert check_address(address, "It") == wire
    assert parsed(recipient=address)["To"] == wire
    assert parsed(sender=address)["From"].addresses[0].addr_spec == wire


@pytest.mark.parametrize(
    "address",
    [
        "", "a", "@", "a@", "@b", "a@b,c@d", "a@b c@d", "a@b\r\nBcc: c@d", "a@b\n", "\ra@b", "a@b\x00", "<a@b>",
        "a (x)@b", "Ana <a@b>", "@c:a@b", "a@@b", ".a@b", "a.@b", "a..b@c", '"a b"@c', "a@[127.0.0.1]", "a@-b",
        "a@b..c", "a@b.", "ä@b.example", "a@stra\u00dfe.example", "a@\ud800", "a@\u202e.example",
        "a@" + "ü" * 100 + ".example",
        "a" * 65 + "@b.example", "a@" + "b." * 130 + "c", "a@b\u3002c\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["sender", "recipient"])
def test_what_is_no_address_is_refused(field: str, address: str) -> None:
    with pytest.raises(LimitError) as raised:
        parsed(**{field: address})
    assert re.fullmatch(r"The (sender|recipient) [^\r\n]+\.", str(raised.value))


@pytest.mark.parametrize("message_id", ["", "a b", "<a@b>", "a\r\nBcc: x", "a\x00", "é@b", "a@" + "a" * 500, "\ud800"])
@pytest.mark.parametrize("field", ["message_id", "in_reply_to", "references"])
def test_what_is_no_message_id_is_refused(field: str, message_id: str) -> None:
    assert not is_message_id(message_id)
    with pytest.raises(LimitError, match="not a message id"):
        parsed(**{field: (message_id,) if field == "references" else message_id})


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example", "http://shop.example/u", "ftp://shop.example", "javascript:alert(1)", "mailto:a@b",
        "https://", "https:///u", "https://shop.example/ u", "https://shop.example/u>, <mailto:a@b",
        "https://shop.example/\r\nX: y", "https://shop.example/é", "https://[::1",
        "https://shop.example/" + "u" * 900, "https://a\x00", "\ud800",
    ],
)  # fmt: skip
def test_what_is_no_unsubscribe_url_is_refused(url: str) -> None:
    with pytest.raises(LimitError, match="not an https URL"):
        parsed(unsubscribe_url=url)


@pytest.mark.parametrize("url", ["https://shop.example/u/1?a=%20#x", "http://127.0.0.1:8000/u", "http://[::1]/u"])
def test_unsubscribe_urls(url: str) -> None:
    assert parsed(unsubscribe_url=url)["List-Unsubscribe"] == f"<{url}>"


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5), "Fri, 02 Jan 2026 03:04:05 +0000"),  # noqa: DTZ001 - that is the case
        (datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC), "Fri, 02 Jan 2026 03:04:05 +0000"),
    ],
)
def test_times_are_in_utc(at: datetime, written: str) -> None:
    assert str(parsed(at=at)["Date"]) == written


def test_a_time_before_all_times_is_refused() -> None:
    with pytest.raises(LimitError, match="time"):
        parsed(at=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))))


def test_a_mail_that_is_too_large_is_refused() -> None:
    large = dataclasses.replace(FILE, content=b"x" * (MAX_MESSAGE_BYTES // 2))
    assert len(compose(dataclasses.replace(PLAIN, attachments=(large,)))) < MAX_MESSAGE_BYTES
    # Of which the one is too large as it is, and the other once it is encoded.
    for size_bytes in (MAX_MESSAGE_BYTES + 1, MAX_MESSAGE_BYTES * 9 // 10):
        too_large = dataclasses.replace(FILE, content=b"x" * size_bytes)
        with pytest.raises(LimitError, match="25 MB are allowed"):
            parsed(attachments=(too_large,))
    with pytest.raises(LimitError, match="25 MB are allowed"):
        parsed(text="é" * (MAX_MESSAGE_BYTES * 2 // 5))


def test_megabytes_in_any_field_are_bytes_or_refused() -> None:
    for piece in ("x", "é", "\ud800", "\r\n", "a@", "=?", " ", '"', "\u202e"):
        megabytes = piece * 1_000_000
        parsed(subject=megabytes, sender_name=megabytes, text=megabytes, html=megabytes)
        parsed(attachments=(dataclasses.replace(FILE, filename=megabytes, mime_type=megabytes),))
        for field in ("sender", "recipient", "message_id", "in_reply_to", "unsubscribe_url"):
            with pytest.raises(LimitError):
                parsed(**{field: megabytes})


NASTY = ["\r\n", "\n", "\r", "\x00", "\x85", "\u2028", "\ud800", "\udfff", "🧀", "\u202e", "=?utf-8?b?", "?=", "<", ">",
         '"', "\\", ",", ";", ":", "@", "(", "--", "=_", "Bcc: x@y.example", "\r\n\r\n", ".", "%0d%0a", "é", " ", "\t",
         "a", "https://", "shop.example", "b.c"]  # fmt: skip
ANY = st.one_of(st.text(st.characters(), max_size=80), st.lists(st.sampled_from(NASTY), max_size=12).map("".join))
MOSTLY_GOOD = {
    "sender": st.one_of(st.just(PLAIN.sender), ANY),
    "recipient": st.one_of(st.just(PLAIN.recipient), ANY),
    "message_id": st.one_of(st.just(PLAIN.message_id), ANY),
    "in_reply_to": st.one_of(st.none(), st.just("a@b"), ANY),
    "references": st.one_of(st.just(()), st.lists(st.one_of(st.just("a@b"), ANY), max_size=3).map(tuple)),
    "unsubscribe_url": st.one_of(st.none(), st.just("https://shop.example/u"), ANY),
}
TEXTS = {"sender_name": ANY, "subject": ANY, "text": ANY, "html": st.one_of(st.none(), ANY)}
FILES = st.lists(st.builds(AttachedFile, filename=ANY, mime_type=ANY, content=st.binary(max_size=200)), max_size=2)


@given(st.fixed_dictionaries(TEXTS), FILES)
def test_any_text_is_a_mail_with_nothing_injected(texts: dict[str, Any], files: list[AttachedFile]) -> None:
    message = parsed(**texts, attachments=tuple(files))
    (sender,) = message["From"].addresses
    assert sender.addr_spec == PLAIN.sender
    assert message["To"] == PLAIN.recipient
    parts = list(message.walk())
    bodies = 1 + (texts["html"] is not None)
    containers = (texts["html"] is not None) + bool(files)
    assert len(parts) == containers + bodies + len(files)
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [file.content for file in files]


def said_of(mail: OutgoingEmail) -> bytes | str:
    """The mail, or why there is none."""
    try:
        return compose(mail)
    except LimitError as error:
        return str(error)


@given(st.fixed_dictionaries(MOSTLY_GOOD | TEXTS), FILES)
def test_any_fields_are_a_mail_or_refused(fields: dict[str, Any], files: list[AttachedFile]) -> None:
    found = said_of(dataclasses.replace(PLAIN, **fields, attachments=tuple(files)))
    if isinstance(found, bytes):
        read(found)
    else:
        assert found.endswith(".")
        assert found.isprintable()


@given(ANY)
def test_any_text_comes_back(text: str) -> None:
    kept = re.sub("[\ud800-\udfff]", "\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")
    kept = "".join(" " if re.match("[\x00-\x08\x0b-\x1f\x7f-\x9f]", one) else one for one in kept)
    assert text_of(parsed(text=text, html="x")) == kept


def test_no_part_is_hidden_by_a_text_that_looks_like_a_boundary() -> None:
    boundary = parsed(html="x", attachments=(FILE,)).get_boundary()
    assert boundary is not None
    lines = [f"--{boundary}", f"--{boundary}--", f"--{boundary[:-1]}a"]
    for text, html in itertools.product(lines, lines):
        message = parsed(text=f"{text}\r\n\r\nx", html=f"\n{html}\n", attachments=(FILE,))
        assert text_of(message).startswith(text)
        assert len(list(message.walk())) == 5
