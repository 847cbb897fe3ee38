"""What people write in their own digits, letters and emoji means what it means in ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date

import pytest

from dragoman.dispatch import flow_values, menu, verification
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import InvokeSkill
from dragoman.dispatch.extract import answer, mention
from dragoman.dispatch.texts import LANGUAGES
from dragoman.dispatch.turn import Inputs
from dragoman.dispatch.words import asks_for_human, tokens
from dragoman.domain import canned_reply, definitions, media_types
from dragoman.domain.content import Options, Text
from dragoman.domain.flows import Validation, Variable, VariableType
from dragoman.domain.nouns import Awaiting, AwaitingKind, Level, Parameter, ParameterKind
from dragoman.skills import call_errors
from dragoman.web.console import access_log, timeline
from dragoman.web.console.formatting import Times
from dragoman.web.console.transcript import Bubble, items
from tests.browser.records import DISPATCH, event, message
from tests.scenarios.driver import drain
from tests.unit.test_dispatch_core import CONTACT, NOW, classified, inputs, returned, scripted, session_after

TODAY = date(2026, 3, 4)
ARABIC, PERSIAN, WIDE = (
    str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"),
    str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"),
    str.maketrans("0123456789-", "０１２３４５６７８９－"),
)
DIGITS = pytest.mark.parametrize("digits", [ARABIC, PERSIAN, WIDE], ids=["Arabic", "Persian", "full width"])


def read(kind: ParameterKind, text: str, **more: object) -> object:
    return answer(Parameter(name="p", kind=kind, **more), text, today=TODAY, locale="en")  # type: ignore[arg-type]


@DIGITS
def test_52_a_skill_gets_the_order_number_in_ascii_digits(digits: dict[int, str]) -> None:
    written = Text("where is VF-12345".translate(digits))
    session = session_after(Text("hi"))
    effects, _ = drain(dispatch(inputs(written, session)), scripted(classified("orders.status"), returned()))
    (call,) = [effect for effect in effects if isinstance(effect, InvokeSkill)]
    assert call.parameters == {"number": "VF-12345"}


@DIGITS
def test_52_values_of_every_kind_are_read_in_any_digits(digits: dict[int, str]) -> None:
    assert read(ParameterKind.PATTERN, "VF-12345".translate(digits), pattern=r"VF-\d+") == "VF-12345"
    assert read(ParameterKind.INTEGER, "I want 12".translate(digits)) == 12
    assert read(ParameterKind.NUMBER, "12.5".translate(digits)) == 12.5
    assert read(ParameterKind.DATE, "2026-04-01".translate(digits)) == "2026-04-01"
    assert read(ParameterKind.LOCATION, "48.2082, 16.3738".translate(digits)) == "48.208200,16.373800"
    assert read(ParameterKind.EMAIL, "mail ana12@example.com".translate(digits)) == "ana12@example.com"
    assert read(ParameterKind.CHOICE, "size 42".translate(digits), choices=("42", "43")) == "42"
    assert mention(
        Parameter(name="p", kind=ParameterKind.PATTERN, pattern=r"VF-\d+"), "VF\u20111".translate(digits),
        today=TODAY, locale="en",
    ) == "VF-1"  # fmt: skip


def test_52_a_decimal_sign_that_is_nothing_else_separates_no_thousands() -> None:
    assert read(ParameterKind.NUMBER, "١٫٥٠٠") == 1.5
    assert read(ParameterKind.NUMBER, "١٬٥٠٠") == 1500


def test_a_text_that_is_asked_for_stays_as_it_was_written() -> None:
    assert read(ParameterKind.TEXT, "Straße ٤٢, ﬁn 👨\u200d👩\u200d👧") == "Straße ٤٢, ﬁn 👨\u200d👩\u200d👧"


@DIGITS
def test_44_a_choice_of_the_menu_is_known_in_any_digits(digits: dict[int, str]) -> None:
    offered = Awaiting(kind=AwaitingKind.MENU, collected={"offered": [["a", "Plan 7"], ["b", "Other"]]})
    assert menu.typed(offered, "2".translate(digits)) == "b"
    assert menu.typed(offered, "2️⃣") == "b"
    assert menu.typed(offered, "plan 7".translate(digits)) == "a"
    assert menu.typed(offered, "Pl\u200ban 7") == "a"


@DIGITS
def test_52_flows_read_numbers_phones_and_partners_in_any_digits(digits: dict[int, str]) -> None:
    def said(kind: VariableType, text: str, validation: Validation = Validation()) -> object:  # noqa: B008 - frozen
        return flow_values.answered(
            Variable(name="v", type=kind), validation, text.translate(digits), today=TODAY, locale="en"
        )

    assert said(VariableType.PHONE, "+43 660 1234567") == "+436601234567"
    assert said(VariableType.BUSINESS_PARTNER_ID, "BP-1042") == "BP-1042"
    assert said(VariableType.NUMBER, "12", Validation(minimum=10)) == 12
    assert said(VariableType.TEXT, "VF-12345", Validation(pattern=r"VF-\d{5}")) == "VF-12345"


@DIGITS
def test_44_a_one_time_code_is_read_in_any_digits_and_stands_nowhere(digits: dict[int, str]) -> None:
    written = "here: " + "123 456".translate(digits)
    asked = dataclasses.replace(inputs(Text(written), session_after(Text("hi"))), code_open=True)
    assert asked.session is not None
    asked = dataclasses.replace(
        asked, session=dataclasses.replace(asked.session, awaiting=Awaiting(kind=AwaitingKind.CODE))
    )
    assert asked.session is not None
    assert verification.code_in(asked, asked.session.awaiting) == "123456"
    kept = verification.on_record(asked).content
    assert kept == Text("here: ••••••")


@pytest.mark.parametrize(
    "written", ["①②③④⑤⑥", "1\u200b2\u200b3\u200b4\u200b5\u200b6", "１\u20602３４５６", "1\u20112\u201134\u20115\u20116"]
)
def test_44_no_code_that_is_taken_stays_on_record_however_it_is_written(written: str) -> None:
    asked = dataclasses.replace(inputs(Text(written)), code_open=True)
    assert verification.code_in(asked, None) == "123456"
    assert verification.on_record(asked).content == Text("••••••")
    rule = verification.code_rule(asked=False)
    assert list(rule.find(f"x {written}!")) == [(2, 2 + len(written))]


def test_rules_and_keywords_see_through_width_and_joiners() -> None:
    assert tokens("ＡＧＥＮＴ") == tokens("a\u200bg\u2060ent") == ("agent",)
    assert asks_for_human("ｔａｌｋ to a ｈｕｍａｎ")


@pytest.mark.parametrize(
    "name", ["+447700900001", "WhatsApp user", "\u3164", "\u2800", "", "Dr. Anna Huber", "AT.5512"]
)
@pytest.mark.parametrize("locale", LANGUAGES)
def test_55_a_contact_without_a_name_is_greeted_without_one(name: str, locale: str) -> None:
    asked = inputs(Text("hello"))
    contact = dataclasses.replace(CONTACT, display_name=name, locale=locale, level=Level.UNVERIFIED)
    greeting = said_to(dataclasses.replace(asked, contact=contact))
    nameless = said_to(dataclasses.replace(asked, contact=dataclasses.replace(contact, display_name="")))
    assert greeting == nameless


def said_to(asked: Inputs) -> str:
    _, turns = drain(dispatch(asked), scripted())
    (said,) = [item.content for turn in turns for item in turn.transcript if isinstance(item.content, Options)]
    return said.body


def test_51_a_name_in_the_greeting_is_set_apart() -> None:
    contact = dataclasses.replace(CONTACT, display_name="محمد\u202e علي")
    assert said_to(dataclasses.replace(inputs(Text("hello")), contact=contact)).startswith("Hello \u2068محمد\u2069!")


def test_27_a_title_is_cut_between_characters_and_fits_the_channel() -> None:
    family = "👨\u200d👩\u200d👧\u200d👦"
    asked = inputs(Text("x"))
    parameter = Parameter(
        name="p", kind=ParameterKind.CHOICE, choices=("a",), titles={"a": {"en": "x" * 20 + family + "y"}}
    )
    shown = menu.answers(asked, parameter, "?")
    assert isinstance(shown, Options)
    assert shown.options[0].title == "x" * 20


FLAG = "🇦🇹"


def timeline_title(text: str) -> str:
    cause = message(1, Text(text), dispatch_id=DISPATCH)
    (group,) = timeline.grouped(timeline.entries_of([event(1, "message.received")]), [cause])
    return group.title.strip("“”")


def quoted(text: str) -> str:
    asked, answered = message(1, Text(text)), message(2, Text("yes"), reply_to="w1")
    found = items([asked, answered], [], contact="Ana", times=Times.for_zone("UTC", NOW))
    return next(one.quote.text for one in found if isinstance(one, Bubble) and one.quote)


def answered(text: str) -> str:
    return str(answer(Parameter(name="p", kind=ParameterKind.TEXT), text, today=TODAY, locale="en"))


CUTS: dict[str, Callable[[str], str]] = {
    "timeline title": timeline_title,
    "quote": quoted,
    "value on the timeline": timeline._written,
    "access log": lambda text: access_log._text("body", text, Times.for_zone("UTC", NOW)),
    "skill's fault": call_errors.shown,
    "definition": lambda text: definitions.shown(text).strip("'"),
    "canned value": canned_reply.plain_value,
    "file name": lambda text: media_types.safe_filename(text, otherwise="file"),
    "answer": answered,
    "last words": lambda text: session_after(Text(text)).last_user_message,
}


@pytest.mark.parametrize("cutting", CUTS.values(), ids=CUTS.keys())
def test_27_whatever_is_cut_is_cut_between_characters(cutting: Callable[[str], str]) -> None:
    for before in ("", "x"):
        shown = cutting(before + FLAG * 2000)
        assert shown != before + FLAG * 2000
        flags = shown.removesuffix("…").removeprefix(before)
        assert flags
        assert flags == FLAG * (len(flags) // 2)
