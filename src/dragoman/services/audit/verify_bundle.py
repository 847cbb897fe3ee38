"""Check an evidence bundle with nothing but the file: no database, no settings.

Every file against the manifest, the manifest against its own digest, the ZIP for what no file accounts for; each
session's chain of seals, recomputed; each message's content against the digest that a sealed event has of it; the
checkpoints that cover sessions, with their signatures and the ways that lead to what was signed.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from dragoman.domain.errors import DragomanError
from dragoman.ledger import merkle
from dragoman.ledger.chain import WITH_BODY, Chain, ChainLink, Start, first_breach, left
from dragoman.ledger.checkpoint import Header, Leaf, parse
from dragoman.ledger.verify import Trusted, header_breach
from dragoman.services.exports.bundle import CHECKPOINTS, DIGEST, FORMAT, MANIFEST, dump

LARGEST_MANIFEST = 256 * 1024 * 1024
_PIECE = 1 << 18
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_HAS_DESCRIPTOR, _DESCRIPTORS = 8, (16, 24)
"""A flag in a file's header, and how many bytes follow its content then (APPNOTE.TXT 4.3.9)."""
_END_BYTES = 22
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class NoBundleError(DragomanError):
    """The file is no evidence bundle, or so little of one that nothing in it can be checked."""


@dataclass(frozen=True, slots=True)
class BundleFinding:
    """Something is wrong: where, and what, in words."""

    where: str
    what: str


@dataclass(slots=True, kw_only=True)
class BundleVerdict:
    """What was looked at, and what was found. With *masked* the chains could not be checked.

    ``compared`` are the messages of which an event has a digest. ``sealed`` sessions are covered by a checkpoint to
    their last event; ``keys`` are those that signed checkpoints.
    """

    sessions: int = 0
    events: int = 0
    messages: int = 0
    compared: int = 0
    files: int = 0
    sealed: int = 0
    keys: list[str] = field(default_factory=list)
    masked: bool = False
    manifest_sha256: str = ""
    findings: list[BundleFinding] = field(default_factory=list)

    def say(self, where: str, what: str) -> None:
        """Add a finding."""
        self.findings.append(BundleFinding(where, what))


def verify_bundle(
    path: Path, progress: Callable[[int], None] = lambda _: None, *, trusted: Trusted = None
) -> BundleVerdict:
    """Check the bundle at *path*; *progress* hears how many sessions are done. Raises NoBundleError, OSError.

    Where *trusted* public keys are given, signatures of others do not count.
    """
    verdict = BundleVerdict()
    try:
        archive = zipfile.ZipFile(path)
    except _UNREADABLE as error:
        raise NoBundleError(f"{path.name} is no ZIP, or was cut off or damaged: {error}") from error
    with archive:
        _structure(archive, path, verdict)
        manifest = _manifest(archive, verdict)
        _files(archive, manifest, verdict)
        verdict.masked = manifest["masked"] is True
        signed = _checkpoints(archive, manifest, trusted, verdict)
        for session in manifest["sessions"]:
            _session(archive, session, signed, verdict)
            verdict.sessions += 1
            progress(verdict.sessions)
        kept = {f"records/{session.get('session_id')}.jsonl" for session in manifest["sessions"]}
        for name in archive.namelist():
            if name.startswith("records/") and name not in kept:
                verdict.say(name, "belongs to no session of the manifest")
    return verdict


def _structure(archive: zipfile.ZipFile, path: Path, verdict: BundleVerdict) -> None:
    """Find what no file accounts for: bytes before, between and after the files, two of one name, notes."""
    ends = {0}
    with path.open("rb") as handle:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
            if entry.compress_type not in _METHODS:
                # A changed byte can name a method whose reader fails in ways of its own.
                raise NoBundleError(f"{path.name} was damaged: {entry.filename} is packed as no bundle is")
            if entry.header_offset < min(ends):
                raise NoBundleError(f"{path.name} was damaged: {entry.filename} lies where something else lies")
            if entry.header_offset not in ends:
                verdict.say("the ZIP", f"has bytes before {entry.filename} that belong to no file")
            handle.seek(entry.header_offset)
            header = handle.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size:
                raise NoBundleError(f"{path.name} was damaged: it has no header of {entry.filename}")
            names = _LOCAL_HEADER.unpack(header)[-2:]
            end = entry.header_offset + len(header) + sum(names) + entry.compress_size
            ends = {end + size for size in _DESCRIPTORS} if entry.flag_bits & _HAS_DESCRIPTOR else {end}
            if entry.comment:
                verdict.say(entry.filename, "has a note in the ZIP's directory")
        handle.seek(-_END_BYTES, os.SEEK_END)
        at_end = handle.read().startswith(b"PK\5\6")
    if archive.start_dir not in ends:
        verdict.say("the ZIP", "has bytes before its directory that belong to no file")
    if archive.comment or not at_end:
        verdict.say("the ZIP", "has bytes after its directory that belong to no file")
    seen: set[str] = set()
    for name in archive.namelist():
        if name in seen:
            verdict.say(name, "stands in the ZIP twice")
        seen.add(name)


