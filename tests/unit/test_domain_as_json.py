"""Sessions and specs as JSON and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.as_json import session_from_json, session_to_json, spec_from_json, spec_to_json
from dragoman.domain.nouns import (
    Awaiting,
    AwaitingKind,
    FlowPosition,
    HttpTarget,
    Level,
    Parameter,
    ParameterKind,
    Phrase,
    Session,
    SkillSpec,
)
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State

texts = st.text(max_size=12)
times = st.datetimes(timezones=st.just(UTC))
awaitings = st.builds(
    Awaiting,
    kind=st.sampled_from(AwaitingKind),
    intent=st.none() | texts,
    skill=st.none() | texts,
    parameter=st.none() | texts,
    collected=st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=3),
    asked=st.integers(1, 5),
)
positions = st.builds(
    FlowPosition,
    flow=texts,
    version=st.integers(1, 5),
    step=texts,
    variables=st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=3),
    done=st.integers(0, 5),
)
sessions = st.builds(
    Session,
    session_id=st.uuids(),
    thread_id=st.uuids(),
    contact_id=st.uuids(),
    state=st.sampled_from(State),
    outcome=st.sampled_from(Outcome),
    started_at=times,
    last_activity_at=times,
    outcome_reason=texts,
    intent=st.none() | texts,
    skill=st.none() | texts,
    resolved_at=st.none() | times,
    last_user_message=texts,
    cost_micros=st.integers(0),
    agent_name=st.none() | texts,
    awaiting=st.none() | awaitings,
    flow=st.none() | positions,
)
by_locale = st.dictionaries(texts, texts, max_size=2)
specs = st.builds(
    SkillSpec,
    name=texts,
    label=texts,
    version=texts,
    minimum_level=st.sampled_from(Level),
    parameters=st.lists(
        st.builds(
            Parameter,
            name=texts,
            kind=st.sampled_from(ParameterKind),
            required=st.booleans(),
            pattern=st.none() | texts,
            choices=st.lists(texts, max_size=2).map(tuple),
            prompts=by_locale,
            titles=st.dictionaries(texts, by_locale, max_size=2),
            secret=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    phrases=st.lists(st.builds(Phrase, text=texts, locale=texts), max_size=2).map(tuple),
    keywords=st.lists(texts, max_size=2).map(tuple),
    timeout_seconds=st.floats(0.1, 60),
    retired=st.booleans(),
    http=st.none()
    | st.builds(
        HttpTarget,
        url=texts,
        allow_private=st.booleans(),
        answer=st.none() | st.dictionaries(texts, texts | st.lists(texts, max_size=2), max_size=2),
    ),
)


@given(sessions)
def test_a_session_survives_storage(session: Session) -> None:
    assert session_from_json(json.loads(json.dumps(session_to_json(session)))) == session


@given(specs)
def test_a_spec_survives_storage(spec: SkillSpec) -> None:
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_what_a_spec_leaves_out_has_its_default() -> None:
    short = {"name": "a.b", "label": "B", "version": "1"}
    assert spec_from_json(short) == SkillSpec(name="a.b", label="B", version="1")


def test_an_unknown_field_is_refused() -> None:
    session = Session(
        session_id=UUID(int=1),
        thread_id=UUID(int=2),
        contact_id=UUID(int=3),
        state=State.OPEN,
        outcome=Outcome.IN_PROGRESS,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        last_activity_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(TypeError):
        session_from_json({**session_to_json(session), "surprise": 1})
