"""Counts the audit log by SQL, for tests that compare the usage figures with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from dragoman.store.insights.usage import UsageFigures

Rows = Callable[..., Awaitable[list[dict[str, Any]]]]

SKILLS = """
WITH call AS (
    SELECT session_id, dispatch_id, position, at, payload->>'skill' AS skill,
        lead(position, 1, 2147483647) OVER (
            PARTITION BY session_id, dispatch_id, payload->>'skill' ORDER BY position) AS next
    FROM audit_event WHERE type = 'skill.invoked' AND (payload->>'attempt')::int = 1
), told AS (
    SELECT c.*, e.type, (e.payload->>'duration_ms')::float8 AS took, (e.payload->>'cost_micros')::bigint AS cost,
        e.position = max(e.position) FILTER (WHERE e.type <> 'dispatch.orphaned')
            OVER (PARTITION BY c.session_id, c.position) AS is_last
    FROM call c LEFT JOIN audit_event e ON e.session_id = c.session_id AND e.dispatch_id = c.dispatch_id
        AND e.position > c.position AND e.position < c.next
        AND (e.payload->>'skill' = c.skill AND e.type IN ('skill.succeeded', 'skill.failed', 'skill.retry_scheduled')
             OR e.type = 'dispatch.orphaned')
), ended AS (
    SELECT skill, session_id, position, at,
        coalesce(bool_or(type = 'skill.succeeded'), false) AS succeeded,
        coalesce(bool_or(type = 'skill.failed' AND is_last), false) AS failed,
        coalesce(bool_or(type = 'dispatch.orphaned'), false) AS orphaned,
        sum(took) AS took, sum(cost) AS cost
    FROM told GROUP BY skill, session_id, position, at
)
SELECT skill, count(*) AS dispatches, count(*) FILTER (WHERE succeeded) AS succeeded,
    count(*) FILTER (WHERE failed) AS failed,
    count(*) FILTER (WHERE orphaned AND NOT succeeded AND NOT failed) AS lost,
    coalesce(sum(took) FILTER (WHERE succeeded OR failed), 0) AS took, coalesce(sum(cost), 0)::bigint AS cost
FROM ended WHERE at >= $1 AND at < $2 GROUP BY skill
"""

EVENTS = (
    "SELECT type, coalesce(payload->>'outcome', '') AS outcome, count(*) AS n FROM audit_event "
    "WHERE at >= $1 AND at < $2 AND type = ANY ($3::text[]) GROUP BY 1, 2"
)


async def differences(rows: Rows, figures: UsageFigures, since: datetime, until: datetime) -> list[str]:
    """What *figures* say otherwise than the log, in words; empty where they agree to the unit."""
    found = {row["skill"]: row for row in await rows(SKILLS, since, until)}
    wrong = [f"{name} is in one only" for name in found.keys() ^ figures.skills.keys()]
    for name in found.keys() & figures.skills.keys():
        counted, by_hand = figures.skills[name], found[name]
        for measure in ("dispatches", "succeeded", "failed", "lost"):
            if getattr(counted, measure) != by_hand[measure]:
                wrong.append(f"{name}: {getattr(counted, measure)} {measure}, by hand {by_hand[measure]}")
        if counted.cost_micros != by_hand["cost"]:
            wrong.append(f"{name}: costs {counted.cost_micros}, by hand {by_hand['cost']}")
        ended = by_hand["succeeded"] + by_hand["failed"]
        if ended and abs((counted.average_ms or 0) * ended - by_hand["took"]) > 0.001 * ended:
            wrong.append(f"{name}: {counted.average_ms} ms on average, by hand {by_hand['took'] / ended}")
    types = ["outcome.assigned", "session.opened", "handoff.requested", "intent.unclear", "classifier.ran"]
    events = await rows(EVENTS, since, until, types)
    outcomes = {row["outcome"]: row["n"] for row in events if row["type"] == "outcome.assigned"}
    if outcomes != dict(figures.outcomes):
        wrong.append(f"outcomes {dict(figures.outcomes)}, by hand {outcomes}")
    others = {row["type"]: row["n"] for row in events if row["type"] != "outcome.assigned"}
    for type_, value in zip(
        types[1:], (figures.sessions, figures.handoffs, figures.misses, figures.classifier_runs), strict=True
    ):
        if others.get(type_, 0) != value:
            wrong.append(f"{type_}: {value}, by hand {others.get(type_, 0)}")
    return wrong
