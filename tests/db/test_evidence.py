"""The evidence bundle: anybody can read it and check it, and no byte of what it says can be changed unnoticed."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain import content
from dragoman.domain.content import Text
from dragoman.domain.events import AuditEvent, MessageReceived, SessionOpened, SessionResolved
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append, read_many, seal
from dragoman.runtime import Runtime
from dragoman.services.audit import checkpoint_key, checkpoints
from dragoman.services.audit.verify_bundle import BundleVerdict, NoBundleError, verify_bundle
from dragoman.services.exports import export_conversations
from dragoman.services.exports.background_exports import prepare_export
from dragoman.services.exports.bundle import DIGEST, MANIFEST, dump
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture, bearer
from .test_export_control import LOGS, recorded

EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">\u202egnp.exe'
API = "/api/v1/conversations"
Members = dict[str, bytes]


async def conversation(tenant: TenantFixture, *texts: str, name: str = "Ada") -> UUID:
    """A session with a message for each of *texts*, and its sealed events."""
    session_id = await tenant.session(message_count=len(texts), contact_name=name)
    events: list[Any] = [SessionOpened(channel="whatsapp")]
    now = tenant.runtime.clock.now()
    for ordinal, text in enumerate(texts, 1):
        body = Text(text)
        message_id = await tenant.message(
            session_id, ordinal, content.to_json(body), channel_message_id="wamid.NDM2NjA="
        )
        events.append(
            MessageReceived(
                message_id=str(message_id), kind="text", content_digest=content.digest(body),
                channel_message_id="wamid.NDM2NjA=", channel_at=now.isoformat(),
            )
        )  # fmt: skip
    events.append(SessionResolved(reason="done, +43 660 1234567"))
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await append.append_events(
            connection, tenant.tenant_id, session_id, [AuditEvent(at=now, actor=SYSTEM, payload=p) for p in events]
        )
    return session_id


async def fetch(client: httpx.AsyncClient, tenant: TenantFixture, role: str = "auditor", **query: Any) -> bytes:
    answer = await client.get(
        f"{API}/export", params={"format": "bundle", **query}, headers=bearer(await tenant.token(role))
    )
    assert answer.status_code == 200, answer.text
    return answer.content


def members(data: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def check(folder: Path, data: bytes) -> BundleVerdict:
    file = folder / "bundle.zip"
    file.write_bytes(data)
    return verify_bundle(file)


def found(folder: Path, data: bytes) -> str:
    """What is wrong with it, as text."""
    return "\n".join(f"{finding.where}: {finding.what}" for finding in check(folder, data).findings)


def packed(files: Members, *, reseal: bool = False) -> bytes:
    """The bundle of *files*, in the form in which bundles are written; *reseal* with checksums that fit again."""
    if reseal:
        manifest = json.loads(files[MANIFEST])
        manifest["files"] = [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
            if name not in {MANIFEST, DIGEST}
        ]
        text = json.dumps(manifest).encode()
        files = {**files, MANIFEST: text, DIGEST: f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()}
    made = io.BytesIO()

    class Unseekable(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return made.write(data)

    with zipfile.ZipFile(Unseekable(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    return made.getvalue()


async def test_what_is_in_it(client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path) -> None:
    ids = [await conversation(tenant, "Hello", EVIL, name=EVIL[:40]), await conversation(tenant, "Grüß Gott")]
    files = members(await fetch(client, tenant))
    names = {f"transcripts/{i}.html" for i in ids} | {f"records/{i}.jsonl" for i in ids}
    assert set(files) == names | {"index.html", "README.txt", MANIFEST, DIGEST}
    manifest = json.loads(files[MANIFEST])
    assert {entry["name"]: entry["sha256"] for entry in manifest["files"]} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name not in {MANIFEST, DIGEST}
    }
    records = [json.loads(line) for line in files[f"records/{ids[0]}.jsonl"].splitlines()]
    assert [record["record"] for record in records] == ["session", "message", "message", *["event"] * 4]
    assert records[2]["content"] == {"kind": "text", "body": EVIL}
    assert {s["session_id"]: s["head"] for s in manifest["sessions"]}[str(ids[0])] == records[-1]["seal"]
    page = files[f"transcripts/{ids[0]}.html"].decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert str(ids[1]) in files["index.html"].decode()
    verdict = check(tmp_path, await fetch(client, tenant))
    assert verdict.findings == []
    assert (verdict.sessions, verdict.messages, verdict.events, verdict.files) == (2, 3, 7, 6)
    made = [action for action in await recorded(tenant) if action["action"] == "bundle.made"]
    assert made[-1]["object_id"] == verdict.manifest_sha256
    assert made[-1]["after"] == {"conversations": 2, "masked": False}
    cookie = await tenant.cookie(await tenant.user("auditor"))
    assert verdict.manifest_sha256 in (await client.get("/communications/automation/exports", headers=cookie)).text


async def test_a_digest_can_be_made_by_hand_as_the_readme_says(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    session_id = await conversation(tenant, "Grüß Gott, 你好")
    files = members(await fetch(client, tenant))
    (by_hand,) = re.findall(r"json\.dumps\(content, (.+)\)\.encode\(\)", " ".join(files["README.txt"].decode().split()))
    assert by_hand == 'sort_keys=True, separators=(",", ":"), ensure_ascii=False'
    records = [json.loads(line) for line in files[f"records/{session_id}.jsonl"].splitlines()]
    (content,) = [record["content"] for record in records if record["record"] == "message"]
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    digests = [r["event"]["payload"].get("content_digest") for r in records if r["record"] == "event"]
    assert hashlib.sha256(written).hexdigest() in digests


async def test_the_command_tells_the_digest_of_the_manifest(
    runtime: Runtime, tenant: TenantFixture, database_urls: DatabaseURLs, tmp_path: Path
) -> None:
    await conversation(tenant, "Hello")
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(tmp_path),
        "DRAGOMAN_SECRET_KEY": runtime.settings.secret_key,
    }
    file = tmp_path / "evidence.zip"
    words = ["export", str(file), "--bundle", "--tenant", tenant.slug]
    done = await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, words)
    assert done.exit_code == 0, done.output
    assert hashlib.sha256(members(file.read_bytes())[MANIFEST]).hexdigest() in done.output


async def test_no_byte_can_be_changed_unnoticed(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path
) -> None:
    await conversation(tenant, "Hello")
    data = await fetch(client, tenant)
    assert found(tmp_path, data) == ""
    truth = members(data)
    chance = random.Random(7)
    unseen = 0
    places = range(len(data)) if len(data) < 1500 else sorted(chance.sample(range(len(data)), 1500))
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        try:
            wrong = found(tmp_path, bytes(flipped))
        except NoBundleError as error:
            wrong = str(error)
        if not wrong:
            # Dates and flags in the ZIP's headers: nothing that anybody reads, and all that is read is as it was.
            assert members(bytes(flipped)) == truth, place
            unseen += 1
    assert unseen < len(places) / 4


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9])
async def test_a_file_that_is_packed_as_no_bundle_is_damage(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path, method: int
) -> None:
    await conversation(tenant, "Hello")
    data = await fetch(client, tenant)
    # The compression method in the first entry of the ZIP's directory (APPNOTE.TXT 4.3.12).
    place = data.index(b"PK\x01\x02") + 10
    with pytest.raises(NoBundleError, match="is packed as no bundle is"):
        found(tmp_path, data[:place] + method.to_bytes(2, "little") + data[place + 2 :])


def edit_event(files: Members, change: Callable[[list[dict[str, Any]]], None]) -> Members:
    (name,) = [name for name in files if name.startswith("records/")]
    records = [json.loads(line) for line in files[name].splitlines()]
    change(records)
    return {**files, name: b"".join(dump(record) + b"\n" for record in records)}


def _payload(records: list[dict[str, Any]]) -> None:
    records[-1]["event"]["payload"]["reason"] = "something else"


def _body(records: list[dict[str, Any]]) -> None:
    records[1]["content"]["body"] = "I never said that"


def _without_event(records: list[dict[str, Any]]) -> None:
    del records[-2]


def _swapped(records: list[dict[str, Any]]) -> None:
    records[-1], records[-2] = records[-2], records[-1]


def _without_message(records: list[dict[str, Any]]) -> None:
    del records[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_payload, "position 4: the event is not the one that was sealed"),
        (_body, "message 1: its content is not the one that was sealed"),
        (_without_event, "position 3: an event is missing"),
        (_swapped, "position 3: an event is missing"),
        (_without_message, "message 1: it is missing"),
    ],
)
async def test_even_with_new_checksums_the_chain_tells(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path, change: Any, says: str
) -> None:
    await conversation(tenant, "Hello", "Bye")
    files = edit_event(members(await fetch(client, tenant)), change)
    assert "was changed" in found(tmp_path, packed(files))
    said = found(tmp_path, packed(files, reseal=True))
    assert says in said
    assert "SHA-256" not in said


async def test_files_that_are_missing_or_added_and_manifests_that_lie(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path
) -> None:
    session_id = await conversation(tenant, "Hello")
    data = await fetch(client, tenant)
    files = members(data)
    assert found(tmp_path, packed(files)) == ""
    page, record = f"transcripts/{session_id}.html", f"records/{session_id}.jsonl"
    for gone in (page, record, "index.html"):
        rest = {name: body for name, body in files.items() if name != gone}
        assert f"{gone}: is missing" in found(tmp_path, packed(rest))
    assert f"{DIGEST}: is missing" in found(tmp_path, packed({n: b for n, b in files.items() if n != DIGEST}))
    assert "note.txt: is not in the manifest" in found(tmp_path, packed({**files, "note.txt": b"hi"}))
    manifest = json.loads(files[MANIFEST])
    manifest["made_at"] = "2020-01-01T00:00:00.000000Z"
    said = found(tmp_path, packed({**files, MANIFEST: json.dumps(manifest).encode()}))
    assert "manifest.json: is not the one that was written" in said
    # A session that is left out of the manifest, a head that is another's.
    manifest = json.loads(files[MANIFEST])
    manifest["sessions"][0]["head"] = "00" * 32
    said = found(tmp_path, packed({**files, MANIFEST: json.dumps(manifest).encode()}, reseal=True))
    assert "head" in said
    manifest["sessions"] = []
    said = found(tmp_path, packed({**files, MANIFEST: json.dumps(manifest).encode()}, reseal=True))
    assert "belongs to no session" in said
    # What is hidden around the files.
    for hidden in (b"x" + data, data + b"x", data[:40] + data[41:]):
        try:
            assert found(tmp_path, hidden)
        except NoBundleError:
            continue
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, body in [*files.items(), (page, b"<p>another</p>")]:
            archive.writestr(name, body)
    twice = "\n".join(f"{f.where}: {f.what}" for f in verify_bundle(tmp_path / "twice.zip").findings)
    assert f"{page}: stands in the ZIP twice" in twice
    for nothing in (b"", b"PK", b"hello", data[: len(data) // 2]):
        with pytest.raises(NoBundleError):
            check(tmp_path, nothing)


async def test_a_masked_bundle_says_what_cannot_be_checked(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path
) -> None:
    await conversation(tenant, "I am +43 660 1234567")
    data = await fetch(client, tenant, role="analyst")
    files = members(data)
    whole = b"".join(files.values()).decode()
    assert "1234567" not in whole.replace(" ", "")
    assert "NDM2NjA" not in whole
    manifest = json.loads(files[MANIFEST])
    assert (manifest["masked"], manifest["checks"]) == (True, {"files": True, "chains": False})
    # A seal is a hash of known text and a number of which little is unknown: it would give the number away.
    assert manifest["sessions"][0]["head"] is None
    assert '"seal":"' not in whole
    verdict = check(tmp_path, data)
    assert (verdict.masked, verdict.findings, verdict.events) == (True, [], 3)
    changed = {**files, "index.html": files["index.html"] + b" "}
    assert "index.html: was changed" in found(tmp_path, packed(changed))


async def test_one_conversation_from_the_drawer(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path
) -> None:
    wanted, _ = await conversation(tenant, "this one"), await conversation(tenant, "not this one")
    headers = bearer(await tenant.token("auditor"))
    assert f"{wanted}/evidence" in (await client.get(f"{LOGS}/{wanted}", headers=headers)).text
    for address in (f"{LOGS}/{wanted}/evidence", f"{API}/{wanted}/evidence"):
        answer = await client.get(address, headers=headers)
        assert "evidence-" in answer.headers["content-disposition"]
        verdict = check(tmp_path, answer.content)
        assert (verdict.sessions, verdict.findings) == (1, [])
        assert (await client.get(address.replace(str(wanted), str(uuid4())), headers=headers)).status_code == 404
        agent = bearer(await tenant.token("agent"))
        assert (await client.get(address, headers=agent)).status_code == 403
    page = (await client.get(f"{LOGS}/{wanted}", headers=bearer(await tenant.token("agent")))).text
    assert "Evidence bundle" not in page
    other = await TenantFixture.build(tenant.runtime, "other")
    theirs = bearer(await other.token("auditor"))
    assert (await client.get(f"{API}/{wanted}/evidence", headers=theirs)).status_code == 404


async def test_not_more_than_a_bundle_may_have(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for text in ("one", "two", "three"):
        await conversation(tenant, text)
    headers = bearer(await tenant.token("auditor"))
    monkeypatch.setattr(export_conversations, "BUNDLE_BACKGROUND_FROM", 2)
    form = {"format": "bundle", "query": ""}
    answer = await client.post(f"{LOGS}/export", data=form, headers=headers)
    assert answer.status_code == 303
    (job,) = runtime.queue.jobs  # type: ignore[attr-defined]
    assert await prepare_export(runtime, tenant.tenant_id, job.key) == "done"
    file = await client.get(f"/api/v1/exports/{job.key}/file", headers=headers)
    verdict = check(tmp_path, file.content)
    assert (verdict.sessions, verdict.findings) == (3, [])
    direct = await client.get(f"{API}/export?format=bundle", headers=headers)
    assert direct.status_code == 422
    monkeypatch.setattr(export_conversations, "MOST_IN_BUNDLE", 2)
    assert (await client.post(f"{LOGS}/export", data=form, headers=headers)).status_code == 422
    assert (await client.post("/api/v1/exports", json={"format": "bundle"}, headers=headers)).status_code == 422
    # Nor do those that came after somebody had asked.
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE export_request SET state = 'waiting'")
    assert await prepare_export(runtime, tenant.tenant_id, job.key) == "failed"
    assert "up to 2 conversations" in (await client.get(f"/api/v1/exports/{job.key}", headers=headers)).json()["reason"]


async def test_what_is_written_meanwhile_is_not_in_it(
    client: httpx.AsyncClient, tenant: TenantFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await conversation(tenant, "Hello")
    real = read_many.transcripts

    async def late(*given: Any, **more: Any) -> Any:
        await tenant.message(session_id, 2, content.to_json(Text("late")))
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            event = AuditEvent(at=tenant.runtime.clock.now(), actor=SYSTEM, payload=SessionResolved(reason="late"))
            await append.append_events(connection, tenant.tenant_id, session_id, [event])
        return await real(*given, **more)

    monkeypatch.setattr("dragoman.ledger.read_many.transcripts", late)
    verdict = check(tmp_path, await fetch(client, tenant))
    assert (verdict.findings, verdict.messages, verdict.events) == ([], 1, 3)


async def test_a_checkpoint_that_covers_it_is_in_it(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, tmp_path: Path
) -> None:
    ids = [await conversation(tenant, f"Hello {n}") for n in range(5)]
    await checkpoints.make(runtime, tenant.tenant_id)
    later = await conversation(tenant, "after that")
    data = await fetch(client, tenant)
    files = members(data)
    assert {name for name in files if name.startswith("checkpoints/")} == {"checkpoints/00000001.jsonl"}
    stages = {s["session_id"]: s["integrity"] for s in json.loads(files[MANIFEST])["sessions"]}
    assert stages == {**{str(each): "sealed" for each in ids}, str(later): "recorded"}
    assert "3 recorded, checkpoint 1 covers 3 of them" in files[f"transcripts/{ids[0]}.html"].decode()
    assert "<dd>3 recorded</dd>" in files[f"transcripts/{later}.html"].decode()
    key = checkpoint_key.public_key(runtime.settings)
    assert key is not None
    verdict = check(tmp_path, data)
    assert (verdict.findings, verdict.sealed, verdict.keys) == ([], 5, [key.hex()])
    assert verify_bundle(tmp_path / "bundle.zip", trusted={key}).findings == []
    assert "not known here" in str(verify_bundle(tmp_path / "bundle.zip", trusted={bytes(32)}).findings)
    # Whoever makes the chain, the heads and the checksums anew cannot sign.
    name = f"records/{ids[2]}.jsonl"
    head, lines = seal.GENESIS, []
    for line in files[name].splitlines():
        record = json.loads(line)
        if record["record"] == "event":
            if record["event"]["type"] == "session.resolved":
                record["event"]["payload"]["reason"] = "something else"
            head = seal.seal(head, dump(record["event"]))
            record["seal"] = head.hex()
        lines.append(record)
    lines[0]["seal"] = head.hex()
    manifest = json.loads(files[MANIFEST])
    for session in manifest["sessions"]:
        if session["session_id"] == str(ids[2]):
            session["head"] = head.hex()
    forged = {**files, name: b"".join(dump(line) + b"\n" for line in lines), MANIFEST: json.dumps(manifest).encode()}
    said = found(tmp_path, packed(forged, reseal=True))
    assert said == f"session {ids[2]}, position 3: is not what checkpoint 1 covers: the chain was written anew, or " + (
        "the proof is wrong"
    )
    signed = files["checkpoints/00000001.jsonl"]
    other = {**files, "checkpoints/00000001.jsonl": signed.replace(b'"leaves":5', b'"leaves":6')}
    assert "its signature does not fit" in found(tmp_path, packed(other, reseal=True))
    # Masked there are no heads, and so no proofs.
    masked = members(await fetch(client, tenant, role="analyst"))
    assert not [name for name in masked if name.startswith("checkpoints/")]
    assert {s["checkpoint"] for s in json.loads(masked[MANIFEST])["sessions"]} == {None}


def test_the_command_line_needs_no_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAGOMAN_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    runner = CliRunner()
    text = json.dumps(
        {"format": "dragoman-evidence/1", "masked": False, "sessions": [], "files": [], "made_at": ""}
    ).encode()
    digest = f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()
    (tmp_path / "good.zip").write_bytes(packed({MANIFEST: text, DIGEST: digest}))
    good = runner.invoke(command_line, ["audit", "verify", "--bundle", str(tmp_path / "good.zip")])
    assert (good.exit_code, "0 findings" in good.output) == (0, True)
    (tmp_path / "bad.zip").write_bytes(packed({MANIFEST: text + b" ", DIGEST: digest}))
    bad = runner.invoke(command_line, ["audit", "verify", "--bundle", str(tmp_path / "bad.zip"), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["findings"][0]["where"] == MANIFEST
