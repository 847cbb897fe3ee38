"""The Email tab without a browser: what it shows, what can be done on it, and to whom."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.outbox_status import OutboxStatus
from dragoman.store.sending.outbox_list import OutboxSort
from dragoman.web.console import wording
from dragoman.web.console.outbox import PAGE_SIZE, server_words
from dragoman.web.http.middleware import CONTENT_SECURITY_POLICY

from .outbox_fixture import add_attempt, add_entry, columns_of, composed, template_content
from .tenant_fixture import TenantFixture, bearer
from .test_outbox_api import furnish_masked, leaks

LOGS = "/communications/automation/logs"
TAB = f"{LOGS}?tab=email"
ENTRY = f"{LOGS}/email"


@pytest.fixture
async def administrator(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


async def page(client: httpx.AsyncClient, headers: dict[str, str], address: str, status: int = 200) -> str:
    answer = await client.get(address, headers=headers)
    assert answer.status_code == status, answer.text[:500]
    return answer.text


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def shown(html: str) -> set[str]:
    """The entries whose rows stand there."""
    return set(re.findall(r'<tr role="row" id="row-([0-9a-f-]{36})"', html))


def form_of(html: str, *, drawer: bool, action: str = "") -> dict[str, str]:
    """The hidden fields of a form as the page has it."""
    kind = "drawer" if drawer else "list"
    for form in re.findall(rf'<form[^>]*data-entry-act="{kind}".*?</form>', html, re.DOTALL):
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        if not drawer or fields["action"] == action:
            return fields
    raise AssertionError(action)


def test_every_status_and_every_order_has_words() -> None:
    assert set(wording.ENTRY_STATUSES) == set(OutboxStatus)
    assert [OutboxSort(sort) for sort in ("-created", "-sent", "sent")] == list(OutboxSort)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, ""),
        ("250 Ok", "250 Ok"),
        ({"said": "550 No such user"}, "550 No such user"),
        ({"error": {"code": 131026, "message": "Message undeliverable"}}, "Message undeliverable"),
        ({"reason": "timed out", "may_have_arrived": True}, "timed out"),
        ({"messages": [{"id": "wamid.X"}]}, '{"messages": [{"id": "wamid.X"}]}'),
        ([1], "[1]"),
        ({"message": "x" * 2000}, "x" * 1000 + "…"),
    ],
)
def test_a_servers_words_are_taken_out_of_its_answer(answer: object, said: str) -> None:
    assert server_words(answer) == said


async def test_an_empty_outbox_says_what_will_stand_there(
    client: httpx.AsyncClient, administrator: dict[str, str]
) -> None:
    html = await page(client, administrator, TAB)
    assert "No automation deliveries yet" in html
    assert "No entries match these filters" in await page(client, administrator, f"{TAB}&status=FAILED")


async def test_a_row_says_what_was_sent_to_whom_and_how_it_stands(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    session_id = await tenant.session(contact_name="Ada Lovelace")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", session_id)
    await add_entry(tenant, status="SKIPPED", reason="The contact has no email address.", recipient="")
    await add_entry(tenant, possible_duplicate=True)
    await add_entry(
        tenant, status="PENDING", channel="whatsapp", recipient="436601234567", recipient_kind="wa_id",
        contact_id=contact_id, session_id=session_id, trigger_name="", subject="order_update",
    )  # fmt: skip
    await add_entry(tenant, trigger_name="", by_agent=True, status="SCHEDULED")
    html = await page(client, administrator, TAB)
    words = text_of(html)
    for said in (
        "The contact has no email address.", "May have arrived twice", "Bot reply", "Agent reply", "order.shipped",
        "Skipped", "Sent", "Pending", "Scheduled", "order_update", "Ada Lovelace", "WhatsApp", "4 shown, newest first",
    ):  # fmt: skip
        assert said in words, said
    assert f'href="{LOGS}/{session_id}"' in html
    # What the other tab is narrowed to is not carried over.
    assert f'href="{LOGS}"' in html


async def test_filters_stand_in_the_address_and_can_be_taken_away_one_by_one(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    failed = str(await add_entry(tenant, status="FAILED"))
    sent = str(await add_entry(tenant))
    await add_entry(tenant, status="CANCELLED")
    for query in ("status=FAILED&status=SENT", "status=FAILED,SENT"):
        html = await page(client, administrator, f"{TAB}&{query}&channel=email")
        assert shown(html) == {failed, sent}
        assert f'href="{TAB}&amp;status=SENT&amp;channel=email"' in html
        assert f'href="{TAB}&amp;status=FAILED,SENT"' in html
        assert f"{ENTRY}/{failed}?status=FAILED,SENT&amp;channel=email" in html
    for query, why in {
        "status=NOPE": "Allowed values: SCHEDULED",
        "channel=fax": "Channel: not an allowed value",
        "from=soon": "From: use a day",
        "session=x": "Session: enter a conversation’s ID",
        "sort=up": "Sort: not an allowed value",
        "cursor=AAAA": "This page of the list no longer exists",
        f"recipient={'x' * 400}": "Recipient: at most",
        "trigger=%00": "must not contain",
    }.items():
        html = await page(client, administrator, f"{TAB}&{query}", 422)
        assert why in text_of(html), query
        assert "Clear all filters" in html


async def test_pages_and_the_order_by_sending(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    now = tenant.runtime.clock.now()
    made = {str(await add_entry(tenant, created_at=now - timedelta(seconds=n))) for n in range(PAGE_SIZE + 3)}
    for sort in ("", "&sort=-sent", "&sort=sent"):
        first = await page(client, administrator, TAB + sort)
        (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
        second = await page(client, administrator, following.replace("&amp;", "&"))
        assert len(shown(first)) == PAGE_SIZE
        assert shown(first) | shown(second) == made
    assert 'aria-sort="descending"' in await page(client, administrator, f"{TAB}&sort=-sent")
    assert 'aria-sort="ascending"' in await page(client, administrator, f"{TAB}&sort=sent")


async def test_a_mail_is_shown_in_a_frame_that_can_do_nothing(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    file = {"filename": "invoice.pdf", "mime_type": "application/pdf", "size": 12345, "sha256": "ab" * 32}
    entry_id = await add_entry(
        tenant, email=composed(attachments=[file]), attempts=1, possible_duplicate=True,
        created_at=tenant.runtime.clock.now() - timedelta(minutes=1),
    )  # fmt: skip
    await add_attempt(tenant, entry_id, 1, "accepted", http_status=250, answer={"said": "2.0.0 queued as 4F"})
    copy_id = await add_entry(tenant, resend_of=entry_id)
    answer = await client.get(f"{ENTRY}/{entry_id}", headers=administrator)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == f"{CONTENT_SECURITY_POLICY}; frame-src 'self'"
    html = answer.text
    assert 'sandbox=""' in html
    assert f'src="{ENTRY}/{entry_id}/message"' in html
    assert "Your order <b>VF-1</b>" not in html
    words = text_of(html)
    for said in ("invoice.pdf", "12 kB", "2.0.0 queued as 4F", "250", "Accepted", "order_shipped", "Sent again as"):
        assert said in words, said
    assert f"{ENTRY}/{copy_id}" in html
    assert f"{ENTRY}/{entry_id}" in await page(client, administrator, f"{ENTRY}/{copy_id}")
    message = await client.get(f"{ENTRY}/{entry_id}/message", headers=administrator)
    assert "Your order <b>VF-1</b>" in message.text
    policy = message.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "img-src data:", "form-action 'none'", "frame-ancestors 'self'", "sandbox"} <= {
        *policy
    }
    assert not any(part.startswith("script-src") for part in policy)
    assert message.headers["cache-control"] == "no-store"
    # Nowhere else a page may have frames.
    for address in (LOGS, "/access-log"):
        other = await client.get(address, headers=administrator)
        assert other.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


async def test_what_is_no_html_is_text_or_a_bubble(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    plain = await add_entry(tenant, email=composed(html=None, text="<script>alert(1)</script>"))
    template = await add_entry(tenant, email=None, channel="whatsapp", content=template_content(rendered="Hello <b>"))
    options = {"kind": "options", "body": "Which?", "options": [{"id": "1", "title": "This one"}]}
    reply = await add_entry(tenant, email=None, content=options, trigger_name="")
    nothing = await add_entry(tenant, email=None, content={})
    for entry_id, said in (
        (plain, "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (template, "Hello &lt;b&gt;"),
        (reply, "This one"),
        (nothing, "No content to show."),
    ):
        html = await page(client, administrator, f"{ENTRY}/{entry_id}")
        assert said in html
        assert "<iframe" not in html
        assert (await client.get(f"{ENTRY}/{entry_id}/message", headers=administrator)).status_code == 404


async def test_what_is_not_there(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    stranger = bearer(await (await TenantFixture.build(tenant.runtime, "stranger")).token("administrator"))
    entry_id = await add_entry(tenant)
    for headers, wanted in ((stranger, entry_id), (administrator, uuid4())):
        for path in ("", "/message"):
            assert (await client.get(f"{ENTRY}/{wanted}{path}", headers=headers)).status_code == 404
        assert shown(await page(client, headers, f"{ENTRY}/rows?ids={wanted}")) == set()
    assert shown(await page(client, administrator, f"{ENTRY}/rows?ids={entry_id}")) == {str(entry_id)}
    for wrong in ("nonsense", ",".join(str(uuid4()) for _ in range(101))):
        await page(client, administrator, f"{ENTRY}/rows?ids={wrong}", 422)


async def test_fragments_are_what_was_asked_for(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    entry_id = await add_entry(tenant)

    def part(target: str) -> dict[str, str]:
        return {**administrator, "HX-Request": "true", "HX-Target": target}

    assert await page(client, part("aside#drawer"), TAB) == ""
    listed = await page(client, part("section#outbox"), TAB)
    assert listed.lstrip().startswith('<section id="outbox"')
    drawer = await page(client, part("aside#drawer"), f"{ENTRY}/{entry_id}")
    assert drawer.lstrip().startswith('<div class="dr entry"')
    assert shown(drawer) == set()


async def act(
    client: httpx.AsyncClient, headers: dict[str, str], action: str, *entry_ids: UUID, opened: UUID | None = None,
    request_id: UUID | None = None,
) -> httpx.Response:  # fmt: skip
    fields = {
        "action": action,
        "request_id": str(request_id or uuid4()),
        "entry_id": [str(one) for one in entry_ids],
        **({"opened": str(opened)} if opened else {}),
    }
    return await client.post(f"{ENTRY}/actions?status=FAILED,SENT,RETRYING", headers=headers, data=fields)


async def test_an_action_on_one_says_what_happened_and_shows_the_new_state(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    cases: dict[str, tuple[str, str, str]] = {
        "retry": ("FAILED", "RETRYING", "It is being tried again"),
        "cancel": ("SCHEDULED", "CANCELLED", "It is cancelled"),
        "resend": ("SENT", "SENT", "It is being sent once more"),
    }
    for action, (before, after, said) in cases.items():
        entry_id = await add_entry(tenant, status=before)
        fields = form_of(await page(client, administrator, f"{ENTRY}/{entry_id}"), drawer=True, action=action)
        assert fields["entry_id"] == fields["opened"] == str(entry_id)
        answers = [await client.post(f"{ENTRY}/actions", headers=administrator, data=fields) for _ in range(2)]
        assert answers[0].status_code == 200
        assert said in text_of(answers[0].text)
        assert (await columns_of(tenant, entry_id))["status"] == after
        label = wording.ENTRY_STATUSES[after].label
        assert re.search(rf'<span class="state [^"]*"><i></i>{label}</span>', answers[0].text)
        # A second click does nothing twice; where nothing was done, the status says so.
        assert answers[1].status_code == (200 if action == "resend" else 409)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox_entry WHERE resend_of IS NOT NULL") == 1


async def test_several_at_once_are_counted_and_what_was_left_says_why(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    failed = [await add_entry(tenant, status="FAILED") for _ in range(2)]
    sent = await add_entry(tenant, recipient="bo@example.com")
    answer = await act(client, administrator, "retry", *failed, sent)
    assert answer.status_code == 200
    words = text_of(answer.text)
    assert "2 entries are being retried." in words
    assert "1 entry was not changed: bo@example.com : Only what has failed is tried again" in words
    # The list is still the one that it was.
    assert shown(answer.text) == {str(one) for one in (*failed, sent)}
    nothing = await act(client, administrator, "cancel")
    assert nothing.status_code == 409
    assert "No entries are selected." in nothing.text
    assert (await act(client, administrator, "delete", sent)).status_code == 422
    assert (await act(client, administrator, "retry", uuid4())).status_code == 404


async def test_looking_is_not_acting(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    entry_id = await add_entry(tenant, status="FAILED")
    auditor = bearer(await tenant.token("auditor"))
    html = await page(client, auditor, f"{ENTRY}/{entry_id}")
    assert "data-entry-act" not in html
    assert "data-tick-entry" not in html
    assert (await act(client, auditor, "retry", entry_id)).status_code == 403
    developer = bearer(await tenant.token("developer"))
    assert (await client.get(f"{ENTRY}/export?format=csv", headers=developer)).status_code == 403
    assert "export-outbox" not in await page(client, developer, TAB)
    exported = await client.get(f"{ENTRY}/export?format=csv&status=FAILED", headers=auditor)
    assert str(entry_id) in exported.text
    for wrong in ("", "?format=bundle", "?format=csv&status=NOPE"):
        assert (await client.get(f"{ENTRY}/export{wrong}", headers=auditor)).status_code == 422


async def test_no_part_of_the_tab_shows_a_recipient_to_a_masked_role(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    mail, template = await furnish_masked(tenant)
    masked, whole = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    for address in (
        TAB, f"{ENTRY}/{mail}", f"{ENTRY}/{template}", f"{ENTRY}/{mail}/message", f"{ENTRY}/rows?ids={mail},{template}",
        f"{ENTRY}/export?format=csv",
    ):  # fmt: skip
        # The tenant's own number stands on the page; the entry's id has digits, too.
        assert leaks(await page(client, masked, address)) == [], address
        assert leaks(await page(client, whole, address)), address


async def test_a_conversation_leads_to_its_entries_where_it_has_some(
    client: httpx.AsyncClient, tenant: TenantFixture, administrator: dict[str, str]
) -> None:
    session_id, other = await tenant.session(), await tenant.session()
    entry_id = await add_entry(tenant, session_id=session_id)
    await add_entry(tenant)
    link = f"{TAB}&amp;session={session_id}"
    assert link in await page(client, administrator, f"{LOGS}/{session_id}")
    assert f"{TAB}&amp;session=" not in await page(client, administrator, f"{LOGS}/{other}")
    assert shown(await page(client, administrator, link.replace("&amp;", "&"))) == {str(entry_id)}
