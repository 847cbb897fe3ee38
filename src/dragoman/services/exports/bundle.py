"""The evidence bundle: a ZIP that can be read by anybody and checked by anybody, without this installation.

    index.html                  what is in it
    transcripts/SESSION.html    each conversation, to be read
    records/SESSION.jsonl       the same as it is on record: the session, its messages, its audit events
    checkpoints/NUMBER.jsonl    what was signed over sessions, with the signature
    README.txt                  how to check it
    manifest.json               SHA-256 of every file, and each session's chain: where it begins, its head
    manifest.sha256             SHA-256 of the manifest

A line of a record is JSON with sorted keys and no spaces; an event stands in it exactly as its seal covers it
(:mod:`dragoman.ledger.seal`). Where phone numbers are masked neither seals nor heads are given: a number of which
country and last digits are known could be found by trying which one fits a seal.

It is written as it is read: a conversation at a time is held in memory, and a line for each in the manifest.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import dragoman
from dragoman.ledger import seal
from dragoman.ledger.chain import Start
from dragoman.ledger.checkpoint import Signed
from dragoman.services.exports import evidence_pages
from dragoman.services.exports.columns import CONVERSATION, MESSAGE
from dragoman.services.exports.formats import Batch, Row, plain
from dragoman.services.exports.sink import Sink
from dragoman.store.media import MediaFile

FORMAT = "dragoman-evidence/1"
MANIFEST, DIGEST, CHECKPOINTS = "manifest.json", "manifest.sha256", "checkpoints/"

README = """Evidence bundle
===============

index.html leads to each conversation as a page. The same stands in records/ as it is on record, for machines.

To check the audit events and files:

    dragoman audit verify --bundle FILE

needs neither a database nor the installation that made the bundle. By hand: manifest.sha256 has the SHA-256 of
manifest.json, which has the SHA-256 of every other file. In records/SESSION.jsonl each line with an "event" has its
"seal", which is SHA-256 over the seal before it (32 bytes; zeros before the first, or "start" in the manifest where
retention removed the beginning) followed by the bytes of the "event" object as it stands there. The last seal is the
session's "head" in the manifest. "content_digest" in an event is the SHA-256 of a message's "content", as JSON in UTF-8
with sorted keys and without spaces, in which letters beyond ASCII stand as they are and not as \\u escapes: in Python
json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode().

An event "contact.erased" names in "left" the events before it that lost what they said of a contact who was erased,
by position, each with the SHA-256 of the bytes of its "event" object as it stands. Of these the seal is that of what
they were: compare the SHA-256, and go on from the seal.

A session that has a "checkpoint" in the manifest was covered by it: checkpoints/NUMBER.jsonl has what was signed (its
first line, Ed25519) and the signature. {"events": …, "head": …, "session_id": …}, with the seal of the event of that
position as "head", is a leaf of the Merkle tree (RFC 9162) whose "root" was signed; "index" and "path" lead there. Ask
the installation for its public key by another way than this file, and give it to the command: --public-key KEY.

What is checked so: that the chain of audit events is unbroken up to its head; that those which a checkpoint covers were
so when it was signed; that the content of each message that an event names has the digest that the event has; that the
files are those of the manifest. Not checked: a message's sender and time, messages that no event names, and the summary
of a conversation (its state, outcome, contact), which no seal covers. Who could write a bundle anew could also write
other checksums, but not sign; so note the manifest's SHA-256 when you receive a bundle. The installation that made it
has the same on its record of administrators' actions (bundle.made).
"""
MASKED = """
Phone numbers are masked in this bundle. The events are therefore not those that were sealed: the checksums can be
checked, the chains cannot, and neither seals nor heads are given.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a bundle says of itself."""

    tenant_id: UUID
    made_at: datetime
    masked: bool
    filters: Mapping[str, Any]


def dump(value: Any) -> bytes:
    """JSON in the one form that this value has: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace")