def _manifest(archive: zipfile.ZipFile, verdict: BundleVerdict) -> dict[str, Any]:
    """The manifest, if it can be read at all; what is wrong with it is told."""
    try:
        if archive.getinfo(MANIFEST).file_size > LARGEST_MANIFEST:
            raise NoBundleError(f"{MANIFEST} is larger than any that is written")
        text = archive.read(MANIFEST)
        manifest = json.loads(text)
        if manifest["format"] != FORMAT:
            raise NoBundleError(f"{MANIFEST} has the format {manifest['format']!r}; this version checks {FORMAT}")
        if not isinstance(manifest["sessions"], list) or not isinstance(manifest["files"], list):
            raise TypeError("sessions and files are to be lists")
        manifest["masked"]
    except KeyError as error:
        raise NoBundleError(f"{MANIFEST} is missing, or lacks {error}") from error
    except (*_UNREADABLE, TypeError) as error:
        raise NoBundleError(f"{MANIFEST} cannot be read: {error}") from error
    verdict.manifest_sha256 = hashlib.sha256(text).hexdigest()
    try:
        if archive.read(DIGEST) != f"{verdict.manifest_sha256}  {MANIFEST}\n".encode():
            verdict.say(MANIFEST, f"is not the one that was written: its SHA-256 is not the one in {DIGEST}")
    except KeyError:
        verdict.say(DIGEST, "is missing")
    except _UNREADABLE as error:
        verdict.say(DIGEST, f"cannot be read: {error}")
    return dict(manifest)


def _files(archive: zipfile.ZipFile, manifest: dict[str, Any], verdict: BundleVerdict) -> None:
    # Somebody may have unpacked it and packed it again: folders hold nothing.
    there = {entry.filename for entry in archive.infolist() if not (entry.is_dir() and entry.file_size == 0)}
    listed: set[str] = {MANIFEST, DIGEST}
    for entry in manifest["files"]:
        name = str(entry.get("name")) if isinstance(entry, dict) else ""
        if name in listed:
            verdict.say(name, "stands in the manifest twice")
        listed.add(name)
        if name not in there:
            verdict.say(name or MANIFEST, "is missing")
            continue
        verdict.files += 1
        digest, size = hashlib.sha256(), 0
        try:
            with archive.open(name) as member:
                while piece := member.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
        except _UNREADABLE as error:
            verdict.say(name, f"cannot be read, it was damaged or changed: {error}")
            continue
        if (digest.hexdigest(), size) != (entry.get("sha256"), entry.get("size")):
            verdict.say(name, "was changed: its SHA-256 or size is not the one in the manifest")
    for name in sorted(there - listed):
        verdict.say(name, "is not in the manifest: it was added")


def _checkpoints(
    archive: zipfile.ZipFile, manifest: dict[str, Any], trusted: Trusted, verdict: BundleVerdict
) -> dict[int, Header]:
    """The checkpoints whose signatures are good, by number."""
    good: dict[int, Header] = {}
    for name in sorted(set(archive.namelist())):
        if not name.startswith(CHECKPOINTS) or name == CHECKPOINTS:
            continue
        try:
            number = int(name.removeprefix(CHECKPOINTS).removesuffix(".jsonl"))
            signed, leaves = parse(archive.read(name))
            kind = header_breach(signed, UUID(str(manifest.get("tenant_id"))), number, trusted)
            if leaves:
                kind = kind or "has lines that belong to nothing"
        except _UNREADABLE as error:
            verdict.say(name, f"cannot be read: {error}")
            continue
        if kind:
            verdict.say(name, kind)
            continue
        good[number] = Header.from_bytes(signed.header)
    verdict.keys = sorted({header.key.hex() for header in good.values()})
    return good


