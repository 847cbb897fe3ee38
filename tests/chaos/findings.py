"""What must be true after all of it: each check answers with what is wrong, in words, and nothing if all is well."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from dragoman.cli.compose import open_runtime
from dragoman.domain.outcomes import FAILURES
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.settings import Settings
from tests.chaos.installation import ChaosInstallation
from tests.chaos.traffic import WrittenMessage

Rows = list[dict[str, Any]]

LEFT_OVER = {
    "mailbox rows not done": "SELECT count(*) FROM mailbox WHERE progress <> 'done'",
    "outbox entries open": "SELECT count(*) FROM outbox_entry WHERE status IN ('SCHEDULED', 'PENDING', 'RETRYING')",
    "jobs in the queue": "SELECT count(*) FROM pgqueuer",
    "files to be fetched": "SELECT count(*) FROM media_file WHERE state = 'pending'",
    "leases in force": "SELECT count(*) FROM lease WHERE owner IS NOT NULL AND deadline > clock_timestamp()",
    "statuses of known messages not applied": (
        "SELECT count(*) FROM message_status s WHERE applied IS NULL AND EXISTS (SELECT 1 FROM outbox_entry o "
        "WHERE o.tenant_id = s.tenant_id AND o.channel_message_id = s.channel_message_id)"
    ),
}


async def left_over(owner: asyncpg.Connection[asyncpg.Record]) -> dict[str, int]:
    """What is not done yet; empty once everything has come to rest."""
    counts = {name: await owner.fetchval(sql) for name, sql in LEFT_OVER.items()}
    return {name: count for name, count in counts.items() if count}


async def all_findings(installation: ChaosInstallation, written: Sequence[WrittenMessage]) -> list[str]:
    """Everything that is wrong."""
    owner = await asyncpg.connect(installation.urls.owner)
    await owner.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    async def rows(sql: str) -> Rows:
        return [dict(row) for row in await owner.fetch(sql)]

    mailbox = await rows("SELECT * FROM mailbox")
    messages = await rows("SELECT * FROM message ORDER BY session_id, ordinal")
    sessions = await rows("SELECT * FROM session")
    entries = await rows("SELECT * FROM outbox_entry ORDER BY sequence")
    attempts = await rows("SELECT * FROM outbox_attempt")
    events = await rows(
        "SELECT e.*, opened.at AS opened_at FROM audit_event e JOIN audit_event opened "
        "ON opened.session_id = e.session_id AND opened.position = 1 ORDER BY opened.at, e.session_id, e.position"
    )
    files = await rows("SELECT * FROM media_file")
    found = [f"{count} {name}" for name, count in (await left_over(owner)).items()]
    await owner.close()
    journal = [json.loads(line) for line in (installation.home / "journal.jsonl").read_text().splitlines()]
    found += _once(written, mailbox, messages, events)
    found += _in_order(written, mailbox, events)
    found += _files(written, files, mailbox)
    found += _replies(journal, entries, attempts, messages)
    found += _explained(sessions, events, mailbox)
    found += _calls(installation)
    found += _logs(installation)
    found += installation.fell_over
    settings = Settings(data_directory=installation.home, secret_key=installation.secret_key)
    async with open_runtime(settings, installation.urls) as runtime:
        verdict = await verify_audit(runtime, installation.tenant_id)
    found += [f"breach: {breach}" for breach in verdict.breaches]
    if verdict.sessions != len(sessions) or verdict.events != len(events):
        found.append("the verification did not look at everything")
    return found


def _once(written: Sequence[WrittenMessage], mailbox: Rows, messages: Rows, events: Rows) -> Iterator[str]:
    """Each accepted message: one row, one dispatch, one outcome, one transcript item, one event of its receipt."""
    known = Counter(row["channel_message_id"] for row in mailbox)
    yield from (f"{m.wamid} was accepted and is not in the mailbox" for m in written if not known[m.wamid])
    yield from (f"{wamid} is in the mailbox {n} times" for wamid, n in known.items() if n > 1)
    outcomes = Counter(e["dispatch_id"] for e in events if e["type"] == "outcome.assigned" and e["dispatch_id"])
    received = Counter(e["dispatch_id"] for e in events if e["type"] == "message.received")
    transcribed = Counter(m["message_id"] for m in messages if m["sender"] == "contact")
    for row in mailbox:
        name, dispatch = row["channel_message_id"], row["dispatch_id"]
        for what, count in (
            ("outcomes", outcomes[dispatch]),
            ("message.received events", received[dispatch]),
            ("transcript items", transcribed[row["message_id"]]),
        ):
            if count != 1:
                yield f"{name} has {count} {what} (its mailbox row says {row['progress']}, {row['outcome']})"
    strangers = set(outcomes) - {row["dispatch_id"] for row in mailbox}
    yield from (f"dispatch {dispatch} belongs to no message" for dispatch in strangers)


def _in_order(written: Sequence[WrittenMessage], mailbox: Rows, events: Rows) -> Iterator[str]:
    """Of two messages of a contact, the one that was written and accepted before the other was sent comes first."""
    by_dispatch = {row["dispatch_id"]: row["channel_message_id"] for row in mailbox}
    received = (by_dispatch.get(e["dispatch_id"]) for e in events if e["type"] == "message.received")
    place = {wamid: number for number, wamid in enumerate(received)}
    by_phone: dict[str, list[WrittenMessage]] = defaultdict(list)
    for message in written:
        by_phone[message.phone].append(message)
    for theirs in by_phone.values():
        for first in theirs:
            for second in theirs:
                promised = (
                    # A mark waits for its message, and stands in that one's session.
                    "[reaction]" not in (first.word, second.word)
                    and first.number < second.number
                    and first.accepted is not None
                    and second.first_sent is not None
                    and first.accepted < second.first_sent
                )
                if promised and place.get(first.wamid, 0) >= place.get(second.wamid, 1):
                    yield f"{second.wamid} was dispatched before {first.wamid}"


def _files(written: Sequence[WrittenMessage], files: Rows, mailbox: Rows) -> Iterator[str]:
    """Each photo was fetched, once and whole."""
    state = {file["message_id"]: file["state"] for file in files}
    message_of = {row["channel_message_id"]: row["message_id"] for row in mailbox}
    for message in written:
        if message.word == "[image]" and (now := state.get(message_of.get(message.wamid))) != "stored":
            yield f"the photo of {message.wamid} is {now}"


def _replies(journal: Rows, entries: Rows, attempts: Rows, messages: Rows) -> Iterator[str]:
    """One outbox entry for each reply; one that reached Meta twice had an attempt without an answer in between."""
    taken: dict[str, Rows] = defaultdict(list)
    for call in journal:
        if call["kind"] == "message" and call["wamid"]:
            taken[call["request"]["biz_opaque_callback_data"]].append(call)
    unanswered = Counter(str(a["outbox_entry_id"]) for a in attempts if a["result"] == "unanswered")
    known = {str(entry["outbox_entry_id"]): entry for entry in entries}
    for correlation, calls in taken.items():
        if correlation not in known:
            yield f"Meta was sent {correlation}, which is in no outbox"
        if len(calls) - 1 > unanswered[correlation]:
            yield f"{correlation} was sent {len(calls)} times, and {unanswered[correlation]} attempts are unanswered"
    for correlation, entry in known.items():
        if entry["status"] == "SENT" and correlation not in taken:
            yield f"{correlation} is SENT, and Meta never saw it"
        if entry["status"] != "SENT":
            yield f"{correlation} ended as {entry['status']}: {entry['reason']}"
    bodies: dict[str, set[str]] = defaultdict(set)
    for correlation, calls in taken.items():
        body = calls[0]["request"].get("text", {}).get("body", "")
        if re.search(r"[0-9a-f-]{36}:chaos\.", body):
            bodies[body].add(correlation)
    yield from (f"{body!r} was sent under {len(c)} idempotency keys" for body, c in bodies.items() if len(c) > 1)
    replies = Counter(m["message_id"] for m in messages if m["sender"] != "contact")
    queued = Counter(entry["message_id"] for entry in entries)
    yield from (f"message {m} stands in the outbox {queued[m]} times" for m in replies if queued[m] != 1)
    yield from _replies_in_order(entries, taken)


def _replies_in_order(entries: Rows, taken: dict[str, Rows]) -> Iterator[str]:
    """What was said first goes out first: by the latest time that Meta took each."""
    last: dict[Any, tuple[int, str]] = {}
    for entry in entries:
        correlation, contact = str(entry["outbox_entry_id"]), entry["contact_id"]
        if correlation not in taken:
            continue
        first_taken = min(call["seq"] for call in taken[correlation])
        if contact in last and first_taken < last[contact][0]:
            yield f"{correlation} went out before {last[contact][1]}"
        last[contact] = (first_taken, correlation)


def _explained(sessions: Rows, events: Rows, mailbox: Rows) -> Iterator[str]:
    """Every session came to rest, and whatever failed in it says why."""
    for session in sessions:
        if session["state"] in ("OPEN", "PROCESSING"):
            yield f"session {session['session_id']} is left {session['state']}"
        if session["outcome"] in FAILURES and not session["outcome_reason"]:
            yield f"session {session['session_id']} is {session['outcome']} without a reason"
    by_dispatch: dict[Any, Rows] = defaultdict(list)
    position: dict[Any, dict[str, Any]] = {}
    for event in events:
        by_dispatch[event["dispatch_id"]].append(event)
        before = position.get(event["session_id"])
        if event["position"] != (before["position"] if before else 0) + 1:
            yield f"session {event['session_id']} has a gap before position {event['position']}"
        position[event["session_id"]] = event
    for row in mailbox:
        yield from _dispatch_explained(row["channel_message_id"], by_dispatch[row["dispatch_id"]])


def _dispatch_explained(name: str, events: Rows) -> Iterator[str]:
    ends = [e["payload"] for e in events if e["type"] == "outcome.assigned"]
    kinds = Counter(e["type"] for e in events)
    orphaned = [e["payload"] for e in events if e["type"] == "dispatch.orphaned"]
    late = [payload for payload in orphaned if payload["late_result"]]
    closed = ends[-1]["reason"].startswith("the dispatch was lost") if ends else False
    yield from (f"{name}: an outcome without a reason" for end in ends if not end["reason"])
    if closed != (len(orphaned) - len(late) == 1):
        yield f"{name}: its outcome and its dispatch.orphaned events do not fit together"
    if late and not closed:
        yield f"{name}: the record calls its result late, but it was handled ({ends})"
    if len(late) > 1:
        yield f"{name}: its late result is on record {len(late)} times"
    if ends and ends[-1]["outcome"] == "SKILL_ERROR" and "failed" in ends[-1]["reason"] and not kinds["skill.failed"]:
        yield f"{name}: SKILL_ERROR, and no attempt failed"
    attempts = [e["payload"]["attempt"] for e in events if e["type"] == "skill.invoked"]
    if attempts != list(range(1, len(attempts) + 1)):
        yield f"{name}: the attempts on record are {attempts}"


def _calls(installation: ChaosInstallation) -> Iterator[str]:
    """No attempt was made twice, and no two attempts of a dispatch ran at the same time."""
    begun: dict[tuple[str, int], Rows] = defaultdict(list)
    ended: dict[tuple[str, int], float] = {}
    for path in installation.home.glob("calls-*.jsonl"):
        for line in path.read_text().splitlines():
            mark = json.loads(line)
            call = (mark["key"], mark["attempt"])
            if "begun" in mark:
                begun[call].append(mark)
            else:
                ended[call] = mark["ended"]
    yield from (f"{key}, attempt {n}, was called {len(m)} times" for (key, n), m in begun.items() if len(m) > 1)
    deaths = defaultdict(list)
    for pid, at in installation.deaths:
        deaths[pid].append(at)
    for (key, attempt), marks in begun.items():
        end = ended.get((key, attempt))
        if end is None:
            # The worker's own process, or the skill host that dies with it.
            ends = [at for pid in marks[0]["processes"] for at in deaths[pid] if at > marks[0]["begun"]]
            end = min(ends, default=marks[0]["begun"])
        following = begun.get((key, attempt + 1))
        if following and following[0]["begun"] < end:
            yield f"{key}: attempt {attempt + 1} began before attempt {attempt} had ended"


def _logs(installation: ChaosInstallation) -> Iterator[str]:
    """No deadlock, and no error that nobody expected."""
    deadlocks = installation.postgres_log.read_text().count("deadlock detected")
    if deadlocks:
        yield f"PostgreSQL found {deadlocks} deadlocks"
    for kind, count in unexpected(installation.home).items():
        yield f"{count} times in the logs: {kind}"


def unexpected(home: Path) -> Counter[str]:
    """The last lines of tracebacks in the processes' logs, where they are none of a lost database."""
    found: Counter[str] = Counter()
    for path in sorted(home.glob("*-*.log")):
        lines = path.read_text(errors="replace").splitlines()
        inside = False
        for line in lines:
            if "Traceback (most recent call last)" in line:
                inside = True
            elif inside and line and not line.startswith((" ", "\t", "|", "+")):
                inside = False
                if not EXPECTED.match(line):
                    found[f"{path.stem.split('-')[0]}: {line[:160]}"] += 1
    return found


EXPECTED = re.compile(
    r"(asyncpg\.exceptions\.(_base\.)?(ConnectionDoesNotExistError|CannotConnectNowError|InterfaceError|"
    r"InternalClientError|AdminShutdownError|CrashShutdownError)"
    r"|ConnectionError|ConnectionResetError|ConnectionRefusedError|FileNotFoundError|BrokenPipeError|TimeoutError)"
)
