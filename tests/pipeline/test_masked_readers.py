"""Who sees no phone numbers is shown no part of one, on any route, whatever numbers the contact has had.

The routes come from the application itself, and what is in their answers from real deliveries of a contact whose number
changed twice, and who writes all of them wherever a contact can. The names say which finding of the review is meant.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.store.accounts import roles, user_accounts
from dragoman.store.accounts.look_ups import MOST_A_MINUTE
from dragoman.store.accounts.roles import PERMISSIONS
from dragoman.store.database import Connection, owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.console.query import ADDRESS
from tests.db.tenant_fixture import TenantFixture, bearer
from tests.db.test_routes import one_of_everything, routes
from tests.harness import Harness
from tests.pipeline.test_identity import Chat

FIRST, SECOND, THIRD = "436609876543", "4917698798798", "393331479147"
NUMBERS = (FIRST, SECOND, THIRD)
LEAST = 5

WRITTEN = [
    f"+{FIRST}", f"00{SECOND}", "0660 / 98 76-543", "(0176) 987.987-98", "393 331479147", "the last digits are 76543",
    "9 1 7 6 9 8", "0660\u00a0987\u202f6543", "٦٦٠٩٨٧٦", "1476/9147 and 98.79.87",
]  # fmt: skip
"""Forms in which people write numbers, and parts of them."""

_OURS = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
    r"|masked-[0-9a-f]+|(?s:<svg.*?</svg>)|style=\"[^\"]*\"|[?&](?:amp;)?v=[0-9a-f]+|app-\w+\.\w+"
    r"|\"?(?:next_)?cursor\"?[=:]\s*\"?[\w-]+|csrf_token\" value=\"[^\"]*\""
    r"|data-since=\"[\w:-]*\""
)
"""Ids, digests, times, places in the feed, drawings and tokens of ours: their digits are nobody's number."""


def parts_shown(text: str) -> set[str]:
    """The parts of the contact's numbers that stand in the text, however they are split."""
    bare = "".join(str(int(c)) if c.isdecimal() else c for c in _OURS.sub("|", text))
    joined = re.sub(r"(?<=[0-9])[\s\-./()\u00a0\u202f+]+(?=[0-9])", "", bare)
    wanted = {number[at : at + LEAST] for number in NUMBERS for at in range(len(number) - LEAST + 1)}
    runs = re.findall(r"[0-9]{5,}", joined)
    return {run[at : at + LEAST] for run in runs for at in range(len(run) - LEAST + 1)} & wanted


@dataclass
class Furnished:
    """A tenant with such a contact, and those who look at it; ``masked`` may do all but see numbers."""

    shop: Harness
    tenant: TenantFixture
    client: httpx.AsyncClient
    masked: dict[str, str]
    person: dict[str, str]
    whole: dict[str, str]
    parameters: dict[str, str]
    sessions: list[UUID]


async def _role_that_sees_no_numbers(shop: Harness) -> str:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await roles.add(connection, shop.tenant_id, "blind", PERMISSIONS - {"audit.unmask"}, now=shop.clock.now())
    return "blind"


async def _conversations(shop: Harness) -> None:
    chat = Chat(shop)
    for old, new in ((None, FIRST), (FIRST, SECOND), (SECOND, THIRD)):
        if old is not None:
            await chat.send(chat.notice(old, type="user_changed_number", wa_id=new))
        for text in WRITTEN:
            await shop.send({"type": "text", "text": {"body": text}}, phone=new, name=f"Ana {FIRST}")
        content = await shop.upload(b"%PDF-1.4 nothing", "application/pdf")
        document = {
            "id": content,
            "mime_type": "application/pdf",
            "filename": f"{FIRST} {SECOND}.pdf",
            "caption": THIRD,
        }
        await shop.send({"type": "document", "document": document}, phone=new, name=f"Ana {FIRST}")
        await shop.settle()
        shop.clock.move(days=2)
    # What was given up is another person's by now, and nothing but the rows of before says whose it was.
    await shop.send({"type": "text", "text": {"body": "hello"}}, phone=SECOND, name="Bruno")
    await shop.settle()


