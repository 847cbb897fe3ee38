"""Masking: a number is gone in every form in which it may stand, and what is no number stays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.services import masking
from dragoman.services.masking import Mask
from dragoman.services.visibility import Visibility


@pytest.mark.parametrize(
    "form",
    [
        "+436601234567", "436601234567", "00436601234567", "06601234567", "+43 660 123 45 67", "0660/1234567",
        "0660-123-4567", "+43 (0)660 1234567", "(0660) 1234 567", "660.123.4567", "+43 660 1234567",
    ],
)  # fmt: skip
def test_a_number_is_found_in_every_form(form: str) -> None:
    shown = Mask(["+436601234567"]).text(f"call {form}, please")
    assert shown.startswith("call ")
    assert shown.endswith("67, please")
    assert re.sub(r"[^0-9]", "", shown) in {"4367", "67"}


def test_other_digits_stay() -> None:
    text = "Order VF-98321 of 2026-11-25 costs 9.214,50; the shop is at +43 1 555 0100"
    assert Mask(["+436601234567"]).text(text) == text


@given(st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True), st.sampled_from(["", " ", "-", ".", "/", " - "]))
def test_no_grouping_hides_a_number_from_the_mask(number: str, between: str) -> None:
    shown = Mask([number]).text(f"x {between.join(number[1:])} y")
    assert len(re.sub(r"[^0-9]", "", shown)) <= 5
    assert Mask([number]).text(shown) == shown


def test_values_are_masked_throughout_and_ids_stay_apart() -> None:
    wamid = "wamid.HBgMNDM2NjAxMjM0NTY3FQIAERgS"
    shown = Mask(["+436601234567"]).value({
        "channel_message_id": wamid,
        "deep": [{"said": f"06601234567 answered {wamid}", "n": 436601234567, "ok": True, "none": None, "f": 1.5}],
        "phones": ["+49 170 0000000"],
        "wa_id": "436601234567",
    })  # fmt: skip
    assert "1234567" not in str(shown)
    assert "170" not in str(shown["phones"])
    assert wamid not in str(shown)
    assert shown["channel_message_id"] in shown["deep"][0]["said"]
    assert (shown["deep"][0]["ok"], shown["deep"][0]["none"], shown["deep"][0]["f"]) == (True, None, 1.5)
    assert masking.channel_id(wamid) != masking.channel_id(wamid + "=")


def test_what_is_shown_tells_the_country_and_two_digits() -> None:
    assert masking.phone("+436601234567") == "+43••••••67"
    assert masking.phone("+12025550123") == "+1••••••23"
    assert "555" not in masking.phone("555123")


@given(
    st.lists(st.from_regex(r"\+[1-9][0-9]{7,14}", fullmatch=True), min_size=1, max_size=3),
    st.data(),
    st.sampled_from(["", " ", "-", ".", "/", ") (", " - ", "\u00a0", "\u202f"]),
)
def test_no_part_of_five_digits_of_any_number_is_left(numbers: list[str], data: st.DataObject, between: str) -> None:
    number = data.draw(st.sampled_from(numbers))[1:]
    first = data.draw(st.integers(0, len(number) - 5))
    last = data.draw(st.integers(first + 5, len(number)))
    shown = Mask(numbers).text(f"x {between.join(number[first:last])} y")
    runs = re.findall(r"[0-9]{5,}", re.sub(r"(?<=[0-9])[\s\-./()]+(?=[0-9])", "", shown))
    assert not [run for run in runs for at in range(len(run) - 4) if any(run[at : at + 5] in n for n in numbers)]


def test_only_the_part_is_hidden_and_digits_of_any_script_are_known() -> None:
    mask = Mask(["+436601234567"])
    assert mask.text("2026: ends in 34567, room 12") == "2026: ends in ••••••, room 12"
    assert mask.text("٩١٢٣٤٥ and 4-5-6-7") == "٩•••••• and 4-5-6-7"


def test_what_is_typed_is_masked_by_its_form_alone() -> None:
    assert masking.typed("ask 0660/98 76, room 12, or x 1 2 3 4 5") == "ask ••••••, room 12, or x ••••••"
    assert masking.typed("room 12 of 2026") == "room 12 of 2026"


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        ("2026-11-25T10:00:00+00:00", "2026-11-25T10:00:00+00:00"), ("6609-87-65", masking.HIDDEN),
        ("01a229b3-1560-703b-98e0-2c528ead8f14", "01a229b3-1560-703b-98e0-2c528ead8f14"),
        (["call 0660 98765", 7], ["call ••••••", 7]),
        ({"phone": "6", "deep": "12345"}, {"phone": "••••••", "deep": "••••••"}),
    ],
)  # fmt: skip
def test_m2_what_is_on_record_is_masked_by_its_form_but_for_ids_and_times(held: object, shown: object) -> None:
    assert Visibility(unmasked=False).record({"tag": held}) == {"tag": shown}
    assert Visibility(unmasked=True).record({"tag": held}) == {"tag": held}
