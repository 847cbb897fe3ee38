"""What of the web's edge can be told without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dragoman.store import phone_numbers
from dragoman.web.auth import same
from dragoman.web.filters import ConversationQuery
from dragoman.web.login import HOME, Throttle, safe_next
from dragoman.web.reading import moment

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = ("ada@house.example", "10.0.0.1")


def test_the_throttle_forgets_the_oldest_when_it_is_full() -> None:
    throttle = Throttle(allowed=1, capacity=3)
    for number in range(4):
        throttle.failed((str(number), ""), NOW)
    assert [throttle.closed((str(number), ""), NOW) for number in range(4)] == [False, True, True, True]


def test_the_throttles_window_begins_with_the_first_failure() -> None:
    throttle = Throttle(allowed=2, window=timedelta(minutes=15))
    throttle.failed(KEY, NOW)
    assert not throttle.closed(KEY, NOW)
    throttle.failed(KEY, NOW + timedelta(minutes=14))
    assert throttle.closed(KEY, NOW + timedelta(minutes=14))
    assert not throttle.closed(KEY, NOW + timedelta(minutes=15))
    throttle.failed(KEY, NOW + timedelta(minutes=15))
    assert not throttle.closed(KEY, NOW + timedelta(minutes=15))


def test_a_login_that_was_right_clears_the_throttle() -> None:
    throttle = Throttle(allowed=1)
    throttle.failed(KEY, NOW)
    throttle.succeeded(KEY)
    assert not throttle.closed(KEY, NOW)


@pytest.mark.parametrize("wanted", ["/", "/a", "/a/b?c=d&e=%2F#f", "/a//b", "/communications/automation/logs?q=%20"])
def test_paths_on_this_site_are_kept(wanted: str) -> None:
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize("wanted", ["a", "//a", "/\\a", "/a\\b", "/ a", "/a\n", "/\u2028", "http:/a", "/ä", "/login"])
def test_other_places_are_not(wanted: str) -> None:
    assert safe_next(wanted) == HOME


def test_an_empty_secret_is_never_right() -> None:
    assert same("a", "a")
    assert not same("", "")
    assert not same("a", "")
    assert not same("\udcff", "a")


@pytest.mark.parametrize(
    ("phone", "patterns"),
    [
        ("+43 (0)660 12", ["%4366012%"]),
        ("0043 660", ["%0043660%", "+43660%"]),
        ("0660/12", ["%066012%", "+_66012%", "+__66012%", "+___66012%"]),
        ("00", ["%00%"]),
        ("12", ["%12%"]),
        ("%_\\", []),
        ("", []),
    ],
)
def test_the_patterns_that_find_a_phone_number(phone: str, patterns: list[str]) -> None:
    assert phone_numbers.patterns(phone) == patterns


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-11-23T12:00:00Z", 12),
        ("2026-11-23t12:00:00.000001z", 12),
        ("2026-11-23T12:00:00+02:00", 10),
        ("2026-11-23T12:00:00 02:00", 10),
        ("2026-11-23 12:00:00-01:30", 13),
    ],
)
def test_times_are_read_as_rfc_3339_has_them(text: str, hour: int) -> None:
    found = moment(text)
    assert found.tzinfo is UTC
    assert found.hour == hour


def test_a_day_reaches_to_its_end() -> None:
    query = ConversationQuery.model_validate({"from": "2026-11-23", "to": "2026-11-23"})
    filters = query.filters()
    assert filters.since == datetime(2026, 11, 23, tzinfo=UTC)
    assert filters.until == datetime(2026, 11, 24, tzinfo=UTC)
