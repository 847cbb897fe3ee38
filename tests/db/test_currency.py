"""Costs stand with the tenant's currency wherever they are shown."""

from __future__ import annotations

import re

import httpx
import pytest

from dragoman.cli.policy import changed
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.store.catalogue import skills

from .tenant_fixture import TenantFixture

LOGS = "/communications/automation/logs"


@pytest.mark.parametrize("wrong", ["usd", "EURO", "XQZ", ""])
def test_a_currency_is_one_of_the_standard(wrong: str) -> None:
    assert changed(Policy(), {"currency": "USD"}).currency == "USD"
    with pytest.raises(ConfigurationError, match="ISO 4217"):
        changed(Policy(), {"currency": wrong})


@pytest.mark.parametrize("currency", [None, "USD"])
async def test_a_cost_has_its_currency_in_list_drawer_timeline_and_document(
    tenant: TenantFixture, client: httpx.AsyncClient, currency: str | None
) -> None:
    if currency is not None:
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            await skills.set_policy(connection, tenant.tenant_id, Policy(currency=currency))
    session_id = await tenant.session(cost_micros=305)
    paid = {"skill": "a.b", "attempt": 1, "duration_ms": 3, "cost_micros": 305}
    await tenant.event(session_id, 1, "skill.succeeded", payload=paid)
    cookie = await tenant.cookie(await tenant.user("auditor"))
    for address in (f"{LOGS}?cols=cost", f"{LOGS}/{session_id}", f"{LOGS}/{session_id}/print"):
        page = (await client.get(address, headers=cookie)).text
        amounts = re.findall(r"0\.000305(?: (\w+))?", page)
        assert amounts
        assert set(amounts) == {currency or "EUR"}