class BundleWriter:
    """Writes the bundle; ``manifest_sha256`` is known when it has ended."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._files: list[dict[str, Any]] = []
        self._sessions: list[dict[str, Any]] = []
        self._index: list[str] = []
        self._checkpoints: dict[int, Signed] = {}
        self.manifest_sha256 = ""

    def write(self, batch: Batch) -> bytes:
        """What has been compressed by now."""
        self._checkpoints |= batch.checkpoints
        for row in batch.rows:
            self._conversation(row, batch)
        return self._sink.taken()

    def _conversation(self, row: Row, batch: Batch) -> None:
        session_id: UUID = row["session_id"]
        masked, start = self._about.masked, batch.starts.get(session_id, Start())
        messages = batch.messages.get(session_id, ())
        events = batch.events.get(session_id, ())
        if masked:
            row = {**row, "head": None}
            events = [{**event, "seal": None} for event in events]
        proved = batch.integrity.get(session_id)
        pages = evidence_pages.conversation(row, messages, events, masked=masked, proved=proved)
        self._put(f"transcripts/{session_id}.html", (page.encode("utf-8", "replace") for page in pages))
        self._put(f"records/{session_id}.jsonl", _record(row, messages, events, batch.files))
        self._index.append(evidence_pages.index_row(row))
        self._sessions.append(
            {
                "session_id": str(session_id),
                "messages": len(messages),
                "events": len(events),
                "next_position": row["event_count"] + 1,
                "head": row["head"],
                "whole": start.position == 0 and row["truncated_at"] is None,
                "integrity": None if proved is None else str(proved.stage),
                "checkpoint": None if session_id not in batch.proofs else batch.proofs[session_id].to_json(),
                "start": None if masked else _start(start, events, truncated=row["truncated_at"] is not None),
            }
        )

    def end(self) -> Iterator[bytes]:
        """The index, how to check it, the manifest, the ZIP's directory."""
        about = self._about
        pages = evidence_pages.index(self._index, made_at=about.made_at, masked=about.masked)
        self._put("index.html", (page.encode("utf-8", "replace") for page in pages))
        yield self._sink.taken()
        for number, signed in sorted(self._checkpoints.items()):
            self._put(f"{CHECKPOINTS}{number:08d}.jsonl", signed.lines())
        self._put("README.txt", [(README + (MASKED if about.masked else "")).encode()])
        manifest = json.dumps(
            {
                "format": FORMAT,
                "made_at": seal.timestamp(about.made_at),
                "made_by": f"Dragoman {dragoman.__version__}",
                "tenant_id": str(about.tenant_id),
                "filters": dict(about.filters),
                "masked": about.masked,
                "checks": {"files": True, "chains": not about.masked},
                "sessions": self._sessions,
                "files": self._files,
            },
            indent=1,
            ensure_ascii=False,
        ).encode()
        self.manifest_sha256 = hashlib.sha256(manifest).hexdigest()
        self._put(MANIFEST, [manifest])
        self._put(DIGEST, [f"{self.manifest_sha256}  {MANIFEST}\n".encode()])
        self._zip.close()
        yield self._sink.taken()

    def close(self) -> None:
        """Let it go; an unfinished one is left without its directory."""
        self._sink.deaf = True
        self._zip.close()

    def _put(self, name: str, pieces: Iterable[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        with self._zip.open(entry, "w", force_zip64=True) as member:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                member.write(piece)
        self._files.append({"name": name, "size": size, "sha256": digest.hexdigest()})


def _start(start: Start, events: Iterable[Row], *, truncated: bool) -> dict[str, Any] | None:
    """Where the chain of the bundle begins; None for its own beginning."""
    first = next((event["position"] for event in events), None)
    if start.position == 0 and truncated and first != 1:
        # What came after everything had been removed: the seal of its first event is taken as it stands.
        return {"position": None if first is None else first - 1, "seal": None}
    if start.position == 0:
        return None
    return {"position": start.position, "seal": None if start.seal is None else start.seal.hex()}


def _record(
    row: Row, messages: Iterable[Row], events: Iterable[Row], files: Mapping[UUID, MediaFile]
) -> Iterator[bytes]:
    yield dump({"record": "session", **plain(CONVERSATION, row)}) + b"\n"
    for message in messages:
        line = {"record": "message", **plain(MESSAGE, message)}
        if (file := files.get(message["message_id"])) is not None:
            line["file"] = _file(file)
        yield dump(line) + b"\n"
    for event in events:
        own = {name: event[name] for name in _SEALED}
        covered = seal.canonical(**{**own, "actor_kind": str(own["actor_kind"])})
        yield b'{"event":' + covered + b',"record":"event","seal":' + dump(event["seal"]) + b"}\n"


_SEALED = (
    "session_id", "position", "at", "type", "schema_version", "actor_kind", "actor_name", "dispatch_id", "trace_id",
    "payload",
)  # fmt: skip


def _file(file: MediaFile) -> dict[str, Any]:
    return {
        "state": file.state,
        "sha256": None if file.sha256 is None else file.sha256.hex(),
        "size": file.size,
        "mime_type": file.mime_type,
    }
