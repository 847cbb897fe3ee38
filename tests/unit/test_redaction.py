"""What is taken out of texts, and what stays: rules that look at shape and check digits."""

from __future__ import annotations

import json
import random
import string
import sys
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.channels.email.channel import Email
from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.domain.redaction import _CARDS, _IBAN_SIZE, READY, RedactionRule, clean, clean_json
from dragoman.services.inbound.redaction import compiled, fault

RULES = tuple(READY.values())
CARD, IBAN = "[card number redacted]", "[bank account redacted]"


def luhn(digits: str) -> str:
    """With the digit that makes the sum right."""
    return next(digits + d for d in "0123456789" if _sum(digits + d) % 10 == 0)


def _sum(digits: str) -> int:
    return sum(sum(map(int, str(int(d) * (1 + place % 2)))) for place, d in enumerate(reversed(digits)))


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefixes, _, sizes = draw(st.sampled_from(_CARDS))
    size = draw(st.sampled_from(sizes))
    rest = draw(st.text(string.digits, min_size=size, max_size=size))
    return luhn((str(draw(st.sampled_from(prefixes))) + rest)[: size - 1])


@st.composite
def ibans(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(sorted(_IBAN_SIZE)))
    size = _IBAN_SIZE[country] - 4
    body = "".join(
        draw(st.lists(st.sampled_from(string.digits + string.ascii_uppercase), min_size=size, max_size=size))
    )
    number = "".join(str(int(c, 36)) for c in f"{body}{country}00")
    return f"{country}{98 - int(number) % 97:02}{body}"


@given(card_numbers(), st.sampled_from(["", " ", "-", ".", "\u00a0", "\u202f", " - "[:2]]), st.integers(1, 8))
def test_every_card_number_goes_however_it_is_grouped(number: str, between: str, size: int) -> None:
    groups = between.join(number[n : n + size] for n in range(0, len(number), size))
    text, found = clean(f"my card: {groups}, thanks", RULES)
    assert (text, found) == (f"my card: {CARD}, thanks", {"card": 1})


@given(ibans(), st.sampled_from(["", " ", "-", "\u00a0"]), st.integers(2, 8), st.booleans())
def test_every_account_number_goes_however_it_is_grouped(number: str, between: str, size: int, small: bool) -> None:
    groups = number[:4] + "".join(between + number[n : n + size] for n in range(4, len(number), size))
    text, found = clean(f"pay to {groups.lower() if small else groups} please", [READY["iban"]])
    assert (text, found) == (f"pay to {IBAN} please", {"iban": 1})


@pytest.mark.parametrize(
    "text",
    [
        "where is order 4711?",
        "order 4111111111111112",  # the check digit is wrong
        "+4366412345678 and +1 (415) 555-2671 and +55 11 98765-4321",
        "+4111111111111111",  # a phone number, however odd
        "parcel 00340434161094042557 and JJD0123456789012345678 and 1Z999AA10123456784",
        "94001118992231974282341111111111111111",  # a part of a longer number is none
        "2026-11-27 10:11:12.123456",
        "0000 0000 0000 0000",
        "1234567890123452",  # right by Luhn, and nobody issues it
        "AT61 1904 3002 3457 3202",
        "XX61 1904 3002 3457 3201",
        "xAT611904300234573201",
        "AT6119043002345732012",
        "sk-short",
        "a bearer of bad news, which is a longer one",
        "eyJ no token",
    ],
)
def test_what_contacts_write_all_day_stays(text: str) -> None:
    assert clean(text, RULES) == (text, {})


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0abc.c2lnbmF0dXJlLW9mLWl0",
        "sk-proj-" + "a1B2" * 8,
        "sk_live_" + "a1B2" * 8,
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2_" * 12,
        "AKIA" + "ABCD1234" * 2,
        "AIza" + "a1B2-_x" * 5,
        "EAA" + "a1B2" * 20,
        "dgm_" + "a" * 43,
        "xoxb-1234567890-abcdef",
        "-----BEGIN RSA {0}-----\nMIIE+/=\n-----END RSA {0}-----".format("PRIVATE" + " KEY"),
    ],
)
def test_tokens_go(token: str) -> None:
    assert clean(f"it is {token} .", RULES) == ("it is [access token redacted] .", {"token": 1})


