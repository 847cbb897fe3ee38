"""Notes, tags and the reviewed mark: who may, what stays, and that the record is not touched."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from dragoman.store import reviews
from dragoman.store.accounts import roles, user_accounts
from dragoman.store.reviews import UnusableReviewError

from .tenant_fixture import TenantFixture, bearer

LOGS = "/communications/automation/logs"
API = "/api/v1/conversations"


class Desk:
    """Somebody in front of the page, with the form's token."""

    def __init__(self, tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]) -> None:
        self.tenant, self.client, self.cookie = tenant, client, cookie

    async def post(self, path: str, token: str | None = None, **fields: str) -> httpx.Response:
        headers = self.cookie | {"HX-Request": "true", "HX-Target": "section#review"}
        fields["csrf_token"] = await self.token() if token is None else token
        return await self.client.post(f"{LOGS}/{path}", headers=headers, data=fields)

    async def token(self) -> str:
        page = await self.client.get(LOGS, headers=self.cookie)
        found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert found
        return found.group(1)


async def desk(tenant: TenantFixture, client: httpx.AsyncClient, role: str) -> tuple[Desk, user_accounts.User]:
    user = await tenant.user(role)
    return Desk(tenant, client, await tenant.cookie(user)), user


async def rows(tenant: TenantFixture, table: str) -> list[asyncpg.Record]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return list(await connection.fetch(f"SELECT * FROM {table}"))


