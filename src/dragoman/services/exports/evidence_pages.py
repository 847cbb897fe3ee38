"""The pages of an evidence bundle: a transcript that anybody can read in a browser, with nothing else at hand.

Each page is one file without script, pictures or anything from elsewhere; its policy forbids them. All that people
wrote is escaped. Times are UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.domain.events import CATALOGUE
from dragoman.domain.plain_text import contact_label, isolated, visible_name, without_isolates
from dragoman.domain.plurals import counted
from dragoman.ledger.integrity import Integrity, Stage
from dragoman.services.exports.columns import CONVERSATION

Row = Mapping[str, Any]

_SENDERS = {"contact": "Contact", "bot": "Bot", "agent": "Agent"}
_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .6rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:0}
dt,small,.at{opacity:.75}dd{margin:0;overflow-wrap:anywhere}
ol{list-style:none;padding:0;margin:0}
.m{border:1px solid #8886;border-radius:8px;padding:.5rem .8rem;margin:.5rem 0;max-width:85%}
.m.bot,.m.agent{margin-left:auto;background:#3b82f61f}
.m p{margin:.2rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
.e{border-left:3px solid #8886;padding:.1rem .8rem;margin:.35rem 0}
.e.error{border-color:#dc2626}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.85rem;margin:.3rem 0}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #8884}
.note{border:1px solid #d97706;border-radius:8px;padding:.5rem .8rem;margin:1rem 0}
@media print{body{max-width:none}.m,.e{break-inside:avoid}}
"""
_MASKED = "Phone numbers are masked in this bundle, so that the chain of seals cannot be recomputed from it."


def moment(at: datetime) -> str:
    """Write the time as the pages have it: each may be quoted alone, and so says its zone."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _head(title: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="referrer" content="no-referrer"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        "<body>\n"
    )


def conversation(
    row: Row, messages: Sequence[Row], events: Sequence[Row], *, masked: bool, proved: Integrity | None
) -> Iterator[str]:
    """Write one conversation: summary, transcript, audit timeline."""
    name = contact_label(row["contact_name"], row["contact_phone"])
    yield _head(f"{isolated(name)}, session {row['session_id']}")
    yield f'<main><h1 dir="auto">{escape(name)}</h1><p><small>Session {row["session_id"]}</small></p>\n'
    if masked:
        yield f'<p class="note">{_MASKED}</p>\n'
    if row["truncated_at"] is not None:
        yield f'<p class="note">Retention removed the older part on {moment(row["truncated_at"])}.</p>\n'
    yield "<h2>Summary</h2><dl>\n"
    for column in CONVERSATION:
        value = column.of(row)
        if value is not None and value != "":
            said = moment(value) if isinstance(value, datetime) else str(value)
            yield f'<dt>{escape(column.name)}</dt><dd dir="auto">{escape(said)}</dd>\n'
    if proved is not None:
        yield f"<dt>audit events</dt><dd>{_sealed(proved)}</dd>\n"
    yield "</dl>\n<h2>Transcript</h2>\n<ol>\n"
    for message in messages:
        yield _message(message)
    yield "</ol>\n" if messages else "</ol><p>No messages.</p>\n"
    yield "<h2>Audit timeline</h2>\n<ol>\n"
    for event in events:
        yield _event(event)
    yield "</ol>\n" if events else "</ol><p>No events.</p>\n"
    yield "</main></body></html>\n"


def _sealed(proved: Integrity) -> str:
    if proved.position is not None:
        return f"broken at event {proved.position}: {escape(proved.kind)}"
    by = "" if proved.checkpoint is None else f", checkpoint {proved.checkpoint} covers {proved.sealed_events} of them"
    chain = ", chain unbroken at the latest check" if proved.stage == Stage.CHECKED else ""
    return f"{proved.events} recorded{chain}{by}"


@reads_outside_text
def _message(message: Row) -> str:
    sender = str(message["sender"])
    name = f" {without_isolates(message['sender_name'])}" if visible_name(message["sender_name"]) else ""
    delivery = f", {message['delivery']}" if message["delivery"] else ""
    more = (
        "" if message["kind"] == "text" else f"<details><summary>Content</summary>{_json(message['content'])}</details>"
    )
    return (
        f'<li class="m {escape(sender)}" id="m{message["ordinal"]}"><b>{_SENDERS.get(sender, "")}</b>'
        f'<bdi>{escape(name)}</bdi> <span class="at">{moment(message["at"])}, no. {message["ordinal"]}, '
        f'{escape(message["kind"])}{escape(delivery)}</span><p dir="auto">{escape(message["text"])}</p>{more}</li>\n'
    )


def _event(event: Row) -> str:
    known = CATALOGUE.get(event["type"])
    label = known.label if known else event["type"]
    error = " error" if event["type"].endswith((".failed", ".error")) else ""
    actor = without_isolates(f"{event['actor_kind']} {event['actor_name']}".strip())
    return (
        f'<li class="e{error}" id="e{event["position"]}"><details><summary><b>{escape(label)}</b> '
        f'<span class="at">{moment(event["at"])}, no. {event["position"]}, <bdi>{escape(actor)}</bdi></span></summary>'
        f"{_json(event['payload'])}<small>{escape(event['type'])}"
        f"{', seal ' + escape(event['seal']) if event['seal'] else ''}</small></details></li>\n"
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, default=str)
    return f'<pre dir="auto">{escape(text)}</pre>'


def index_row(row: Row) -> str:
    """Write a conversation's line in the index."""
    name = contact_label(row["contact_name"], row["contact_phone"])
    session = row["session_id"]
    return (
        f'<tr><td><a href="transcripts/{session}.html"><bdi>{escape(without_isolates(name))}</bdi></a></td>'
        f"<td>{moment(row['started_at'])}</td><td>{escape(row['state'])}</td><td>{escape(row['outcome'])}</td>"
        f"<td>{row['message_count']}</td></tr>\n"
    )


def index(rows: Sequence[str], *, made_at: datetime, masked: bool) -> Iterator[str]:
    """The first page: what is in the bundle."""
    yield _head("Evidence bundle")
    found = counted(len(rows), "conversation", "conversations")
    yield f"<main><h1>Evidence bundle</h1><p>{found}, made {moment(made_at)}. "
    yield "README.txt says how to check that nothing was changed.</p>\n"
    if masked:
        yield f'<p class="note">{_MASKED}</p>\n'
    headings = "".join(f"<th>{name}</th>" for name in ("Contact", "Started", "State", "Outcome", "Messages"))
    yield f"<table><thead><tr>{headings}</tr></thead><tbody>\n"
    yield from rows
    yield "</tbody></table></main></body></html>\n"
