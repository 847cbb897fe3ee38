"""Every kind of content that we send, beside what pywa writes for the same message; the stand-in takes both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import pywa
from pywa import types
from pywa.errors import WhatsAppError
from pywa.types import templates as t

from dragoman.channels.interface import LimitError
from dragoman.channels.whatsapp import outbound
from dragoman.channels.whatsapp.account_client import read_mark
from dragoman.channels.whatsapp.client import _read
from dragoman.channels.whatsapp.outbound import render
from dragoman.domain import content as c
from dragoman.domain.nouns import Identity
from graph_standin.validation import fault_in
from tests.unit.second_reader import NUMBER, SecondWriter, what_it_says

ANNA = Identity(kind="wa_id", value="436641234567")
HIDDEN = Identity(kind="wa_user_id", value="AT.13491208655302741918")
LINK = "https://files.example/one.png"
TRACK = "https://example.com/t/1?a=b"

Write = Callable[..., object]
"""How pywa is asked for the message: with its client, and who it goes to, what it answers, what comes back."""


def media(name: str, **fields: Any) -> Write:
    return lambda wa, **around: getattr(wa, f"send_{name}")(**fields, **around)


def template(*params: t.BaseParams) -> Write:
    return lambda wa, **around: wa.send_template(
        name="reminder", language=t.TemplateLanguage.GERMAN, params=params or None, **around
    )


def a_template(**fields: Any) -> c.Template:
    return c.Template(name="reminder", language="de", rendered="-", **fields)


def three() -> tuple[c.Option, ...]:
    return tuple(c.Option(id=f"o{n}", title=f"Option {n}") for n in range(3))


ROWS = tuple(c.Option(id=f"o{n}", title=f"Option {n}", description=f"About {n}" if n else None) for n in range(4))
CARD = c.ContactCard(name="Eva Lang", phones=("+43 660 1",), emails=("e@example.com",), organisation="Lang KG")
THEIR_CARD = types.Contact(
    name=types.Contact.Name(formatted_name="Eva Lang", first_name="Eva"),
    phones=[types.Contact.Phone(phone="+43 660 1")],
    emails=[types.Contact.Email(email="e@example.com")],
    org=types.Contact.Org(company="Lang KG"),
)
PARTS: Any = t
"""Whose types for parameters by place are not those that it takes."""

PICTURE = c.Media(media="image", media_id="123")

CASES: dict[str, tuple[c.Content, Write]] = {
    "text": (c.Text("Hello *you*"), lambda wa, **around: wa.send_message(text="Hello *you*", **around)),
    **{
        f"media {name} by {where}": (
            c.Media(media=name, media_id=source),
            media(name, **{name: source}),
        )
        for name in ("image", "video", "audio", "voice", "sticker")
        for where, source in (("id", "123"), ("link", LINK))
    },
    "media with caption": (
        c.Media(media="image", media_id="123", caption="Look"),
        media("image", image="123", caption="Look"),
    ),
    "media document by id": (
        c.Media(media="document", media_id="123"),
        media("document", document="123", filename=None),
    ),
    "media document": (
        c.Media(media="document", media_id=LINK, caption="Read", filename="i.pdf"),
        media("document", document=LINK, caption="Read", filename="i.pdf"),
    ),
    "location": (
        c.Location(latitude=48.2, longitude=16.3, name="Shop", address="Ring 1"),
        lambda wa, **around: wa.send_location(latitude=48.2, longitude=16.3, name="Shop", address="Ring 1", **around),
    ),
    "location without a name": (
        c.Location(latitude=48.2, longitude=16.3),
        lambda wa, **around: wa.send_location(latitude=48.2, longitude=16.3, **around),
    ),
    "contacts": (
        c.ContactCards((CARD, CARD)),
        lambda wa, **around: wa.send_contact(contact=[THEIR_CARD, THEIR_CARD], **around),
    ),
    "options as buttons": (
        c.Options(body="What?", options=three()),
        lambda wa, **around: wa.send_message(
            text="What?", buttons=[types.Button(title=o.title, callback_data=o.id) for o in three()], **around
        ),
    ),
    "options as a list": (
        c.Options(body="What?", options=ROWS, button="Choose"),
        lambda wa, **around: wa.send_message(
            text="What?",
            buttons=types.SectionList(
                button_title="Choose",
                sections=[
                    # Meta asks for a section's title only where there are several.
                    types.Section(
                        title=cast("str", None),
                        rows=[types.SectionRow(o.title, o.id, o.description) for o in ROWS],
                    )
                ],
            ),
            **around,
        ),
    ),
    "link": (
        c.Link(body="On its way", title="Track it", url=TRACK),
        lambda wa, **around: wa.send_message(
            text="On its way", buttons=types.URLButton(title="Track it", url=TRACK), **around
        ),
    ),
    "request for a location": (
        c.Request(body="Where?", wants="location"),
        lambda wa, **around: wa.request_location(text="Where?", **around),
    ),
    "request for the number": (
        c.Request(body="Which number?", wants="contact"),
        lambda wa, **around: wa.request_contact_info(text="Which number?", **around),
    ),
    "template": (a_template(), template()),
    "template with parameters": (
        a_template(header=("Sale",), parameters=("Anna", "7")),
        template(PARTS.HeaderText.params("Sale"), PARTS.BodyText.params("Anna", "7")),
    ),
    "template with named parameters": (
        a_template(
            header=("Sale",), header_names=("what",), parameters=("Anna", "7"), parameter_names=("name", "number")
        ),
        template(t.HeaderText.params(what="Sale"), t.BodyText.params(name="Anna", number="7")),
    ),
    "template with a picture": (a_template(header_media=PICTURE), template(t.HeaderImage.params(image="123"))),
    "template with a film": (
        a_template(header_media=c.Media(media="video", media_id=LINK)),
        template(t.HeaderVideo.params(video=LINK)),
    ),
    "template with a document": (
        a_template(header_media=c.Media(media="document", media_id="123", filename="i.pdf")),
        template(t.HeaderDocument.params(document="123", filename="i.pdf")),
    ),
    "template with buttons": (
        a_template(
            buttons=(
                c.TemplateButton(index=0, source="quick_reply", value="yes"),
                c.TemplateButton(index=1, source="url", value="t/1"),
                c.TemplateButton(index=2, source="copy_code", value="A1"),
            )
        ),
        template(
            t.QuickReplyButton.params(callback_data="yes", index=0),
            t.URLButton.params(url_variable="t/1", index=1),
            t.CopyCodeButton.params(coupon_code="A1", index=2),
        ),
    ),
}

REACTIONS: dict[str, tuple[c.Content, Write]] = {
    "reaction": (
        c.Reaction(target="wamid.Q", emoji="👍"),
        lambda wa, **around: wa.send_reaction(emoji="👍", message_id="wamid.Q", **around),
    ),
    "reaction taken off": (
        c.Reaction(target="wamid.Q", emoji=None),
        lambda wa, **around: wa.remove_reaction(message_id="wamid.Q", **around),
    ),
}
"""They answer to a message by themselves, so that pywa has no reply for them."""

NEVER_SENT: tuple[c.Content, ...] = (
    c.Choice(source="button", id="1", title="t"),
    c.FormReply(name="flow"),
    c.Order(catalog_id="1", text=None, items=()),
    c.SystemNotice(event="e", body="b"),
    c.Payment(status="captured"),
    c.CodeReport(body="b"),
    c.Edit(target="wamid.Q", body="b"),
    c.Revoke(target="wamid.Q"),
    c.Unsupported(channel_type="t", reason="r"),
    c.Note("n"),
    c.Erased(),
)


def rendered(content: c.Content, recipient: Identity = ANNA, reply_to: str | None = None) -> dict[str, Any]:
    return render(content, recipient=recipient, reply_to=reply_to, correlation="entry-1")


@pytest.mark.parametrize("recipient", [ANNA, HIDDEN], ids=["to a number", "to a user id"])
@pytest.mark.parametrize("name", [*CASES, *REACTIONS])
def test_we_write_what_pywa_writes(name: str, recipient: Identity) -> None:
    content, write = (CASES | REACTIONS)[name]
    writer = SecondWriter()
    theirs = writer.written(lambda wa: write(wa, to=recipient.value, tracker="entry-1"))
    ours = rendered(content, recipient)
    assert what_it_says(ours) == what_it_says(theirs)
    assert writer.post(ours)["messages"][0]["id"]


@pytest.mark.parametrize("name", CASES)
def test_we_answer_to_a_message_as_pywa_does(name: str) -> None:
    content, write = CASES[name]
    writer = SecondWriter()
    theirs = writer.written(lambda wa: write(wa, to=ANNA.value, tracker="entry-1", reply_to_message_id="wamid.Q"))
    ours = rendered(content, reply_to="wamid.Q")
    assert what_it_says(ours) == what_it_says(theirs)
    assert ours["context"] == {"message_id": "wamid.Q"}
    assert fault_in(ours, "15550100000") is None


def test_every_kind_of_content_is_compared_or_never_sent() -> None:
    sent = {content.kind for content, _ in (CASES | REACTIONS).values()}
    never = {content.kind for content in NEVER_SENT}
    assert sent | never == set(c.KINDS)
    assert not sent & never
    for content in NEVER_SENT:
        with pytest.raises(LimitError, match="cannot be sent"):
            rendered(content)
    kinds = {content.media for content, _ in CASES.values() if isinstance(content, c.Media)}
    assert kinds == set(outbound._MEDIA_TYPES)
    wanted = {content.wants for content, _ in CASES.values() if isinstance(content, c.Request)}
    assert wanted == set(outbound._REQUESTS)


@pytest.mark.parametrize("typing", [False, True])
def test_a_read_mark_and_typing_are_what_pywa_posts(typing: bool) -> None:
    writer = SecondWriter()

    def mark(wa: pywa.WhatsApp) -> object:
        return wa.indicate_typing("wamid.Q") if typing else wa.mark_message_as_read("wamid.Q")

    theirs = writer.written(mark)
    ours = read_mark("wamid.Q", typing=typing)
    assert ours == theirs
    assert writer.post(ours) == {"success": True}


def test_the_answer_to_a_number_names_no_user_id_and_pywa_reads_both_answers() -> None:
    for recipient, contact in (
        (ANNA, {"input": ANNA.value, "wa_id": ANNA.value}),
        (HIDDEN, {"input": HIDDEN.value, "user_id": HIDDEN.value}),
    ):
        writer = SecondWriter()
        assert writer.post(rendered(c.Text("Hello"), recipient))["contacts"] == [contact]
        sent = writer.client.send_message(to=recipient.value, text="Hello")
        assert sent.id.startswith("wamid.")
        assert (sent.input, sent.to) == (recipient.value, recipient.value)


TEMPLATES: list[dict[str, Any]] = [
    {"name": "reminder", "language": "de", "status": "APPROVED", "category": "UTILITY",
     "components": [{"type": "BODY", "text": "Hi {{1}}"}]},
    {"name": "paused", "language": "de", "status": "PAUSED", "category": "UTILITY", "components": []},
    {"name": "disabled", "language": "de", "status": "DISABLED", "category": "UTILITY", "components": []},
    {"name": "code", "language": "de", "status": "APPROVED", "category": "AUTHENTICATION",
     "components": [{"type": "BODY", "text": "{{1}} is your code"}]},
    {"name": "picture", "language": "de", "status": "APPROVED", "category": "UTILITY",
     "components": [{"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "Look"}]},
]  # fmt: skip


def interactive(kind: str, action: Any, body: str = "b", **more: Any) -> dict[str, Any]:
    return {"type": "interactive", "interactive": {"type": kind, "body": {"text": body}, "action": action, **more}}


def of_template(name: str, *parameters: str) -> dict[str, Any]:
    given = [{"type": "text", "text": parameter} for parameter in parameters]
    components = [{"type": "body", "parameters": given}] if given else []
    return {"type": "template", "template": {"name": name, "language": {"code": "de"}, "components": components}}


BUTTON = {"type": "reply", "reply": {"id": "1", "title": "t"}}
ROW = {"id": "1", "title": "t"}


def listed(rows: list[dict[str, str]], **more: str) -> dict[str, Any]:
    return {"button": "Menu", "sections": [{"rows": rows}], **more}


REFUSED: list[tuple[int, dict[str, Any]]] = [
    # 100: a parameter that is missing as a whole, is not known, or is longer than its type allows.
    (100, {"messaging_product": "sms"}),
    (100, {"to": None}),
    (100, {"type": "smell"}),
    (100, {"text": {"body": "x" * 4097}}),
    (100, {"type": "audio", "audio": {"id": "1", "caption": "c"}}),
    (100, {"type": "image", "image": {"id": "1", "voice": True}}),
    # 131008: a required parameter is missing.
    (131008, {"text": {}}),
    (131008, {"type": "image"}),
    (131008, {"type": "image", "image": {}}),
    (131008, {"type": "image", "image": {"id": "1", "link": LINK}}),
    (131008, {"type": "contacts", "contacts": []}),
    (131008, {"type": "reaction", "reaction": {"emoji": "x"}}),
    (131008, {"type": "template", "template": {"name": "reminder"}}),
    (131008, interactive("button", None)),
    (131008, {"type": "interactive", "interactive": {"type": "button", "action": {"buttons": [BUTTON]}}}),
    # 131009: a value that cannot be.
    (131009, {"to": "Anna"}),
    (131009, {"to": None, "recipient": "Anna"}),
    (131009, {"context": {}}),
    (131009, {"biz_opaque_callback_data": "x" * 513}),
    (131009, {"type": "location", "location": {"latitude": 91, "longitude": 0}}),
    (131009, {"type": "image", "image": {"id": "1", "caption": "x" * 1025}}),
    (131009, interactive("button", {"buttons": [BUTTON] * 4})),
    (131009, interactive("button", {"buttons": [BUTTON] * 2})),
    (131009, interactive("list", listed([ROW] * 2))),
    (131009, interactive("list", listed([{**ROW, "id": str(n)} for n in range(11)]))),
    (131009, interactive("list", listed([ROW], button="x" * 21))),
    (131009, interactive("cta_url", {"name": "cta_url", "parameters": {"display_text": "t", "url": "ftp://a"}})),
    (131009, interactive("location_request_message", {"name": "request_contact_info"})),
    (131009, interactive("request_contact_info", {"name": "send_location"})),
    # The name that an earlier edition of Meta's page had for it.
    (131009, interactive("contact_request", {"name": "request_contact_info"})),
    (131021, {"to": NUMBER.display_phone_number}),
    (131062, {"to": None, "recipient": HIDDEN.value, **of_template("code", "123456")}),
    (132000, of_template("reminder")),
    (132001, of_template("unknown", "Anna")),
    (132012, of_template("picture")),
    (132015, of_template("paused")),
    (132016, of_template("disabled")),
]


@pytest.mark.parametrize(("code", "change"), REFUSED)
def test_a_refusal_has_meta_s_code_for_pywa_and_for_us(code: int, change: dict[str, Any]) -> None:
    base = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": ANNA.value, "type": "text"}
    body = {**base, "text": {"body": "Hello"}, **change}
    body = {key: value for key, value in body.items() if value is not None}
    writer = SecondWriter(TEMPLATES)
    with pytest.raises(WhatsAppError) as refused:
        writer.post(body)
    theirs = refused.value
    assert theirs.raw_response is not None
    ours = _read(theirs.raw_response.status_code, theirs.raw_response.content)
    assert (theirs.code, getattr(ours, "code", None)) == (code, code)
    assert theirs.details
    assert theirs.details in getattr(ours, "message", "")
    # Pywa has a name of its own for each code but the general ones.
    assert type(theirs) is not WhatsAppError or code in {100, 131062}


def test_a_good_body_of_each_refused_kind_is_taken() -> None:
    """So that the codes above are about what each row changed."""
    writer = SecondWriter(TEMPLATES)
    for name in ("code", "reminder"):
        writer.post({"messaging_product": "whatsapp", "to": ANNA.value, **of_template(name, "Anna")})
    assert writer.post(rendered(c.Text("Hello")))["messages"]
