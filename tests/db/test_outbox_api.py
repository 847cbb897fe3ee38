"""The outbox over the API: the list, one entry, what may be done with entries, the export, and who sees what."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyarrow.parquet as pq
import pytest

from dragoman.services.exports.columns import OUTBOX_ENTRY
from dragoman.store.accounts import roles
from dragoman.web.api.outbox import MOST_AT_ONCE

from .outbox_fixture import add_attempt, add_entry, columns_of, composed, template_content
from .tenant_fixture import TenantFixture, bearer

API = "/api/v1/outbox"


@pytest.fixture
async def administrator(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


async def ids(client: httpx.AsyncClient, headers: dict[str, str], query: str = "") -> list[str]:
    answer = await client.get(f"{API}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return [one["outbox_entry_id"] for one in answer.json()["items"]]


async def test_the_list_is_narrowed_sorted_and_paged(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    now = tenant.runtime.clock.now()
    session_id = await tenant.session()
    old = str(await add_entry(tenant, created_at=now - timedelta(days=2)))
    failed = str(await add_entry(tenant, status="FAILED", created_at=now - timedelta(hours=2), trigger_name="due"))
    new = str(
        await add_entry(
            tenant,
            status="PENDING",
            channel="whatsapp",
            recipient="436601234567",
            recipient_kind="wa_id",
            session_id=session_id,
            trigger_name="",
            email=None,
            content=template_content(),
        )
    )
    assert await ids(client, administrator) == [new, failed, old]
    for query, wanted in {
        "?status=FAILED": [failed],
        "?status=FAILED&status=PENDING": [new, failed],
        "?trigger=due": [failed],
        "?trigger=-": [new],
        "?channel=email": [failed, old],
        "?recipient=ada@": [failed, old],
        "?recipient=%2B436601234567": [new],
        f"?session={session_id}": [new],
        f"?from={(now - timedelta(days=1)).date()}": [new, failed],
        f"?to={(now - timedelta(days=2)).date()}": [old],
        "?sort=-sent": [old, *sorted([failed, new], reverse=True)],
        "?sort=sent": [*sorted([failed, new]), old],
    }.items():
        assert await ids(client, administrator, query) == wanted, query
    first = (await client.get(f"{API}?limit=2", headers=administrator)).json()
    rest = await ids(client, administrator, f"?limit=2&cursor={first['next_cursor']}")
    assert [one["outbox_entry_id"] for one in first["items"]] + rest == [new, failed, old]
    item = first["items"][1]
    assert (item["status"], item["trigger"], item["allowed_actions"]) == ("FAILED", "due", ["retry"])
    assert first["items"][0]["trigger"] is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=sent", "status"),
        ("status=", "status"),
        ("trigger=", "trigger"),
        ("trigger=%00", "trigger"),
        ("channel=fax", "channel"),
        ("recipient=", "recipient"),
        (f"recipient={'x' * 400}", "recipient"),
        ("from=soon", "from"),
        ("to=2026-13-01", "to"),
        ("session=nobody", "session"),
        ("sort=-created_at", "sort"),
        ("cursor=AAAA", "cursor"),
        ("limit=0", "limit"),
        ("unheard=of", "unheard"),
        ("channel=email&channel=whatsapp", "channel"),
    ],
)
async def test_what_cannot_be_used_is_named(
    client: httpx.AsyncClient, administrator: dict[str, str], query: str, parameter: str
) -> None:
    answer = await client.get(f"{API}?{query}", headers=administrator)
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]


async def test_an_entry_has_its_message_its_attempts_and_its_copies(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    file = {"filename": "invoice.pdf", "mime_type": "application/pdf", "size": 1234, "sha256": "ab" * 32}
    entry_id = await add_entry(
        tenant, attempts=2, email=composed(attachments=[file]),
        created_at=tenant.runtime.clock.now() - timedelta(minutes=2),
    )  # fmt: skip
    await add_attempt(tenant, entry_id, 1, "unanswered", answer={"reason": "time-out"})
    await add_attempt(tenant, entry_id, 2, "accepted", http_status=250, answer={"said": "queued"})
    copy_id = await add_entry(tenant, resend_of=entry_id, status="PENDING")
    found = (await client.get(f"{API}/{entry_id}", headers=administrator)).json()
    assert found["email"]["subject"] == "Your order is on its way"
    assert found["email"]["attachments"] == [file]
    assert found["content"] == {"kind": "text", "body": "Your order VF-1 is on its way."}
    assert [(one["result"], one["response_code"]) for one in found["attempt_log"]] == [
        ("unanswered", None), ("accepted", 250),
    ]  # fmt: skip
    assert [one["outbox_entry_id"] for one in found["copies"]] == [str(copy_id)]
    assert found["account"]["name"] == "Main"
    copy = (await client.get(f"{API}/{copy_id}", headers=administrator)).json()
    assert copy["resend_of"] == str(entry_id)


async def test_what_is_another_tenants_or_older_than_retention_is_not_there(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    stranger = bearer(await (await TenantFixture.build(tenant.runtime, "stranger")).token("administrator"))
    entry_id = await add_entry(tenant, status="FAILED")
    old = await add_entry(tenant, created_at=tenant.runtime.clock.now() - timedelta(days=200))
    assert await ids(client, stranger) == []
    assert await ids(client, administrator) == [str(entry_id)]
    assert (await client.get(f"{API}/{entry_id}", headers=stranger)).status_code == 404
    assert (await client.get(f"{API}/{old}", headers=administrator)).status_code == 404
    for action in ("retry", "resend", "cancel"):
        assert (await client.post(f"{API}/{entry_id}/{action}", headers=stranger)).status_code == 404
        answer = await client.post(
            f"{API}/actions", headers=stranger, json={"action": action, "entry_ids": [str(entry_id)]}
        )
        assert answer.status_code == 404
    assert (await columns_of(tenant, entry_id))["status"] == "FAILED"


async def test_actions_need_write_and_a_status_that_allows_them(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    auditor = bearer(await tenant.token("auditor"))
    failed = await add_entry(tenant, status="FAILED")
    sent = await add_entry(tenant)
    scheduled = await add_entry(tenant, status="SCHEDULED")
    for action, wrong, right in (("retry", sent, failed), ("resend", failed, sent), ("cancel", sent, scheduled)):
        assert (await client.post(f"{API}/{right}/{action}", headers=auditor)).status_code == 403
        refused = await client.post(f"{API}/{wrong}/{action}", headers=administrator)
        assert refused.status_code == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["detail"].endswith(".")
        done = await client.post(f"{API}/{right}/{action}", headers=administrator)
        assert done.status_code == 200, done.text
        assert done.json()["done"] is True
    assert (await columns_of(tenant, failed))["status"] == "RETRYING"
    assert (await columns_of(tenant, scheduled))["status"] == "CANCELLED"


async def test_the_same_request_sends_once_more_once(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    entry_id = await add_entry(tenant)
    order = {"request_id": str(uuid4())}
    answers = [await client.post(f"{API}/{entry_id}/resend", headers=administrator, json=order) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    copies = {one.json()["new_entry_id"] for one in answers}
    assert len(copies) == 1
    assert set(await ids(client, administrator)) == {str(entry_id), *copies}
    copy = await columns_of(tenant, UUID(copies.pop()))
    assert (copy["resend_of"], copy["recipient"], copy["listed"]) == (entry_id, "ada@example.com", True)


async def test_several_at_once_are_told_one_by_one(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    failed, sent = await add_entry(tenant, status="FAILED"), await add_entry(tenant)
    order = {"action": "retry", "entry_ids": [str(sent), str(failed), str(uuid4())]}
    answer = await client.post(f"{API}/actions", headers=administrator, json=order)
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [one["done"] for one in items] == [False, True, False]
    assert all(one["said"] for one in items)
    for wrong in (
        {"action": "retry", "entry_ids": []},
        {"action": "retry", "entry_ids": [str(uuid4()) for _ in range(MOST_AT_ONCE + 1)]},
        {"action": "delete", "entry_ids": [str(sent)]},
        {"action": "retry", "entry_ids": ["no id"]},
        {"action": "retry"},
        {"action": "retry", "entry_ids": [str(sent)], "more": 1},
    ):
        refused = await client.post(f"{API}/actions", headers=administrator, json=wrong)
        assert refused.status_code == 422, wrong


async def rows_of(client: httpx.AsyncClient, headers: dict[str, str], kind: str, query: str = "") -> list[Any]:
    answer = await client.get(f"{API}/export?format={kind}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].startswith('attachment; filename="outbox-')
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    if kind == "jsonl":
        return [json.loads(line) for line in answer.text.splitlines()]
    table: Any = pq.read_table(io.BytesIO(answer.content))
    return list(table.to_pylist())


async def test_the_list_is_exported_in_each_format(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dragoman.services.exports.export_outbox.BATCH", 2)
    made = [str(await add_entry(tenant, subject="=1+1")) for _ in range(5)]
    await add_entry(tenant, status="FAILED")
    names = [column.name for column in OUTBOX_ENTRY]
    for kind in ("csv", "jsonl", "parquet"):
        rows = await rows_of(client, administrator, kind, "&status=SENT")
        assert {row["outbox_entry_id"] for row in rows} == set(made)
        assert len(rows) == len(made)
        assert list(rows[0]) == names
    assert (await rows_of(client, administrator, "csv", "&status=SENT"))[0]["subject"] == "'=1+1"
    for query in ("", "?format=bundle", "?format=csv&sort=sent", "?format=csv&status=NOPE"):
        assert (await client.get(f"{API}/export{query}", headers=administrator)).status_code == 422
    developer = bearer(await tenant.token("developer"))
    assert (await client.get(f"{API}/export?format=csv", headers=developer)).status_code == 403


PHONE, ADDRESS = "+436601234567", "ada.lovelace@example.com"


async def furnish_masked(tenant: TenantFixture) -> tuple[UUID, UUID]:
    """A mail and a template in which number and address stand wherever they may stand."""
    session_id = await tenant.session(contact_phone=PHONE, contact_name=PHONE)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", session_id)
    reason = f"<{ADDRESS.upper()}> is not known, nor is {PHONE}"
    before = tenant.runtime.clock.now() - timedelta(minutes=1)
    mail = await add_entry(
        tenant, recipient=ADDRESS, subject=f"For {ADDRESS} at {PHONE}", status="FAILED", reason=reason,
        session_id=session_id, contact_id=contact_id, created_at=before, attempts=1,
        content={"kind": "text", "body": f"Call {PHONE}"},
        email=composed(f"For {ADDRESS}", html=f"<p>{ADDRESS}, {PHONE}</p>", text=f"{ADDRESS}, 0660 1234567"),
    )  # fmt: skip
    await add_attempt(tenant, mail, 1, "refused", http_status=550, answer={"said": reason, "to": [ADDRESS]})
    template = await add_entry(
        tenant, recipient=PHONE.removeprefix("+"), recipient_kind="wa_id", channel="whatsapp", email=None,
        content=template_content(rendered=f"We call {PHONE}"), reason=f"no answer of {PHONE}", created_at=before,
        subject="order_update",
    )  # fmt: skip
    await add_attempt(tenant, template, 1, "accepted", answer={"contacts": [{"input": PHONE, "wa_id": PHONE[1:]}]})
    return mail, template


def leaks(text: str) -> list[str]:
    """What of the number and the address can be read."""
    digits = "".join(c for c in text if c.isdigit())
    return [one for one in (ADDRESS, "ada.lovelace") if one in text.lower()] + (
        ["number"] if "6601234567" in digits else []
    )


async def test_whoever_sees_no_numbers_sees_no_recipients(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    mail, template = await furnish_masked(tenant)
    masked, whole = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    for path in ("", f"/{mail}", f"/{template}", "/export?format=csv", "/export?format=jsonl"):
        answer = await client.get(f"{API}{path}", headers=masked)
        assert answer.status_code == 200, answer.text
        assert leaks(answer.text) == [], path
        assert leaks((await client.get(f"{API}{path}", headers=whole)).text), path
    shown = (await client.get(f"{API}/{mail}", headers=masked)).json()
    assert shown["recipient"] == "a••••••@example.com"
    assert shown["attempt_log"][0]["answer"]["said"].startswith("<a••••••@example.com> is not known")
    # A beginning is no address: by trying one after the other it could be found.
    assert await ids(client, masked, "?recipient=ada.l") == []
    assert await ids(client, whole, "?recipient=ada.l") == [str(mail)]
    assert await ids(client, masked, f"?recipient={ADDRESS}") == [str(mail)]


async def test_what_a_trigger_filled_in_shows_no_number_of_anybody(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    """It may go to somebody who is no contact, and be about one."""
    body = json.dumps({"data": {"contact_phone": PHONE, "contact_email": ADDRESS, "agent": "bo@example.com"}})
    about = f"{PHONE} ({ADDRESS}) waits"
    entries = [
        await add_entry(
            tenant, recipient="erp.example", recipient_kind="host", channel="webhook", email=None, subject=about,
            content={"kind": "text", "body": body}, trigger_name="tell_erp",
        ),
        await add_entry(
            tenant, recipient="ops@example.com", subject=about, content={"kind": "text", "body": about},
            email=composed(about, html=f"<p>{about}</p>", text=about), trigger_name="tell_ops", reason=about,
        ),
    ]  # fmt: skip
    masked, whole = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    for path in ("", "/export?format=jsonl", *(f"/{entry}" for entry in entries)):
        answer = await client.get(f"{API}{path}", headers=masked)
        assert leaks(answer.text) == [], path
        assert leaks((await client.get(f"{API}{path}", headers=whole)).text), path
    assert "bo@example.com" not in (await client.get(f"{API}/{entries[0]}", headers=masked)).text
    detail = (await client.get(f"{API}/{entries[1]}", headers=masked)).json()
    assert detail["recipient"] == "o••••••@example.com"


async def test_recipients_are_tried_so_often_and_no_more(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    masked = bearer(await tenant.token("analyst"))
    found = [
        (await client.get(f"{API}?recipient=43660{number:07}", headers=masked)).status_code for number in range(70)
    ]
    assert found[0] == 200
    assert found[-1] == 429


async def test_what_is_read_and_taken_away_is_on_record(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    entry_id = await add_entry(tenant)
    await ids(client, administrator, "?status=SENT&recipient=ada@example.com")
    await client.get(f"{API}/{entry_id}", headers=administrator)
    await client.get(f"{API}/export?format=csv", headers=administrator)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        reads = {
            row["action"]: row["detail"] for row in await connection.fetch("SELECT action, detail FROM access_record")
        }
        taken = await connection.fetchrow("SELECT after FROM administrator_action WHERE action = 'outbox.exported'")
    assert reads["outbox.listed"] == {"status": "SENT", "recipient": "ada@example.com"}
    assert reads["outbox_entry.opened"] == {"outbox_entry_id": str(entry_id)}
    assert taken is not None
    assert taken["after"] == {"format": "csv", "masked": False, "filters": {}}


async def test_a_role_that_may_write_and_sees_no_numbers_may_act(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        granted = {"communications.access:read", "communications.access:write"}
        await roles.add(connection, tenant.tenant_id, "mailer", granted, now=tenant.runtime.clock.now())
    headers = bearer(await tenant.token("mailer"))
    mail, _ = await furnish_masked(tenant)
    answer = await client.post(f"{API}/{mail}/retry", headers=headers)
    assert answer.status_code == 200, answer.text
    assert leaks(answer.text) == []