async def test_a_reviewer_writes_tags_and_marks_on_the_page(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    ana, _ = await desk(tenant, client, "administrator")
    session_id = await tenant.session()
    before = await rows(tenant, "session")
    answer = await ana.post(f"{session_id}/notes", body="<b>looks wrong</b>\r\nsee ticket 7")
    assert answer.status_code == 200
    assert "&lt;b&gt;looks wrong&lt;/b&gt;\nsee ticket 7" in answer.text
    assert 'data-said="Note added"' in answer.text
    answer = await ana.post(f"{session_id}/tags", add="  Wrong   Answer ")
    assert ">wrong answer</a>" in answer.text
    assert '<option value="wrong answer">' in answer.text
    answer = await ana.post(f"{session_id}/reviewed", mark="yes")
    assert "Reviewed by Administrator" in answer.text
    answer = await ana.post(f"{session_id}/tags", remove="wrong answer")
    assert ">wrong answer</a>" not in answer.text
    (note,) = await rows(tenant, "review_note")
    answer = await ana.post(f"{session_id}/notes/{note['note_id']}/delete")
    assert "looks wrong" not in answer.text
    assert "was deleted by Administrator" in answer.text
    answer = await ana.post(f"{session_id}/reviewed", mark="no")
    assert "Reviewed by" not in answer.text
    # All of that is beside the record.
    assert await rows(tenant, "session") == before
    assert await rows(tenant, "audit_event") == []


async def test_what_cannot_be_taken_is_said_where_it_was_written(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    ana, _ = await desk(tenant, client, "administrator")
    session_id = await tenant.session()
    for path, fields in (
        ("notes", {"body": "  \n "}),
        ("notes", {"body": "x" * 4001}),
        ("notes", {"body": "bell\x07"}),
        ("tags", {"add": "a,b"}),
        ("tags", {"add": "-x"}),
        ("tags", {"add": "y" * 41}),
    ):
        answer = await ana.post(f"{session_id}/{path}", **fields)
        assert answer.status_code == 422, fields
        assert 'id="review-mistake"' in answer.text
    assert await rows(tenant, "review_note") == await rows(tenant, "review_tag") == []


async def test_readers_read_and_do_not_write(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    ana, _ = await desk(tenant, client, "administrator")
    rui, _ = await desk(tenant, client, "analyst")
    session_id = await tenant.session()
    await ana.post(f"{session_id}/notes", body="for the reader's eyes")
    page = await client.get(f"{LOGS}/{session_id}", headers=rui.cookie)
    assert "for the reader" in page.text
    assert 'id="add-note"' not in page.text
    assert (await rui.post(f"{session_id}/notes", body="me too")).status_code == 403
    token = bearer(await tenant.token("analyst"))
    assert (await client.get(f"{API}/{session_id}/review", headers=token)).json()["notes"][0]["author"]
    assert (await client.put(f"{API}/{session_id}/review/reviewed", headers=token)).status_code == 403


async def test_auditors_review_and_change_nothing_else(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    rui, _ = await desk(tenant, client, "auditor")
    session_id = await tenant.session()
    for path, fields in (("notes", {"body": "odd"}), ("tags", {"add": "odd"}), ("reviewed", {"mark": "yes"})):
        assert (await rui.post(f"{session_id}/{path}", **fields)).status_code == 200
    assert [len(await rows(tenant, name)) for name in ("review_note", "review_tag", "review_mark")] == [1, 1, 1]
    assert 'id="add-note"' in (await client.get(f"{LOGS}/{session_id}", headers=rui.cookie)).text
    assert (await client.get("/simulator", headers=rui.cookie)).status_code == 403


@pytest.mark.parametrize(
    ("own", "reviews"), [(["communications.access:write"], True), (["communications.access:read"], False)]
)
def test_a_role_from_before_reviews_had_their_own_permission_goes_on_reviewing(own: list[str], reviews: bool) -> None:
    assert ("communications.reviews:write" in roles.granted("own", own)) is reviews


async def test_a_forged_form_is_refused(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    ana, _ = await desk(tenant, client, "administrator")
    session_id = await tenant.session()
    for path in ("notes", "tags", "reviewed", f"notes/{uuid4()}/delete"):
        assert (await ana.post(f"{session_id}/{path}", token="forged", body="x", add="x")).status_code == 403
    assert await rows(tenant, "review_mark") == []


async def test_the_api_does_the_same(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    token = bearer(await tenant.token("administrator"))
    session_id = await tenant.session()
    base = f"{API}/{session_id}/review"
    written = await client.post(f"{base}/notes", headers=token, json={"body": "from a script"})
    assert written.status_code == 201
    for method, path, status in (
        ("PUT", "/tags/Billing: EU", 204),
        ("PUT", "/tags/billing: eu", 204),
        ("PUT", "/tags/%2Cno", 422),
        ("PUT", "/reviewed", 204),
        ("PUT", "/reviewed", 204),
    ):
        assert (await client.request(method, base + path, headers=token)).status_code == status, path
    found = (await client.get(base, headers=token)).json()
    assert [tag["tag"] for tag in found["tags"]] == ["billing: eu"]
    assert found["reviewed"]["by"] == "administrator's script"
    assert [note["body"] for note in found["notes"]] == ["from a script"]
    note = f"{base}/notes/{written.json()['note_id']}"
    assert (await client.delete(note, headers=token)).status_code == 204
    assert (await client.delete(note, headers=token)).status_code == 404
    assert (await client.delete(f"{base}/tags/billing: eu", headers=token)).status_code == 204
    assert (await client.delete(f"{base}/reviewed", headers=token)).status_code == 204
    found = (await client.get(base, headers=token)).json()
    assert (found["tags"], found["reviewed"]) == ([], None)
    assert [(note["body"], note["deleted_by"]) for note in found["notes"]] == [(None, "administrator's script")]
    for body in ({}, {"body": ""}, {"body": "x", "more": 1}, {"body": "\0"}):
        assert (await client.post(f"{base}/notes", headers=token, json=body)).status_code == 422, body


async def test_conversations_of_others_are_not_there(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    other = await TenantFixture.build(tenant.runtime, "other")
    theirs = await other.session()
    token = bearer(await tenant.token("administrator"))
    assert (await client.get(f"{API}/{theirs}/review", headers=token)).status_code == 404
    assert (await client.post(f"{API}/{theirs}/review/notes", headers=token, json={"body": "x"})).status_code == 404
    ana, _ = await desk(tenant, client, "administrator")
    assert (await ana.post(f"{theirs}/tags", add="x")).status_code == 404
    assert await rows(other, "review_tag") == []


async def test_only_administrators_delete_what_others_wrote(tenant: TenantFixture) -> None:
    session_id, mine, theirs = await tenant.session(), uuid4(), uuid4()
    author = reviews.Author(user_id=uuid4(), name="Rui")
    script = reviews.Author(user_id=None, name="a script")
    now = tenant.runtime.clock.now()
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for note_id, by in ((mine, author), (theirs, script)):
            await reviews.write_note(connection, tenant.tenant_id, session_id, "x", by, note_id=note_id, now=now)

        async def delete(note_id: UUID, by: reviews.Author, *, of_anybody: bool = False) -> bool:
            return await reviews.delete_note(
                connection, tenant.tenant_id, session_id, note_id, by, of_anybody=of_anybody, now=now
            )

        assert not await delete(theirs, author)
        # A token is nobody in particular: what it wrote is not its own.
        assert not await delete(theirs, script)
        assert await delete(mine, author)
        assert await delete(theirs, author, of_anybody=True)


async def test_a_session_has_a_bounded_number_of_tags(tenant: TenantFixture) -> None:
    session_id, now = await tenant.session(), tenant.runtime.clock.now()
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for number in range(reviews.MOST_TAGS):
            await reviews.add_tag(connection, tenant.tenant_id, session_id, f"t{number:02d}", "Rui", now=now)
        await reviews.add_tag(connection, tenant.tenant_id, session_id, "t07", "Mei", now=now)
        with pytest.raises(UnusableReviewError, match="at most"):
            await reviews.add_tag(connection, tenant.tenant_id, session_id, "one more", "Rui", now=now)
        found = await reviews.known_tags(connection, tenant.tenant_id, limit=3)
        assert found == ["t00", "t01", "t02"]
        assert len(await reviews.known_tags(connection, tenant.tenant_id)) == reviews.MOST_TAGS


async def test_the_application_cannot_rewrite_what_reviewers_said(tenant: TenantFixture) -> None:
    for statement in (
        "UPDATE review_note SET body = 'other'",
        "UPDATE review_mark SET reviewed_by = 'other'",
        "DELETE FROM review_note_deleted",
    ):
        async with tenant.runtime.database.directory() as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_the_list_and_the_api_are_narrowed_by_them(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    token = bearer(await tenant.token("administrator"))
    one, two = await tenant.session(contact_name="Tagged One"), await tenant.session(contact_name="Marked Two")
    await client.put(f"{API}/{one}/review/tags/wrong answer", headers=token)
    await client.put(f"{API}/{two}/review/reviewed", headers=token)

    async def found(query: str) -> set[str]:
        answer = await client.get(f"{API}?{query}", headers=token)
        assert answer.status_code == 200, answer.text
        return {item["session_id"] for item in answer.json()["items"]}

    assert await found("tag=Wrong%20%20Answer") == {str(one)}
    assert await found("tag=other") == set()
    assert await found("reviewed=true") == {str(two)}
    assert await found("reviewed=false") == {str(one)}
    assert await found("reviewed=false&tag=wrong answer&outcome_not=HANDOFF") == {str(one)}
    assert (await client.get(f"{API}?reviewed=perhaps", headers=token)).status_code == 422
    ana, _ = await desk(tenant, client, "administrator")
    page = (await client.get(f"{LOGS}?tag=wrong+answer", headers=ana.cookie)).text
    assert "Tagged One" in page
    assert "Marked Two" not in page
    assert re.search(r'name="tag" value="wrong answer" checked', page)
    assert (await client.get(f"{LOGS}?reviewed=x", headers=ana.cookie)).status_code == 422