async def _what_colleagues_left(shop: Harness, session_id: UUID, others: UUID) -> None:
    said = " ".join(WRITTEN)
    rows = [
        ("INSERT INTO review_note (tenant_id, session_id, note_id, author_name, body, written_at) "
         "VALUES ($1, $2, $3, 'Ada', $4, now())", (session_id, uuid4(), said)),
        ("INSERT INTO review_tag (tenant_id, tag, session_id, added_by, added_at) VALUES ($1, $3, $2, 'Ada', now())",
         (session_id, f"call {FIRST}")),
        ("INSERT INTO saved_view (tenant_id, view_id, user_id, name, query, shared, created_at) "
         "VALUES ($1, $2, $3, $4, $5, true, now()) ON CONFLICT DO NOTHING",
         (uuid4(), others, f"calls of {SECOND}", f"?phone={FIRST}")),
        ("INSERT INTO saved_view (tenant_id, view_id, user_id, name, query, shared, created_at) "
         "VALUES ($1, $2, $3, 'texts', $4, true, now()) ON CONFLICT DO NOTHING", (uuid4(), others, f"?q=call+{THIRD}")),
        ("INSERT INTO legal_hold (tenant_id, session_id, kept_since, reason, by_whom, at) "
         "VALUES ($1, $2, now(), $3, 'Ada', now())", (session_id, said)),
        ("INSERT INTO export_request (tenant_id, export_id, requested_name, requested_at, format, transcript, "
         "timeline, masked, filters) VALUES ($1, $2, 'Ada', now(), 'csv', false, false, true, $3)",
         (uuid4(), {"phone": FIRST, "tag": f"call {FIRST}"})),
        ("INSERT INTO failed_job (tenant_id, failed_job_id, entrypoint, key, attempts, first_failed_at, "
         "last_failed_at, retry_at, cause, given_up_at) "
         "VALUES ($1, $2, 'settle_contact', $3, 6, now(), now(), now(), $4, now())",
         (uuid4(), uuid4(), f"ValueError: {FIRST}")),
        ("INSERT INTO administrator_action (tenant_id, action_id, at, actor_name, action, object_kind, object_id, "
         "before, after) VALUES ($1, $2, now(), 'Ada', 'contact.erased', 'contact', $3, '{}', $4)",
         (uuid4(), SECOND, {"reason": said, "deep": [FIRST]})),
        ("UPDATE session SET outcome_reason = $3, agent_name = NULL WHERE tenant_id = $1 AND session_id = $2",
         (session_id, said)),
        ("UPDATE media_file SET state = 'failed', sha256 = NULL, reason = $3 WHERE tenant_id = $1 AND message_id IN "
         "(SELECT message_id FROM message WHERE session_id = $2 AND kind = 'media' ORDER BY ordinal OFFSET 1)",
         (session_id, said)),
        ("UPDATE outbox_entry SET status = 'FAILED', reason = $3 WHERE tenant_id = $1 AND session_id = $2",
         (session_id, said)),
    ]  # fmt: skip
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        for sql, values in rows:
            await connection.execute(sql, shop.tenant_id, *values)


@pytest.fixture
async def owner(database_urls: DatabaseURLs) -> AsyncIterator[Connection]:
    async with owner_connection(database_urls.owner) as connection:
        yield connection