def test_what_a_bearer_header_carries_goes() -> None:
    assert clean("Authorization: Bearer abc.DEF-123_456~789+0/x==", RULES)[0] == (
        "Authorization: Bearer [access token redacted]"
    )


def test_several_in_one_text_and_digits_of_other_scripts() -> None:
    text, found = clean("4111 1111 1111 1111 5500 0000 0000 0004 \u0664" + "\u0661" * 15, RULES)
    assert (text, found) == (f"{CARD} {CARD} {CARD}", {"card": 3})


@given(st.text(max_size=200))
def test_done_twice_nothing_more_goes(text: str) -> None:
    once, _ = clean(text, RULES)
    assert clean(once, RULES) == (once, {})


@pytest.mark.parametrize("text", ["4 " * 200, "4" * 400, "AT61 " * 80, "eyJ" * 130, "sk-" * 130, "4-" * 200])
def test_hostile_text_takes_no_longer_the_longer_it_is(text: str) -> None:
    """Work grows with the text and no faster: counted, since a clock would tell of the machine."""
    calls = {1: 0, 4: 0}
    for times in calls:
        calls[times] = _steps(text * times)
    assert calls[4] <= 4.5 * calls[1]


def _steps(text: str) -> int:
    count = 0

    def tick(*_: object) -> object:
        nonlocal count
        count += 1
        return tick

    sys.settrace(tick)  # type: ignore[arg-type]
    try:
        clean(text, RULES)
    finally:
        sys.settrace(None)
    return max(count, 100)


def test_json_keeps_what_is_the_channels_own() -> None:
    value = {"id": "4111111111111111", "body": ["4111111111111111", 4111111111111111, 42, True, None, 1.5]}
    assert clean_json(value, RULES, keep=lambda name: name == "id") == (
        {"id": "4111111111111111", "body": [CARD, CARD, 42, True, None, 1.5]},
        {"card": 2},
    )


def body(text: str, **more: object) -> bytes:
    message = {
        "from": "436601112233",
        "id": "wamid.1",
        "timestamp": "1",
        "type": "text",
        "text": {"body": text},
        **more,
    }
    value = {
        "metadata": {"phone_number_id": "4111111111111111", "display_phone_number": "4111111111111111"},
        "contacts": [{"wa_id": "436601112233", "profile": {"name": "Ana"}}],
        "messages": [{**message, "text": {"body": "hello"}, "id": "wamid.0"}, message],
    }
    return json.dumps({"object": "whatsapp_business_account", "entry": [
        {"id": "4111111111111111", "changes": [{"field": "messages", "value": value}]}]}).encode()  # fmt: skip


@pytest.mark.parametrize(
    "text", ["4111 1111 1111 1111", "4111\u00a01111\u00a01111\u00a01111", "\u0664" + "\u0661" * 15]
)
def test_a_delivery_loses_what_people_wrote_and_no_id(text: str) -> None:
    left, found = WhatsApp().redact(body(text), RULES)
    assert found == {1: {"card": 1}}
    assert left == body(CARD)
    assert len(WhatsApp().parse(left)) == 2


def test_the_fingerprint_of_a_message_is_that_of_what_is_left() -> None:
    left, _ = WhatsApp().redact(body("4111 1111 1111 1111"), RULES)
    other, _ = WhatsApp().redact(body("5500 0000 0000 0004"), RULES)
    assert WhatsApp().parse(left) == WhatsApp().parse(other)


@pytest.mark.parametrize("around", ["[" * 50_000, "{", '{"a": ' * 900 + '"4111111111111111"' + "}" * 900, ""])
def test_what_is_no_json_that_can_be_read_is_cleaned_as_text(around: str) -> None:
    left, found = WhatsApp().redact(f"{around} my card is 4111 1111 1111 1111".encode(), RULES)
    assert (b"4111" in left, b"[card number redacted]" in left, found) == (False, True, {})
    assert WhatsApp().redact(around.encode(), RULES)[0] == around.encode() or "4111" in around


