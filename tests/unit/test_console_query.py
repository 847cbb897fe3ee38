"""The address of the Conversation Logs: read, checked, written back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.web.console import columns
from dragoman.web.console.formatting import Times
from dragoman.web.console.query import ADDRESS, ListQuery

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SESSION = UUID("0190f2c4-0000-7000-8000-000000000001")


def read(text: str, **cookies: str) -> ListQuery:
    return ListQuery.read(QueryParams(text), cookies, Times(UTC, "UTC", NOW))


def test_the_bare_list_has_a_bare_address() -> None:
    assert read("").address() == ADDRESS
    assert not read("").narrowed
    assert read("phone=&state=").string == ""


def test_filters_reach_the_store() -> None:
    query = read("phone=%2B43+660&skill_intent=orders.status&state=EXPIRED&outcome=NONE")
    assert query.filter_errors() == []
    filters = query.filters()
    assert filters.phone == "+43 660"
    assert filters.skill_or_intent == ("orders.status",)
    assert filters.state == (State.EXPIRED,)
    assert filters.outcome == (Outcome.NONE,)


def test_an_address_keeps_the_filters_and_a_change_starts_at_the_newest() -> None:
    query = read("phone=660&cursor=abc")
    assert query.address(SESSION) == f"{ADDRESS}/{SESSION}?phone=660&cursor=abc"
    assert query.address(state="OPEN") == f"{ADDRESS}?phone=660&state=OPEN"
    assert query.address(cursor="def") == f"{ADDRESS}?phone=660&cursor=def"


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("state=open", "state"),
        ("outcome=SUCCESSFUL", "outcome"),
        ("phone=%00", "phone"),
        ("skill_intent=a%0Ab", "skill_intent"),
        (f"cursor={'x' * 201}", "cursor"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, parameter: str) -> None:
    assert [mistake.parameter for mistake in read(text).filter_errors()] == [parameter]


def test_columns_of_the_address_win_over_the_remembered_ones() -> None:
    assert read("").columns == columns.DEFAULT
    assert read("", columns="contact%2Ccost").columns == ("contact", "cost")
    assert read("cols=contact,agent", columns="contact%2Ccost").columns == ("contact", "agent")
    assert read("col=contact&col=state", columns="contact%2Ccost").columns == ("contact", "state")


def test_unknown_columns_are_left_out_and_the_link_stays() -> None:
    assert read("cols=nope,cost,cost").columns == ("contact", "cost")
    assert read("cols=nope").columns == columns.DEFAULT
    assert read("cols=cost,contact").columns == ("cost", "contact")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "phone": st.text(max_size=30),
            "skill_intent": st.text(max_size=30),
            "state": st.sampled_from([*State, "x"]),
            "outcome": st.sampled_from([*Outcome, "x"]),
            "cols": st.lists(st.sampled_from(list(columns.COLUMNS))).map(",".join),
        },
    )
)
def test_an_address_reads_back_as_itself(given: dict[str, str]) -> None:
    query = ListQuery.read(QueryParams(given), {}, Times(UTC, "UTC", NOW))
    again = ListQuery.read(QueryParams(query.string.removeprefix("?")), {}, Times(UTC, "UTC", NOW))
    assert again == query


def test_a_filter_takes_several_values_and_leaves_out_several() -> None:
    query = read("outcome=SUCCESS&outcome=HANDOFF&outcome=SUCCESS&state=!OPEN&state=!ACTIVE")
    filters = query.filters()
    assert filters.outcome == (Outcome.SUCCESS, Outcome.HANDOFF)
    assert filters.not_state == (State.OPEN, State.ACTIVE)
    assert query.string == "?state=!OPEN&state=!ACTIVE&outcome=SUCCESS&outcome=HANDOFF"
    assert query.without("outcome", "SUCCESS") == f"{ADDRESS}?state=!OPEN&state=!ACTIVE&outcome=HANDOFF"
    assert query.address(outcome="NONE") == f"{ADDRESS}?state=!OPEN&state=!ACTIVE&outcome=NONE"
    assert query.cleared() == ADDRESS
    assert [error.parameter for error in read("&".join(["tag=a"] * 60)).filter_errors()] == []
    assert [error.parameter for error in read("&".join(f"tag={n}" for n in range(60))).filter_errors()] == ["tag"]


def test_a_form_says_at_once_that_what_is_ticked_is_left_out() -> None:
    assert read("outcome=SUCCESS&outcome=NONE&outcome_is=not").filters().not_outcome == (Outcome.SUCCESS, Outcome.NONE)
    assert read("outcome=!SUCCESS&outcome_is=not").string == "?outcome=!SUCCESS"
    assert read("outcome=SUCCESS&outcome_is=").filters().outcome == (Outcome.SUCCESS,)


def test_a_time_up_to_now_follows_the_clock_and_gives_way_to_an_exact_one() -> None:
    query = read("last=24h&outcome=NONE")
    assert query.filters().since == NOW - timedelta(hours=24)
    assert query.string == "?outcome=NONE&last=24h"
    assert query.set_values == [("outcome", "NONE"), ("last", "24h")]
    assert read("last=24h&from=2026-11-01").string == "?from=2026-11-01"
    assert [error.parameter for error in read("last=2h").filter_errors()] == ["last"]
    # The list of one minute is that of the next, so that following it live is one entry on record, not hundreds.
    soon = ListQuery.read(QueryParams("last=24h"), {}, Times(UTC, "UTC", NOW + timedelta(seconds=90)))
    assert soon.filters() == read("last=24h").filters()


def test_a_day_may_have_a_time_of_day() -> None:
    assert read("from=2026-11-20&from_time=09:30").string == "?from=2026-11-20T09%3A30"
    assert read("from=&from_time=09:30").string == ""
    vienna = Times(ZoneInfo("Europe/Vienna"), "Europe/Vienna", NOW)
    query = ListQuery.read(QueryParams("from=2026-11-20T09:30&to=2026-11-20T17:00"), {}, vienna)
    assert query.filters().since == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert query.filters().until == datetime(2026, 11, 20, 16, tzinfo=UTC)
    for text in ("from=2026-11-20T25:00", "from=2026-11-20T09:30:00", "from=2026-02-30T09:30"):
        assert (read(text).filter_errors() == []) == (text == "from=2026-11-20T09:30:00")


def test_an_end_before_the_beginning_is_an_error() -> None:
    assert [error.parameter for error in read("from=2026-11-20&to=2026-11-10").filter_errors()] == ["to"]
    assert read("from=2026-11-20&to=2026-11-20").filter_errors() == []
