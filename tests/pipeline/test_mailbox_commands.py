"""``dragoman channel`` for mailboxes: added with a hidden address of the mail server, listed, checked, resumed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.store.embedded import DatabaseURLs
from tests.harness import Harness
from tests.mail_server import mail_server


async def test_a_mailbox_is_added_listed_checked_and_resumed(
    shop: Harness, database_urls: DatabaseURLs, tmp_path: Path
) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(tmp_path / "cli"),
        "DRAGOMAN_SECRET_KEY": shop.runtime.settings.secret_key,
    }

    async def run(*words: str, typed: str = "") -> Any:
        command = ["channel", *words, "--tenant", "shop"]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, command, input=typed)

    async with mail_server() as server:
        url = server.url
        added = await run("add-mailbox", "Help@Shop.example", "Help", "--mails-per-second", "3", typed=f"{url}\n")
        assert added.exit_code == 0, added.output
        assert url not in added.output
        rows = json.loads((await run("list", "--json")).stdout)
        (listed,) = [row for row in rows if row["channel"] == "email"]
        assert (listed["id"], listed["state"]) == ("help@shop.example", "sending")
        checked = await run("check", "HELP@shop.example", "--json")
        assert checked.exit_code == 0, checked.output
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE channel_account SET stopped_at = now() WHERE channel = 'email'")
        assert (await run("resume", "help@shop.example")).exit_code == 0
    (row,) = await shop.rows("SELECT stopped_at, messages_per_second FROM channel_account WHERE channel = 'email'")
    assert (row["stopped_at"], row["messages_per_second"]) == (None, 3)
    assert (await run("add-mailbox", "Help@Shop.example", "Again", typed="\n")).exit_code != 0
    assert "no mailbox" in str((await run("check", "other@shop.example")).exception)
    assert "An email address" in str((await run("add-mailbox", "x", "X", typed="\n")).exception)
    assert (await run("rotate-secret", "help@shop.example", typed="x\n")).exit_code != 0