def test_a_clean_delivery_stays_the_bytes_that_it_was() -> None:
    for text in ("where is my order?", "Gr\u00fc\u00dfe \U0001f600"):
        clean_one = body(text)
        assert WhatsApp().redact(clean_one, RULES) == (clean_one, {})
        assert WhatsApp().redact(clean_one, RULES)[0] is clean_one


@pytest.mark.parametrize("encoding", ["7bit", "quoted-printable", "base64"])
def test_a_mail_loses_it_in_subject_and_parts(encoding: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Message-ID"] = "a@example.org", "b@example.org", "<1@example.org>"
    mail["Subject"] = "card 4111 1111 1111 1111"
    mail.set_content("mine is 4111 1111 1111 1111\n", cte=encoding)
    mail.add_alternative("<p>mine is <b>4111 1111 1111 1111</b></p>", subtype="html", cte=encoding)
    mail.add_attachment(b"%PDF 4111111111111111", maintype="application", subtype="pdf", filename="a.pdf")
    left, found = Email("b@example.org").redact(mail.as_bytes(), RULES)
    assert found == {0: {"card": 3}}
    (item,) = Email("b@example.org").parse(left)
    assert "mine is [card number redacted]" in str(item)
    assert "a.pdf" in str(item)
    plain = EmailMessage()
    plain["From"] = "a@example.org"
    plain.set_content("nothing")
    assert Email("b").redact(plain.as_bytes(), RULES) == (plain.as_bytes(), {})


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/html; charset=utf-8", "<p>mine is 4111 <b>1111</b> 1111<span> 1111</span></p>"),
        ("text/plain; charset=no-such-set", "mine is 4111 1111 1111 1111"),
    ],
)
def test_a_mail_loses_what_only_a_reader_sees_whole(kind: str, text: str) -> None:
    mail = f"From: a@example.org\r\nMessage-ID: <1@example.org>\r\nContent-Type: {kind}\r\n\r\n{text}\r\n".encode()
    left, found = Email("b").redact(mail, RULES)
    (item,) = Email("b").parse(left)
    assert ("mine is [card number redacted]" in str(item), b"4111" in left, found) == (True, False, {0: {"card": 1}})


@pytest.mark.parametrize(
    ("name", "pattern", "wrong"),
    [
        ("member number", r"\bM-\d{8}\b", None),
        ("card", "x+y", "none of a ready-made"),
        ("X", "x+y", "2 to 40"),
        ("two", "", "one line"),
        ("two", "a" * 501, "one line"),
        ("two", "a\nb", "one line"),
        ("two", "(", "cannot be read"),
        ("two", r"(a)\1", "cannot be read"),
        ("two", ".*", "too broad"),
        ("two", r"\d+", "too broad"),
        ("two", r"\w+", "too broad"),
    ],
)
def test_patterns_are_looked_at(name: str, pattern: str, wrong: str | None) -> None:
    said = fault(name, pattern)
    assert (said is None) if wrong is None else (said is not None and wrong in said)


def test_a_tenants_own_patterns_and_what_is_off() -> None:
    rules = compiled({"off": ["card"], "patterns": {"member number": r"^M-\d{8}$", "lost": "("}})
    assert [rule.name for rule in rules] == ["iban", "token", "member number"]
    assert clean("M-12345678", rules) == ("[member number redacted]", {"member number": 1})
    # Where a text begins is asked of the text, not of the delivery around it.
    left, found = WhatsApp().redact(body("M-12345678"), rules)
    assert (left, found) == (body("[member number redacted]"), {1: {"member number": 1}})


def test_rules_do_not_find_what_they_overlap_twice() -> None:
    twice = RedactionRule("two", "two", lambda _: iter([(0, 4), (2, 6)]))
    assert clean("abcdefgh", [twice]) == ("[two redacted]efgh", {"two": 1})


def test_random_numbers_are_seldom_taken_for_cards() -> None:
    """One in ten of those that an issuer could have given has a right check digit, by chance; of others none."""
    chance = random.Random(7)
    numbers = [str(chance.randrange(10**15, 10**16)) for _ in range(2000)]
    wrong = sum(bool(clean(number, RULES)[1]) for number in numbers)
    assert wrong < 2000 * 0.05
