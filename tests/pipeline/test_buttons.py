"""A skill's buttons on their whole way: to Meta's side, into the transcript, onto the simulator's phone, and back."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from dragoman.skills import OpenLink, Reply, SkillAnswer, SkillContext, skill
from dragoman.store.database import Database
from tests import world
from tests.pipeline.test_channels import enter


class Nothing(BaseModel):
    """No parameters."""


@skill(name="test.pickup", label="Pick-up", version="1", phrases={"en": ["fetch it"]}, keywords=["pickup"])
async def pickup(context: SkillContext, parameters: Nothing) -> SkillAnswer:
    return SkillAnswer(
        replies=[
            Reply("Your label is ready.", link=OpenLink("Open the label", "https://example.com/label/1")),
            Reply("Where do we fetch it?", asks_for="location"),
            Reply("Which number may we call?", asks_for="contact"),
        ]
    )


async def test_buttons_go_out_are_shown_and_are_answered(database: Database, tmp_path: Path) -> None:
    async with world.build(database, tmp_path, {pickup.spec.name: pickup}) as shop:
        await shop.say("pickup", phone="436601112233")
        await shop.settle()
        sent = [entry["request"]["interactive"]["type"] for entry in await shop.journal()]
        assert sent == ["cta_url", "location_request_message", "contact_request"]
        assert await shop.rows("SELECT 1 FROM outbox_entry WHERE status <> 'SENT'") == []

        (session,) = await shop.rows("SELECT session_id FROM session")
        async with await enter(shop, "administrator") as client:
            drawer = (await client.get(f"/communications/automation/logs/{session['session_id']}")).text
            assert '<a href="https://example.com/label/1" rel="noopener noreferrer nofollow ugc"' in drawer
            assert "Send location" in drawer
            assert "Share phone number" in drawer
            phone = {"phone": "+436601112233", "name": "Ana Lima"}
            shown = (await client.get("/simulator", params=phone)).text
            assert 'value="own_number"' in shown
            given = {"kind": "own_number", "number": "+436601112233", "card": "Ana Lima"}
            pressed = await client.post("/simulator/send", data={**phone, **given})
            assert pressed.status_code in (200, 303), pressed.text
        await shop.settle()
        (answer,) = await shop.rows("SELECT content FROM message WHERE kind = 'contacts'")
        assert answer["content"]["requested"] is True
