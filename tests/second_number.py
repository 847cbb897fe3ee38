"""A second WhatsApp number of a test's tenant, and messages to it: for one person who writes to two."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID, uuid4

from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, WhatsAppCredentials
from graph_standin.config import Number
from tests.harness import APP_SECRET, TOKEN, VERIFY_TOKEN, Harness

PHONE_NUMBER_ID = "100200300401"
DISPLAY = "+43 1 555 0101"


async def add(harness: Harness, address: str = PHONE_NUMBER_ID) -> UUID:
    """Add the number under the same app; the id of its channel account."""
    credentials = WhatsAppCredentials(token=TOKEN, app_secret=APP_SECRET, verify_token=VERIFY_TOKEN)
    account = ChannelAccount(
        channel_account_id=harness.runtime.source.new_id(),
        channel="whatsapp",
        address=address,
        display=DISPLAY,
        name="Shop, second number",
        secrets=harness.runtime.keyring.encrypt(credentials.to_bytes()),
    )
    async with harness.runtime.database.tenant(harness.tenant_id) as connection:
        await channel_accounts.add(connection, harness.tenant_id, account, waba_id="555000", now=harness.clock.now())
    return account.channel_account_id


async def add_with_standin(harness: Harness) -> UUID:
    """Add a number that no other tenant has and that Meta's side knows, too; the id of its channel account."""
    number = Number(phone_number_id=f"{uuid4().int % 10**15:015d}", token=TOKEN, app_secret=APP_SECRET)
    config = harness.standin.config
    harness.standin.config = replace(config, numbers=(*config.numbers, number))
    return await add(harness, number.phone_number_id)


async def say(harness: Harness, text: str, *, phone: str = "436601112233", name: str = "Ana Lima") -> None:
    """A text message to the second number, signed as Meta does."""
    harness.counter += 1
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "4315550101", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": name}, "wa_id": phone}],
        "messages": [
            {
                "from": phone,
                "id": f"wamid.second.{harness.counter}",
                "timestamp": str(int(harness.clock.now().timestamp())),
                "type": "text",
                "text": {"body": text},
            }
        ],
    }
    change = {"field": "messages", "value": value}
    body = {"object": "whatsapp_business_account", "entry": [{"id": "555000", "changes": [change]}]}
    response = await harness.post(json.dumps(body).encode())
    assert response.status_code == 200, response.text