def _session(archive: zipfile.ZipFile, session: Any, signed: dict[int, Header], verdict: BundleVerdict) -> None:
    try:
        session_id = str(UUID(session["session_id"]))
        where = f"session {session_id}"
        records = list(_records(archive, f"records/{session_id}.jsonl"))
    except KeyError:
        return  # the file is missing, which was told
    except (TypeError, AttributeError):
        verdict.say(MANIFEST, "has a session that cannot be read")
        return
    except _UNREADABLE as error:
        verdict.say(f"session {session.get('session_id')}", f"its record cannot be read: {error}")
        return
    try:
        events = [record for record in records if record["record"] == "event"]
        messages = [record for record in records if record["record"] == "message"]
        own = [record for record in records if record["record"] == "session"]
        verdict.events, verdict.messages = verdict.events + len(events), verdict.messages + len(messages)
        if [record["session_id"] for record in own] != [session_id]:
            verdict.say(where, "its record is not that of one session")
        for kind, found in (("messages", messages), ("events", events)):
            if len(found) != session[kind]:
                verdict.say(where, f"has {len(found)} {kind}, the manifest says {session[kind]}")
        if session["whole"]:
            _gaps(messages, where, verdict)
        if not verdict.masked:
            _chain(session_id, session, own, events, verdict)
            _contents(messages, events, where, verdict)
            _covered(session_id, session, events, signed, verdict)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        verdict.say(where, f"its record or the manifest's part on it lacks something: {error!r}")


def _records(archive: zipfile.ZipFile, name: str) -> Iterator[dict[str, Any]]:
    with archive.open(name) as member:
        for number, line in enumerate(member, 1):
            try:
                yield dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(f"line {number} is no JSON object") from error


def _gaps(messages: list[dict[str, Any]], where: str, verdict: BundleVerdict) -> None:
    """Messages are numbered from 1 without gaps, where nothing is too old to be shown."""
    for expected, message in enumerate(messages, 1):
        if message["ordinal"] != expected:
            verdict.say(f"{where}, message {expected}", "it is missing, or stands in another place")
            return


def _chain(
    session_id: str, session: dict[str, Any], own: list[dict[str, Any]], events: list[dict[str, Any]],
    verdict: BundleVerdict,
) -> None:  # fmt: skip
    where = f"session {session_id}"
    if own and own[0].get("seal") != session["head"]:
        verdict.say(where, "its head in the manifest is not the one in its record")
    for event in events:
        if event["event"]["session_id"] != session_id:
            verdict.say(f"{where}, position {event['event']['position']}", "the event is of another session")
    given = session["start"]
    if given is not None and given["position"] is None:
        return  # all of it was lawfully removed; the head is what is left
    start = Start() if given is None else Start(given["position"], given["seal"] and bytes.fromhex(given["seal"]))
    links = (ChainLink(e["event"]["position"], dump(e["event"]), bytes.fromhex(e["seal"])) for e in events)
    head = None if session["head"] is None else bytes.fromhex(session["head"])
    erased = left((e["event"]["position"], e["event"]["type"], e["event"]["payload"]) for e in events)
    chain = Chain(next_position=session["next_position"], head=head, start=start, left=erased)
    position, kind = first_breach(links, chain)
    if kind:
        verdict.say(f"{where}, position {position}", kind)


def _covered(
    session_id: str, session: dict[str, Any], events: list[dict[str, Any]], signed: dict[int, Header],
    verdict: BundleVerdict,
) -> None:  # fmt: skip
    """The session stood at that event as the checkpoint says."""
    proof = session.get("checkpoint")
    if proof is None:
        return
    number, covered = proof["number"], proof["events"]
    where = f"session {session_id}, position {covered}"
    header = signed.get(number)
    if header is None:
        verdict.say(where, f"is said to be covered by checkpoint {number}, which is not here or does not count")
        return
    seals = {event["event"]["position"]: event["seal"] for event in events}
    if session["start"] is not None:
        seals.setdefault(session["start"]["position"], session["start"]["seal"])
    seals.setdefault(session["next_position"] - 1, session["head"])
    if seals.get(covered) is None:
        return  # it is before what is shown
    leaf = Leaf(UUID(session_id), covered, bytes.fromhex(seals[covered]))
    path = [bytes.fromhex(other) for other in proof["path"]]
    if merkle.root_of(leaf.hash, proof["index"], header.leaves, path) != header.root:
        verdict.say(where, f"is not what checkpoint {number} covers: the chain was written anew, or the proof is wrong")
    elif covered == session["next_position"] - 1:
        verdict.sealed += 1


def _contents(messages: list[dict[str, Any]], events: list[dict[str, Any]], where: str, verdict: BundleVerdict) -> None:
    """A message's content is the one of which a sealed event has the digest."""
    sealed: dict[str, str] = {}
    for event in events:
        payload = event["event"]["payload"]
        if event["event"]["type"] in WITH_BODY and payload.get("content_digest"):
            sealed[payload["message_id"]] = payload["content_digest"]
    for message in messages:
        digest = sealed.get(message["message_id"])
        verdict.compared += digest is not None
        if digest is not None and hashlib.sha256(dump(message["content"])).hexdigest() != digest:
            verdict.say(f"{where}, message {message['ordinal']}", "its content is not the one that was sealed")
