"""What is read out of a mail: words without the history below them, HTML as text, ids, files; and it never raises."""

from __future__ import annotations

from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.channels.email.channel import Email
from dragoman.channels.email.inbound import read
from dragoman.channels.email.plain import from_html, without_quotes
from dragoman.channels.email.redact import redact
from dragoman.channels.interface import ChannelMessage
from dragoman.domain import redaction
from dragoman.domain.content import Media, Text

QUOTED = [
    ("plain", "Hello\n\nWhere is it?", "Hello\n\nWhere is it?"),
    ("quoted below", "Yes, please.\n\n> Shall we send it?\n>\n> Shop", "Yes, please."),
    ("attribution", "Yes.\n\nOn 2 Mar 2026, Shop wrote:\n> Shall we?", "Yes."),
    (
        "attribution in two lines",
        "Ja.\n\nAm Mo., 2. März 2026 um 10:00 Uhr\nschrieb Shop <a@b.example>:\n\n> Ja?",
        "Ja.",
    ),
    ("divider", "Oui.\n\n-----Message d'origine-----\nDe: Shop\nAlors?", "Oui."),
    ("signature", "Bye\n-- \nAna Lima\n+43 660", "Bye"),
    ("between the lines", "> Red or blue?\nBlue.\n> When?\nSoon.", "> Red or blue?\nBlue.\n> When?\nSoon."),
    ("nothing but a quotation", "> Is anybody there?", "> Is anybody there?"),
    ("a sentence that begins like one", "On Monday he wrote: come\nand I came", "On Monday he wrote: come\nand I came"),
]


@pytest.mark.parametrize(("text", "kept"), [row[1:] for row in QUOTED], ids=[row[0] for row in QUOTED])
def test_what_is_quoted_is_left_out(text: str, kept: str) -> None:
    assert without_quotes(text) == kept
    assert without_quotes(text.replace("\n", "\r\n")) == kept


def test_html_is_read_as_text() -> None:
    html = (
        "<html><head><title>x</title><style>p{}</style></head><body><p>Hello <b>you</b>,</p><p>where&nbsp;is<br>it?</p>"
        "<script>alert(1)</script><blockquote>old <blockquote>older</blockquote> things</blockquote>"
        '<div class="gmail_quote"><div>On Monday</div> quoted</div><ul><li>one<li>two</ul></body></html>'
    )
    assert from_html(html) == "Hello you,\n\nwhere is\nit?\n\none\ntwo"


def test_a_mail_with_html_alone_and_one_file() -> None:
    message = EmailMessage()
    message["From"] = "=?utf-8?q?An=C3=A4?= <ana@example.org>"
    message["Message-ID"] = "<1@example.org>"
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0100"
    message.set_content("<p>See the <i>file</i></p>", subtype="html")
    message.add_attachment(b"x", maintype="application", subtype="pdf", filename="C:\\bills\\a.pdf")
    (item,) = Email("help@shop.example").parse(bytes(message))
    assert isinstance(item, ChannelMessage)
    assert (item.display_name, item.sender[0].value) == ("Anä", "ana@example.org")
    assert item.channel_at is not None
    assert item.channel_at.hour == 9
    assert isinstance(item.content, Media)
    assert (item.content.caption, item.content.filename) == ("See the file", "a.pdf")


def test_the_nearest_message_is_the_one_answered() -> None:
    def references(**headers: str) -> tuple[str, ...]:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        mail = read(f"From: a@b.example\r\n{lines}\r\nhi".encode())
        assert mail is not None
        return mail.references

    assert references() == ()
    assert references(References="<1@x> <2@x>") == ("1@x", "2@x")
    assert references(In_Reply_To="<3@x>", References="<1@x>\r\n <2@x>") == ("1@x", "2@x", "3@x")
    assert references(In_Reply_To="<2@x>", References="<1@x> <2@x>") == ("1@x", "2@x")
    assert references(In_Reply_To="Your message of Monday") == ()


def test_a_mail_without_an_id_is_the_same_when_it_comes_again() -> None:
    body = b"From: a@b.example\r\nSubject: Only a subject\r\n\r\n"
    (one,), (two,) = Email("x").parse(body), Email("x").parse(body)
    assert isinstance(one, ChannelMessage)
    assert one == two
    assert one.content == Text("Only a subject")


HEADERS = st.sampled_from(
    ["From", "To", "Subject", "Date", "Message-ID", "References", "In-Reply-To", "Content-Type", "MIME-Version"]
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "a@b.example",
            "<1@x>",
            "multipart/mixed; boundary=b",
            "text/html; charset=nonsense",
            "=?x?q?=FF?=",
            "=?utf-8?b?@@?=",
        ]
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(HEADERS, VALUES), max_size=8), st.binary(max_size=200))
def test_whatever_a_mailbox_received_is_read(headers: list[tuple[str, str]], rest: bytes) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("utf-8", "replace")
    for body in (head + b"\r\n" + rest, head + b"\r\n--b\r\n" + rest, rest):
        items = Email("help@shop.example").parse(body)
        assert items
        assert len(Email("help@shop.example").raw_items(body)) == len(items)
        for item in items:
            assert not isinstance(item, ChannelMessage) or (item.sender and 0 < len(item.channel_message_id) <= 512)


def test_a_long_text_is_cleaned_as_a_short_one_is() -> None:
    lines = "My card is 4111 1111 1111 1111, thank you.\r\n" * 20_000
    rules = (redaction.READY["card"],)
    left, found = redact(f"From: a@b.example\r\n\r\n{lines}".encode(), rules)
    assert found == {0: {"card": 20_000}}
    mail = read(left)
    assert mail is not None
    assert "4111" not in mail.text
    endless, found = redact(b"From: a@b.example\r\n\r\n" + b"x" * 1_000_000 + b" 4111 1111 1111 1111", rules)
    assert found == {0: {"card": 1}}
    assert b"4111" not in endless
