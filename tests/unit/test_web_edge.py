"""What of the web's edge can be told without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dragoman.domain.text_values import moment
from dragoman.services.access.passwords import problem
from dragoman.store import phone_numbers
from dragoman.store.accounts.login_failures import subjects
from dragoman.web.api.filters import ConversationQuery
from dragoman.web.auth import same
from dragoman.web.login.login import HOME, safe_next

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 1), (6, 2), (9, 16), (15, 900), (1_000_000, 900)]
)
def test_the_wait_doubles_up_to_a_quarter_of_an_hour(failures: int, seconds: int) -> None:
    pair, _, _ = subjects("ada@house.example", "10.0.0.1")
    assert pair.wait(failures, NOW, NOW).total_seconds() == seconds
    assert pair.wait(failures, NOW, NOW + timedelta(seconds=900)).total_seconds() == 0


def test_a_stranger_makes_nobody_wait_for_long() -> None:
    _, _, email = subjects("ada@house.example", "10.0.0.1")
    assert email.wait(10**9, NOW, NOW) == timedelta(seconds=30)


def test_what_is_counted_differs_by_address_and_by_client() -> None:
    digests = {
        subject.digest
        for email in ("ada@house.example", "", "ada@house.exampl")
        for client in ("10.0.0.1", "")
        for subject in subjects(email, client)
    }
    assert len(digests) == 6 + 2 + 3


def test_a_network_of_ipv6_is_one_client() -> None:
    def client(address: str) -> bytes:
        return subjects("ada@house.example", address)[1].digest

    assert client("2001:db8:1:2::1") == client("2001:db8:1:2:ffff::9") != client("2001:db8:1:3::1")
    assert client("10.0.0.1") != client("10.0.0.2")
    assert client("") != client("testclient")


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("short-one-7", "at least 12"),
        ("x" * 1025, "at most 1024"),
        ("correct horse\nbattery staple", "can be seen"),
        ("aaaaaaaaaaaaaaaaaaaa", "easily guessed"),
        ("qwertyuiopasdfgh", "easily guessed"),
        ("Passwort1234!", "easily guessed"),
        ("ada.lovelace1815", "tried first"),
        ("Dragoman-Lovelace", "tried first"),
        ("correct horse battery staple", ""),
        ("kupfer lampe tisch wolke", ""),
        ("密码本来就应该很长很长的啊", ""),
    ],
)
def test_which_passwords_are_good_enough(password: str, said: str) -> None:
    found = problem(password, email="ada@lovelace.example", name="Ada Lovelace")
    assert found == "" if not said else said in found


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
