"""Times, durations and numbers as the pages write them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.web.console.formatting import (
    Times,
    duration,
    elapsed_s,
    milliseconds,
    money,
    percent,
    phone,
    playtime,
    since_start,
    size,
    strip_bidi_controls,
)

NOW = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+436601234567", ["+43", "660", "1234567"]),
        ("+14155550132", ["+1", "415", "555", "0132"]),
        ("+5511987652485", ["+55", "11", "98765", "2485"]),
        ("+2348031234452", ["+234", "803", "123", "4452"]),
        ("+359881238986", ["+359", "88", "123", "8986"]),
    ],
)
def test_a_phone_number_is_spaced_for_the_eye_only(number: str, shown: list[str]) -> None:
    html = str(phone(number))
    assert re.sub(r"<[^>]*>", "", html) == number
    assert re.findall(r">([^<]+)<", html) == shown


def test_what_is_no_phone_number_is_shown_as_it_is() -> None:
    assert "&lt;b&gt;" in str(phone("<b>"))


@given(st.from_regex(r"\+[0-9]{6,15}", fullmatch=True))
def test_no_digit_is_lost(number: str) -> None:
    assert re.sub(r"<[^>]*>", "", str(phone(number))) == number


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (0.25, "250 ms"),
        (1.24, "1.24 s"),
        (59.999, "59.99 s"),
        (61, "1 min 1 s"),
        (373, "6 min 13 s"),
        (1800, "30 min"),
        (1805, "30 min 5 s"),
        (3661, "1 h 1 min"),
        (407_000, "4 d 17 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_small_numbers() -> None:
    assert [milliseconds(v) for v in (0.54, 42.2, 3020, None, True)] == ["0.5 ms", "42 ms", "3.02 s", "–", "–"]
    assert [percent(v) for v in (0.018, 0.5, 0.9999, None, "x")] == ["1.8 %", "50 %", "100.0 %", "–", "–"]
    amounts = [money(v, "EUR") for v in (0, 305, 400, 1_250_000, -20_000)]
    assert amounts == ["0.00 EUR", "0.000305 EUR", "0.0004 EUR", "1.25 EUR", "-0.02 EUR"]


def test_times_are_in_the_readers_zone() -> None:
    times = Times.for_zone("Europe/Vienna", NOW)
    assert times.clock(NOW) == "23:30"
    assert times.day(NOW) == "Today, 23 November 2026"
    # 23:30 UTC of the day before is today in Vienna.
    assert times.day(NOW - timedelta(hours=23)) == "Today, 23 November 2026"
    assert times.day(NOW - timedelta(hours=24)) == "Yesterday, 22 November 2026"
    assert times.day(NOW - timedelta(days=400)) == "20 October 2025"
    assert times.moment(NOW) == "23 Nov 2026, 23:30:00"
    assert times.minute(NOW) == "Mon 23 Nov 23:30"
    assert times.milliseconds(NOW + timedelta(microseconds=4_999)) == "23:30:00.004"
    assert times.ago(NOW - timedelta(seconds=3)) == "now"
    assert times.ago(NOW - timedelta(minutes=3, seconds=5)) == "3 min ago"
    assert times.ago(NOW - timedelta(days=2)) == "21 Nov, 23:30"


def test_milliseconds_on_paper_have_year_and_zone() -> None:
    paper = replace(Times.for_zone("Europe/Vienna", NOW), on_paper=True)
    assert paper.milliseconds(NOW) == "23 Nov 2026, 23:30:00.000 Europe/Vienna"
    assert paper.minute(NOW) == "23 Nov 2026, 23:30:00 Europe/Vienna"


def test_what_goes_on_has_lasted_up_to_now() -> None:
    began = NOW - timedelta(days=5)
    assert elapsed_s(began, None, NOW) == 5 * 86400
    assert elapsed_s(began, began + timedelta(minutes=2), NOW) == 120
    assert since_start(1.24) == "+1.240 s"
    assert since_start(95) == "+1 min 35 s"


@pytest.mark.parametrize("name", ["Nowhere/At_All", "../../etc/passwd", "", "\0", "Europe", "x" * 5000])
def test_an_unknown_zone_is_utc(name: str) -> None:
    assert Times.for_zone(name, NOW).zone_name == "UTC"


def test_files_are_measured() -> None:
    assert [size(n) for n in (0, 999, 12_345, 99_900_000)] == ["0 B", "999 B", "12 kB", "99.9 MB"]
    assert [playtime(n) for n in (0.2, 7.4, 61, 3601)] == ["0:01", "0:07", "1:01", "60:01"]


def test_a_name_cannot_turn_itself_around() -> None:
    assert strip_bidi_controls("photo\u202egpj.exe") == "photo\N{REPLACEMENT CHARACTER}gpj.exe"
    assert strip_bidi_controls("صورة.jpg") == "صورة.jpg"
