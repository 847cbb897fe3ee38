"""What the numbering plans say of phone numbers."""

from __future__ import annotations

import pytest

from dragoman.numbering import country_code, digits_of, parts


@pytest.mark.parametrize(
    ("number", "grouped"),
    [
        ("+436601234567", "43 660 1234567"),
        ("+442055501234", "44 20 5550 1234"),
        ("+390612345678", "39 06 1234 5678"),
        ("+5491123456789", "54 9 11 2345 6789"),
        # WhatsApp's ids in Mexico still have the 1 that the plan gave up.
        ("+5215512345678", "52 15512345678"),
        # The library takes the national prefix away.
        ("+4306601234567", "43 06601234567"),
        ("+999123456789", "999 123456789"),
        ("+123456", "1 23456"),
    ],
)
def test_a_number_falls_into_its_countrys_groups_and_keeps_each_digit(number: str, grouped: str) -> None:
    assert " ".join(parts(number)) == grouped


@pytest.mark.parametrize(
    ("digits", "code"),
    [("43660", "43"), ("12025550123", "1"), ("79121234567", "7"), ("35988", "359"), ("999123", "999"), ("0123", "012")],
)
def test_country_codes(digits: str, code: str) -> None:
    assert country_code(digits) == code


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("+43 (0)660/12-34", "436601234"),
        ("+٤٣ (٠)٦٦٠", "43660"),
        ("＋４３（０）６６０", "43660"),
        ("(0)660", "0660"),
        ("%_\\", ""),
    ],
)
def test_digits_of_any_script_and_formatting(typed: str, digits: str) -> None:
    assert digits_of(typed) == digits
