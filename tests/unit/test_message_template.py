"""Message templates: their parameters, what a form asks for, and how they read."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.channels.whatsapp import outbound
from dragoman.channels.whatsapp.items import OtherItem
from dragoman.channels.whatsapp.templates import change_of, read_template
from dragoman.domain.canned_reply import gaps_in
from dragoman.domain.content import Media, Template, TemplateButton, digest, from_json, to_json
from dragoman.domain.message_template import (
    DefinedButton,
    MessageTemplate,
    faults,
    fields_of,
    parameters_of,
    preview,
    render,
)
from dragoman.domain.nouns import Identity
from dragoman_shop.replies import TEMPLATES

ANA = Identity(kind="wa_id", value="436601112233")


def template(body: str = "Hello {{1}}, order {{2}}.", **fields: Any) -> MessageTemplate:
    return MessageTemplate(
        **{"name": "notice", "language": "en", "category": "utility", "status": "APPROVED", "body": body, **fields}
    )


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("", ()),
        ("no parameter, {1} and { {1} }", ()),
        ("{{2}} {{1}} {{2}} {{10}}", ("1", "2", "10")),
        ("{{day}} {{ name }} {{day}}", ("day", "name")),
        ("{{1}} {{name}}", ("1", "name")),
        ("{{{{1}}}}", ("1",)),
        ("{{" * 1000, ()),
        (f"{{{{{'1' * 101}}}}}", ()),
    ],
)
def test_parameters_are_found_once_each(body: str, names: tuple[str, ...]) -> None:
    assert parameters_of(body) == names


def test_a_positional_template_is_rendered_and_sent_in_the_order_of_its_numbers() -> None:
    made = render(template("{{2}} for {{1}}", footer="Shop"), {"body.1": "Ana", "body.2": "VF-1"})
    assert made == Template(
        name="notice", language="en", category="utility", parameters=("Ana", "VF-1"), rendered="VF-1 for Ana\n\nShop"
    )
    sent = outbound.render(made, recipient=ANA, reply_to=None, correlation="c")["template"]
    assert sent["components"] == [
        {"type": "body", "parameters": [{"type": "text", "text": "Ana"}, {"type": "text", "text": "VF-1"}]}
    ]


def test_a_named_template_is_sent_with_the_names_of_its_parameters() -> None:
    named = template("{{day}}, {{name}}", header="For {{who}}", header_format="text", is_named=True)
    made = render(named, {"header.who": "you", "body.name": "Ana", "body.day": "Monday"})
    assert made.rendered == "For you\n\nMonday, Ana"
    assert from_json(to_json(made)) == made
    sent = outbound.render(made, recipient=ANA, reply_to=None, correlation="c")["template"]
    assert sent["components"] == [
        {"type": "header", "parameters": [{"type": "text", "parameter_name": "who", "text": "you"}]},
        {
            "type": "body",
            "parameters": [
                {"type": "text", "parameter_name": "day", "text": "Monday"},
                {"type": "text", "parameter_name": "name", "text": "Ana"},
            ],
        },
    ]


def test_templates_that_were_sent_before_keep_their_form_and_digest() -> None:
    before = {
        "kind": "template", "name": "n", "language": "en", "rendered": "r", "parameters": ["a"], "category": "",
        "header": [], "header_media": None, "buttons": [],
    }  # fmt: skip
    read = from_json(before)
    assert to_json(read).keys() == before.keys()
    assert digest(read) == digest(Template(name="n", language="en", rendered="r", parameters=("a",)))


def test_a_form_asks_for_each_parameter_and_button() -> None:
    buttons = (
        DefinedButton(kind="quick_reply", title="Yes"),
        DefinedButton(kind="url", title="Shop", url="https://shop.example"),
        DefinedButton(kind="url", title="Track", url="https://shop.example/{{1}}"),
        DefinedButton(kind="copy_code", title="Copy"),
    )
    asked = template("Dear {{1}}", header="For {{1}}", header_format="text", buttons=buttons)
    fields = fields_of(asked)
    assert [(field.key, field.place, field.label) for field in fields] == [
        ("header.1", "header", "1"),
        ("body.1", "body", "1"),
        ("button.2", "button", "Track"),
        ("button.3", "button", "Copy"),
    ]
    assert faults(asked, {}).keys() == {field.key for field in fields}
    assert gaps_in(preview(asked, {})) == ("1",)
    made = render(asked, {field.key: f"value-{field.key}" for field in fields})
    assert made.buttons == (
        TemplateButton(index=2, source="url", value="value-button.2"),
        TemplateButton(index=3, source="copy_code", value="value-button.3"),
    )
    assert made.rendered.endswith("[Yes]\n[Shop]\n[Track]\n[Copy]")
    outbound.render(made, recipient=ANA, reply_to=None, correlation="c")


@pytest.mark.parametrize("value", ["", "  ", "a\nb", "a\tb", "a     b", "a\x00", "\ud800", "x" * 1100])
def test_what_whatsapp_refuses_in_a_parameter_is_told_before(value: str) -> None:
    found = faults(template("Dear {{1}}"), {"body.1": value})
    assert found
    with pytest.raises(ValueError, match="cannot be sent"):
        render(template("Dear {{1}}"), {"body.1": value})


def test_a_value_that_looks_like_a_parameter_is_not_filled_again() -> None:
    assert render(template("{{1}} {{2}}"), {"body.1": "{{2}}", "body.2": "b"}).rendered == "{{2}} b"


def test_a_file_stands_above_where_the_template_wants_one() -> None:
    wanted = template("Look", header_format="image")
    picture, film = (Media(media=kind, media_id="1") for kind in ("image", "video"))
    assert faults(wanted, {}, header_media=picture) == {}
    assert render(wanted, {}, header_media=picture).header_media == picture
    for media in (None, film):
        assert faults(wanted, {}, header_media=media).keys() == {"header"}
    assert faults(template("Look"), {}, header_media=picture).keys() == {"header"}


def test_only_what_is_approved_and_can_be_filled_in_is_sent() -> None:
    assert not template(status="PAUSED").can_be_sent
    assert "paused" in faults(template("a", status="PAUSED"), {})[""]
    assert "carousel" in faults(template("a", unsupported=("carousel",)), {})[""]


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "id": "1", "name": "notice", "language": "en_US", "status": "APPROVED", "category": "UTILITY",
        "components": [{"type": "BODY", "text": "Hi {{1}}"}], **fields,
    }  # fmt: skip


def test_the_shops_templates_are_read_whole() -> None:
    found = [read_template(one) for one in TEMPLATES]
    assert len(found) == 6
    for one in found:
        assert one is not None
        assert one.can_be_sent
        render(one, {field.key: "x" for field in fields_of(one)})
    named = next(one for one in found if one and one.name == "appointment_confirmation")
    assert named.is_named
    assert [field.key for field in fields_of(named)] == ["body.name", "body.day", "body.time", "body.store"]


@pytest.mark.parametrize(
    "value",
    [
        None, [], "x", 7, {}, entry(name=None), entry(name="a b"), entry(name="x" * 600), entry(name=["a"]),
        entry(language=""), entry(language="en_US' --"), entry(status={}), entry(status=""), entry(components=None),
        entry(components={}), entry(components=[]), entry(components=[None]), entry(components=[{"type": 7}]),
        entry(components=[{"type": "BODY"}]), entry(components=[{"type": "BODY", "text": {"a": 1}}]),
        entry(components=[{"type": "BODY", "text": "x" * 5000}]),
        entry(components=[{"type": "BODY", "text": "a"}, {"type": "BUTTONS", "buttons": {}}]),
        entry(components=[{"type": "BODY", "text": "a"}, {"type": "BUTTONS", "buttons": [None]}]),
        entry(components=[{"type": "BODY", "text": "a"}, {"type": "BUTTONS", "buttons": [{"type": "URL"}] * 21}]),
    ],
)  # fmt: skip
def test_what_is_no_template_is_none(value: object) -> None:
    assert read_template(value) is None


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([{"type": "CAROUSEL", "cards": []}], "carousel"),
        ([{"type": "HEADER", "format": "LOCATION"}], "a header with location"),
        ([{"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Go"}]}], "a button of kind flow"),
        ([{"type": "BUTTONS", "buttons": [{"type": "OTP", "text": "Copy"}]}], "a button of kind otp"),
    ],
)
def test_what_cannot_be_filled_in_here_is_named(parts: list[dict[str, Any]], what: str) -> None:
    found = read_template(entry(components=[{"type": "BODY", "text": "a"}, *parts]))
    assert found is not None
    assert found.unsupported == (what,)
    assert not found.can_be_sent


def notice(field: str, **value: Any) -> OtherItem:
    raw = {"message_template_name": "notice", "message_template_language": "en_US", **value}
    return OtherItem(waba_id="1", phone_number_id=None, field=field, reason="", raw=raw)


@pytest.mark.parametrize(
    ("event", "status"),
    [("APPROVED", "APPROVED"), ("PAUSED", "PAUSED"), ("REINSTATED", "APPROVED"), ("UNARCHIVED", "APPROVED"),
     ("FLAGGED", None), ("NEW_WORD", None), (None, None), (["a"], None)],
)  # fmt: skip
def test_a_notice_tells_the_status_or_that_it_has_to_be_asked_for(event: object, status: str | None) -> None:
    change = change_of(notice("message_template_status_update", event=event))
    assert change is not None
    assert (change.status, change.is_complete) == (status, status is not None)


def test_other_notices_of_a_template() -> None:
    quality = change_of(notice("message_template_quality_update", new_quality_score="RED"))
    category = change_of(notice("template_category_update", new_category="MARKETING"))
    edited = change_of(notice("message_template_components_update"))
    assert quality is not None
    assert quality.quality == "RED"
    assert category is not None
    assert category.category == "marketing"
    assert edited is not None
    assert not edited.is_complete
    assert change_of(notice("account_update")) is None
    nameless = notice("message_template_status_update", event="PAUSED", message_template_name={})
    assert change_of(nameless) is None
