"""The handoff settings' forms: durations and hours as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.dispatch.texts import LANGUAGES
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.policies import (
    DAYS,
    LONGEST_WAIT_SECONDS,
    HandoffRules,
    Holiday,
    Routing,
    part_from_json,
    routing_from_json,
)
from dragoman.store.handoff.agents import AgentProfile
from dragoman.translations import written_in
from dragoman.web.console import handoff_form as forms

seconds = st.integers(0, LONGEST_WAIT_SECONDS)


def test_every_unit_has_a_name() -> None:
    assert list(forms.UNIT_WORDS) == list(forms.UNITS)


def test_days_are_named_as_the_reader_names_them() -> None:
    assert list(forms.day_names()) == list(DAYS)
    assert forms.day_names()["monday"] == "Monday"
    with written_in("de"):
        assert forms.day_names()["sunday"] == "Sonntag"
    with written_in("pt"):
        assert forms.day_names()["monday"] == "Segunda-feira"


@pytest.mark.parametrize(
    ("given_seconds", "written"),
    [
        (0, ("0", "minutes")),
        (90, ("90", "seconds")),
        (300, ("5", "minutes")),
        (5400, ("90", "minutes")),
        (86400, ("24", "hours")),
        (172800, ("2", "days")),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(given_seconds: int, written: tuple[str, str]) -> None:
    assert forms.written_duration(given_seconds) == written


@given(seconds, seconds, seconds, seconds, st.booleans(), st.integers(1, 1000))
def test_a_form_that_nobody_changed_changes_nothing(
    target: int, unattended: int, idle: int, absent: int, automatic: bool, cap: int
) -> None:
    rules = HandoffRules(
        target_seconds=target, unattended_seconds=unattended, idle_seconds=idle, absent_seconds=absent,
        automatic=automatic, cap=cap,
    )  # fmt: skip
    assert part_from_json(HandoffRules, forms.read_times(forms.written_times(rules))) == rules


@pytest.mark.parametrize(
    "wrong", [{"target": "x"}, {"target": "-1"}, {"target": "٣"}, {"idle_unit": "weeks"}, {"cap": ""}]
)
def test_a_time_that_cannot_be_read_is_named(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="“"):
        forms.read_times({**forms.written_times(HandoffRules()), **wrong})


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("8-12", ["08:00-12:00"]),
        ("08:00 – 12:00,13.30—17.45 ;", ["08:00-12:00", "13:30-17:45"]),
        ("9 to 17:30", ["09:00-17:30"]),
        ("0-24", ["00:00-24:00"]),
        ("", []),
    ],
)
def test_hours_may_be_written_as_people_do(text: str, spans: list[str]) -> None:
    assert forms.split_spans(text) == spans
    found = forms.read_hours(dict.fromkeys(DAYS, "") | {"friday": text})
    assert found.get("friday", []) == spans
    written = forms.written_hours(routing_from_json({"hours": {"weekly": found}}))
    assert forms.read_hours(written) == found


@pytest.mark.parametrize("text", ["closed", "12-8", "8-25", "8:60-9", "8-12-14", "8-12, then 13-14"])
def test_hours_that_cannot_be_used_name_the_day(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Tuesday"):
        forms.read_hours(dict.fromkeys(DAYS, "") | {"tuesday": text})


def test_a_holiday_of_every_year_has_no_year() -> None:
    given_fields = {"date": "2026-12-25", "name": "Christmas Day", "yearly": ""}
    assert forms.read_holiday(given_fields) == Holiday(year=2026, month=12, day=25, name="Christmas Day")
    assert forms.read_holiday({**given_fields, "yearly": "yes"}) == Holiday(month=12, day=25, name="Christmas Day")
    for wrong in ("", "25.12.2026", "2026-02-30"):
        with pytest.raises(ConfigurationError):
            forms.read_holiday({"date": wrong, "name": "", "yearly": "yes"})


def test_languages_with_words_of_their_own_are_offered_too() -> None:
    languages = forms.languages_of(Routing(closed_text={"pt-BR": "Fechado.", "de": "Zu."}))
    assert list(languages) == [*LANGUAGES, "pt-BR"]
    assert forms.read_closed_text({"de": "Zu.", "en": ""}) == {"de": "Zu."}


def test_a_profile_that_nobody_changed_stays() -> None:
    profile = AgentProfile(languages=("de", "tr"), topics=("a.b",), cap=0)
    fields = forms.written_profile(profile)
    assert fields == {"others": "tr", "cap": "0"}
    assert forms.read_profile(fields, ["de"], ["a.b", "a.b"]) == profile
    assert forms.read_profile({"others": "", "cap": ""}, [], []) == AgentProfile()


def test_a_time_zone_can_be_chosen_by_the_place() -> None:
    assert {"UTC", "Europe/Vienna", "America/Sao_Paulo", "Asia/Kolkata"} <= {*forms.time_zones()}
