"""A skill's buttons on their whole way: to Meta's side, into the transcript, onto the simulator's phone, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel

from dragoman.skills import Ask, OpenLink, ParameterKind, Reply, SkillAnswer, SkillContext, skill
from dragoman.store.database import Database
from tests import harness
from tests.pipeline.test_channels import enter


class ButtonParameters(BaseModel):
    """No parameters."""


@skill(name="test.pickup", label="Pick-up", version="1", phrases={"en": ["fetch it"]}, keywords=["pickup"])
async def pickup(context: SkillContext, parameters: ButtonParameters) -> SkillAnswer:
    return SkillAnswer(
        replies=[
            Reply("Your label is ready.", link=OpenLink("Open the label", "https://example.com/label/1")),
            Reply("Where do we fetch it?", asks_for="location"),
            Reply("Which number may we call?", asks_for="contact"),
        ]
    )


async def test_buttons_go_out_are_shown_and_are_answered(database: Database, tmp_path: Path) -> None:
    async with harness.build(database, tmp_path, {pickup.spec.name: pickup}) as shop:
        await shop.say("pickup", phone="436601112233")
        await shop.settle()
        sent = [entry["request"]["interactive"]["type"] for entry in await shop.journal()]
        assert sent == ["cta_url", "location_request_message", "request_contact_info"]
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


class PlaceParameters(BaseModel):
    """A place that must be known."""

    place: Annotated[str, Ask({"en": "Where are you?"}, kind=ParameterKind.LOCATION)]


class PerhapsPlace(BaseModel):
    """A place that may be known."""

    place: Annotated[str | None, Ask({}, kind=ParameterKind.LOCATION)] = None


@skill(name="test.nearest", label="Nearest", version="1", phrases={"en": ["the nearest shop"]}, keywords=["nearest"])
async def nearest(context: SkillContext, parameters: PlaceParameters) -> str:
    return f"Next to {parameters.place}"


@skill(name="test.fetch", label="Fetch", version="1", phrases={"en": ["come and fetch it"]}, keywords=["fetch"])
async def fetch(context: SkillContext, parameters: PerhapsPlace) -> Reply:
    if parameters.place is None:
        return Reply("Where do we fetch it?", asks_for="location")
    return Reply(f"Fetched at {parameters.place}")


STEPHANSPLATZ = {"type": "location", "location": {"latitude": 48.2082, "longitude": 16.3738}}


@pytest.mark.parametrize(
    ("word", "answer"), [("nearest", "Next to 48.208200,16.373800"), ("fetch", "Fetched at 48.208200,16.373800")]
)
async def test_a_place_that_was_asked_for_reaches_the_skill(
    database: Database, tmp_path: Path, word: str, answer: str
) -> None:
    skills = {one.spec.name: one for one in (nearest, fetch)}
    async with harness.build(database, tmp_path, skills) as shop:
        await shop.say(word)
        await shop.settle()
        (question,) = await shop.journal()
        assert question["request"]["interactive"]["type"] == "location_request_message"
        await shop.send(STEPHANSPLATZ)
        await shop.settle()
        assert (await shop.journal())[-1]["request"]["text"]["body"] == answer
        (session,) = await shop.rows("SELECT outcome FROM session")
        assert session["outcome"] == "SUCCESS"


async def test_a_place_that_nobody_asked_for_is_not_understood(database: Database, tmp_path: Path) -> None:
    async with harness.build(database, tmp_path, {nearest.spec.name: nearest}) as shop:
        await shop.send(STEPHANSPLATZ)
        await shop.settle()
        (session,) = await shop.rows("SELECT outcome FROM session")
        assert session["outcome"] != "SUCCESS"
