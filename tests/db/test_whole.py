"""A conversation to take away: as plain text and as a document to print, whole however long it is."""

from __future__ import annotations

import re

import httpx

from dragoman.domain import content as c

from .tenant_fixture import TenantFixture
from .test_window import LOGS, NOW, long_session


async def test_the_text_has_every_message_with_name_and_time(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    session_id = await long_session(tenant, 450)
    await tenant.message(
        session_id, 451, c.to_json(c.Text("two\nlines")), at=NOW, channel_message_id="w451", sender_name="Ada"
    )
    await tenant.message(session_id, 452, c.to_json(c.Reaction(target="w451", emoji="👍")), at=NOW)
    answer = await client.get(f"{LOGS}/{session_id}/text", headers=cookie)
    assert answer.headers["content-type"].startswith("text/plain")
    numbers = [int(number) for number in re.findall(r"message (\d+)\n", answer.text)]
    assert numbers == list(range(1, 451))
    assert "  Ada (contact): message 1\n" in answer.text
    assert "  Bot: message 2\n" in answer.text
    assert ": two\n          lines\n          (Ada reacted with 👍 at " in answer.text
    assert "Audit timeline" not in answer.text
    both = await client.get(f"{LOGS}/{session_id}/text?timeline=1", headers=cookie)
    assert "1350. Skill failed" in both.text


async def test_the_document_to_print_is_whole_and_expanded(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    session_id = await long_session(tenant, 250)
    page = (await client.get(f"{LOGS}/{session_id}/print", headers=cookie)).text
    assert len(re.findall(r'<li class="msg ', page)) == 250
    positions = re.findall(r'id="e(\d+)"', page)
    assert positions == [str(number) for number in range(1, 751)]
    assert page.count('<details class="raw" open>') == 750
    assert "data-part=" not in page
    assert "<nav" not in page
    assert page.rstrip().endswith("</html>")


async def test_they_are_refused_to_others(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    other = await TenantFixture.build(tenant.runtime, "other")
    theirs = await other.session()
    cookie = await tenant.cookie(await tenant.user("auditor"))
    for part in ("text", "print", "seal"):
        assert (await client.get(f"{LOGS}/{theirs}/{part}", headers=cookie)).status_code == 404
        assert (await client.get(f"{LOGS}/{theirs}/{part}")).status_code in {303, 401}