@pytest.fixture
async def client(shop: Harness) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(shop.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://dragoman.test") as made:
        yield made


@pytest.fixture
async def furnished(shop: Harness, client: httpx.AsyncClient) -> Furnished:
    tenant = TenantFixture(shop.runtime, "shop", shop.tenant_id, shop.channel_account_id)
    await _conversations(shop)
    named = await one_of_everything(shop.runtime, tenant)
    blind = await _role_that_sees_no_numbers(shop)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        user = await user_accounts.create_user(
            connection, shop.tenant_id, user_id=uuid4(), email="b@shop.example", name="Blanche",
            password="correct horse battery staple", role=blind, now=shop.clock.now(),
        )  # fmt: skip
    rows = await shop.rows(
        "SELECT s.session_id, s.contact_id FROM session s JOIN contact c USING (tenant_id, contact_id) "
        "WHERE c.phone = $1 ORDER BY s.started_at",
        f"+{THIRD}",
    )
    sessions = [row["session_id"] for row in rows]
    for number in NUMBERS:
        before = await tenant.session(
            contact_id=rows[0]["contact_id"], contact_phone=f"+{number}", contact_name=f"Ana +{number}",
            last_user_message=" ".join(WRITTEN), last_activity_at=shop.clock.now(), message_count=1,
        )  # fmt: skip
        await tenant.message(before, 1, to_json(Text("digits " + " ".join(WRITTEN))), sender_name=number)
        sessions.append(before)
    for session_id in sessions:
        await _what_colleagues_left(shop, session_id, UUID(named["user_id"]))
    (message,) = await shop.rows(
        "SELECT message_id FROM message WHERE session_id = $1 AND kind = 'media' ORDER BY ordinal LIMIT 1", sessions[0]
    )
    return Furnished(
        shop=shop, tenant=tenant, client=client, masked=bearer(await tenant.token(blind)),
        person=await tenant.cookie(user),
        whole=bearer(await tenant.token("administrator")), sessions=sessions,
        parameters=named | {"session_id": str(sessions[0]), "message_id": str(message["message_id"])},
    )  # fmt: skip


def _text_of(answer: httpx.Response) -> str:
    """All that somebody can read of an answer: its head, and what is in it, unpacked."""
    head = " ".join(f"{name}: {value}" for name, value in answer.headers.items() if name not in {"content-length"})
    if answer.content[:2] != b"PK":
        return f"{head}\n{answer.text}"
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    inside = [f"{name}\n{packed.read(name).decode('utf-8', 'replace')}" for name in packed.namelist()]
    return "\n".join([head, *inside])


async def test_no_route_shows_a_masked_reader_a_part_of_any_number(furnished: Furnished) -> None:
    """M1 and M2: rows, texts, snippets, notes, tags, views, file names, raw items, errors, exports."""
    shop, asked, shown_to_others = furnished.shop, 0, 0
    found = sorted(routes(shop.app), key=lambda route: (route.method != "GET", route.path))
    extra = [
        f"{ADDRESS}?q=digits", f"{ADDRESS}?q=hello&state=OPEN", f"{ADDRESS}/rows?q=digits",
        f"{ADDRESS}/{{session_id}}?view=full", f"{ADDRESS}/{{session_id}}/text?timeline=1",
        f"{ADDRESS}/{{session_id}}/transcript?from=first", f"{ADDRESS}?cols=contact,session,channel,last,agent",
        "/api/v1/conversations?q=digits", "/api/v1/conversations/export?format=csv",
        "/api/v1/conversations/export?format=csv&transcript=true&timeline=true",
        "/api/v1/conversations/export?format=bundle", "/api/v1/conversations/export?format=jsonl&transcript=true",
    ]  # fmt: skip
    for session_id in reversed(furnished.sessions):
        named = furnished.parameters | {"session_id": str(session_id)}
        safe = [route.address(named) for route in found if route.method == "GET"]
        safe += [address.format(**named) for address in extra]
        for address in safe:
            for headers in (furnished.masked, furnished.person, {**furnished.masked, "HX-Target": "div#drawer"}):
                answer = await furnished.client.get(address, headers={"HX-Request": "true", **headers})
                assert answer.status_code < 500, address
                assert parts_shown(_text_of(answer)) == set(), address
                asked += answer.status_code == 200
            answer = await furnished.client.get(address, headers=furnished.whole)
            shown_to_others += bool(parts_shown(_text_of(answer)))
    for route in found:
        if route.method != "GET":
            answer = await furnished.client.request(
                route.method, route.address(furnished.parameters), headers=furnished.masked
            )
            assert parts_shown(_text_of(answer)) == set(), route
    assert asked > 100
    assert shown_to_others > 30


async def test_m1_an_old_number_is_masked_after_retention_took_the_history(
    furnished: Furnished, owner: Connection
) -> None:
    await owner.execute("DELETE FROM contact_history")
    for address in (ADDRESS, "/api/v1/conversations", *(f"/api/v1/conversations/{s}" for s in furnished.sessions)):
        answer = await furnished.client.get(address, headers=furnished.masked)
        assert "••••••" in answer.text
        assert parts_shown(answer.text) == set(), address


async def test_m2_a_shared_view_that_looks_for_a_number_is_named_and_not_shown(furnished: Furnished) -> None:
    page = (await furnished.client.get(ADDRESS, headers=furnished.person)).text
    assert "searches for a number" in page
    assert "calls of ••••••" in page
    assert "?phone=" not in page


async def test_m2_a_note_tells_by_no_mask_which_digits_are_right(furnished: Furnished) -> None:
    note = {"body": f"guess {FIRST[:6]} or 112233 or 42 17"}
    address = f"/api/v1/conversations/{furnished.sessions[0]}/review"
    written = await furnished.client.post(f"{address}/notes", json=note, headers=furnished.masked)
    assert written.status_code == 201
    shown = (await furnished.client.get(address, headers=furnished.masked)).json()["notes"]
    assert shown[-1]["body"] == "guess •••••• or •••••• or 42 17"
    assert (await furnished.client.get(address, headers=furnished.whole)).json()["notes"][-1]["body"] == note["body"]


async def test_h2_no_number_is_recovered_by_searching_for_its_digits(furnished: Furnished) -> None:
    client, found = furnished.client, "/api/v1/conversations"
    everything = {item["session_id"] for item in (await client.get(found, headers=furnished.masked)).json()["items"]}
    blocks = [
        "98",
        "543",
        "76543",
        "0660",
        f"{FIRST}",
        "9*",
        "0660987*",
        '"98 76"',
        "987.987",
        "٧٦٥٤٣",
        "x76543",
        "-98",
    ]
    for block in blocks:
        answer = (await client.get(found, params={"q": block}, headers=furnished.masked)).json()
        assert (answer["items"], answer["numbers_left_out"]) == ([], True), block
        # Nor does it make a difference beside other words.
        with_it = (await client.get(found, params={"q": f"digits {block}"}, headers=furnished.masked)).json()
        without = (await client.get(found, params={"q": "digits"}, headers=furnished.masked)).json()
        assert [i["session_id"] for i in with_it["items"]] == [i["session_id"] for i in without["items"]], block
        page = await client.get(ADDRESS, params={"q": block}, headers=furnished.masked)
        assert "Numbers were left out of the search" in page.text
    named = (await client.get(found, params={"q": "ana digits"}, headers=furnished.masked)).json()
    assert {item["session_id"] for item in named["items"]} <= everything
    assert (await client.get(found, params={"q": "digits"}, headers=furnished.masked)).json()["items"] != []
    assert (await client.get(found, params={"q": "76543"}, headers=furnished.whole)).json()["items"] != []


async def test_h2_looking_for_numbers_is_limited_for_each_masked_reader(furnished: Furnished) -> None:
    client, path = furnished.client, "/api/v1/conversations"

    async def look(phone: str, headers: dict[str, str], address: str = path, name: str = "phone") -> httpx.Response:
        return await client.get(address, params={name: phone}, headers=headers)

    for number in range(MOST_A_MINUTE):
        kind = ("phone", "business_partner", "tag")[number % 3]
        assert (await look(f"4366011{number:05}", furnished.masked, name=kind)).status_code == 200
    refused = await look("436601234567", furnished.masked)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert "numbers a minute" in refused.json()["detail"]
    again = await look("436601234567", furnished.masked)
    assert again.status_code == 429, "what was refused is not let through when it is asked for twice"
    assert (await look("436601100000", furnished.masked)).status_code == 200, "the same again shows nothing new"
    assert "numbers a minute" in (await look("436601234567", furnished.masked, ADDRESS)).text
    for export in (f"{path}/export?format=csv&phone=4366098", f"{ADDRESS}/export/count?phone=4366098"):
        assert (await client.get(export, headers=furnished.masked)).status_code == 429
    assert (await client.get(path, headers=furnished.masked)).status_code == 200
    for number in range(MOST_A_MINUTE + 2):
        assert (await look(f"4366011{number:05}", furnished.whole)).status_code == 200
    assert (await look("436601234567", furnished.person)).status_code == 200, "each reader has their own"
    furnished.shop.clock.move(seconds=61)
    assert (await look("436601234567", furnished.masked)).status_code == 200


async def test_the_simulator_is_refused_to_who_sees_no_numbers(furnished: Furnished) -> None:
    refused = await furnished.client.get("/simulator", headers=furnished.masked)
    assert refused.status_code == 403
    assert "phone numbers" in refused.json()["detail"]
    assert (await furnished.client.get("/simulator", headers=furnished.whole)).status_code == 200
