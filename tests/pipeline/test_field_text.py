"""What real phones write, from the webhook to the pages: names, emoji, forms, cards, kana, ids like formulas."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from typing import Any

import pytest

from dragoman.store.accounts import roles
from dragoman.store.accounts.roles import PERMISSIONS
from tests.harness import Harness
from tests.pipeline.test_identity import Chat, reader

LOGS = "/communications/automation/logs"
FAMILY = "👨\u200d👩\u200d👧\u200d👦"
PHONE = "436601112233"


class FieldDesk:
    """Somebody who reads the pages and the API, beside a contact who writes."""

    def __init__(self, shop: Harness, headers: dict[str, str]) -> None:
        self.shop, self.headers, self.chat = shop, headers, Chat(shop)

    async def page(self, address: str = LOGS, **query: str) -> str:
        answer = await self.shop.web.get(address, params=query, headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    async def found(self, asked: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(await self.page("/api/v1/conversations", q=asked))["items"]
        return items

    async def drawer(self) -> str:
        (row,) = await self.shop.rows("SELECT session_id FROM session ORDER BY started_at DESC LIMIT 1")
        return await self.page(f"{LOGS}/{row['session_id']}")

    async def last_words(self) -> str:
        (row,) = await self.shop.rows("SELECT last_user_message FROM session")
        return str(row["last_user_message"])


@pytest.fixture
async def desk(shop: Harness) -> FieldDesk:
    return FieldDesk(shop, await reader(shop))


@pytest.mark.parametrize("name", ["\u3164", "\u2800", "\u200b", "   "], ids=ascii)
async def test_14_a_name_that_shows_nothing_is_shown_as_the_number(desk: FieldDesk, name: str) -> None:
    await desk.chat.write("hello", name=name, **{"from": PHONE})
    for shown in (await desk.page(), await desk.drawer()):
        # However it is spaced for the eye.
        assert f"+{PHONE}" in re.sub(r"<[^>]+>", "", shown)
    (said,) = [r["content"]["body"] for r in await desk.shop.rows("SELECT content FROM message WHERE sender = 'bot'")]
    assert said.startswith("Hallo! ")


async def test_51_a_name_that_turns_text_round_is_set_apart_in_notices_and_titles(desk: FieldDesk) -> None:
    name = "Bob\u202e"
    await desk.chat.write("first", name=name, **{"from": PHONE})
    edit = {"original_message_id": "wamid.1", "message": {"type": "text", "text": {"body": "second"}}}
    person = {"wa_id": PHONE, "profile": {"name": name}}
    message = {**desk.chat.message(**{"from": PHONE}), "type": "edit", "edit": edit}
    await desk.chat.send(message, contacts=[person])
    shown = await desk.drawer()
    assert f"<bdi>{name}</bdi> edited a message" in shown
    assert shown.count(name) == shown.count(f"<bdi>{name}</bdi>")
    (row,) = await desk.shop.rows("SELECT session_id FROM session")
    told = await desk.page(f"{LOGS}/{row['session_id']}/text")
    assert "\u202e" not in told
    assert "\u2068Bob\u2069 edited a message" in told


async def test_27_the_last_words_are_cut_between_characters(desk: FieldDesk) -> None:
    for length in (190, 195, 199, 200):
        await desk.chat.write("x" * length + FAMILY + " end", **{"from": PHONE})
        shown = await desk.last_words()
        assert len(shown) <= 200
        assert shown.replace(FAMILY, "").isascii() or shown.endswith("…"), length
        assert "\u200d" not in shown.replace(FAMILY, ""), length


async def test_23_a_forms_answers_are_searched_and_stand_in_the_list(desk: FieldDesk) -> None:
    answers = {
        "flow_token": "t1",
        "screen_0_rating": "Zufrieden",
        "screen_0_comment": "The courier was marvellous",
        "screen_1_times": [{"id": "0", "title": "Morning"}],
    }
    reply = {"name": "flow", "body": "Sent", "response_json": json.dumps(answers)}
    form = {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}
    await desk.chat.send({**desk.chat.message(**{"from": PHONE}), **form})
    for asked in ("Zufrieden", "marvellous", "morning"):
        (item,) = await desk.found(asked)
    said = item["last_user_message"].removeprefix("[form] ").split(" · ")
    assert sorted(said) == ["comment: The courier was marvellous", "rating: Zufrieden", "times: Morning"]
    assert "Zufrieden" in await desk.page()


async def test_24_cards_are_found_by_name_number_and_email(desk: FieldDesk) -> None:
    cards = [
        {
            "name": {"formatted_name": "Card Owner"},
            "phones": [{"phone": "+43 1 24680", "wa_id": "43124680"}],
            "emails": [{"email": "owner24@example.net"}],
        },
        {"name": {"formatted_name": "Only Mail"}, "emails": [{"email": "only24@example.net"}]},
    ]
    await desk.chat.send({**desk.chat.message(**{"from": PHONE}), "type": "contacts", "contacts": cards})
    for asked in ("owner", "24680", "owner24@example.net", "only24"):
        assert len(await desk.found(asked)) == 1, asked


@pytest.mark.parametrize("written", ["カ\u3099ス", "ｶﾞｽ"], ids=["NFD", "half width"])
async def test_25_kana_are_found_by_their_usual_form(desk: FieldDesk, written: str) -> None:
    await desk.chat.write(f"電気と{written}の契約", **{"from": PHONE})
    assert len(await desk.found("ガス")) == len(await desk.found(written)) == 1
    assert f"<mark>{written}</mark>" in await desk.page(q="ガス")
    (row,) = await desk.shop.rows("SELECT content FROM message WHERE sender = 'contact'")
    assert row["content"]["body"] == f"電気と{written}の契約"


async def test_29_no_cell_of_an_export_is_a_formula(desk: FieldDesk) -> None:
    message = {
        **desk.chat.message("@SUM(1+1)*cmd|' /C calc'!A0", **{"from": PHONE}),
        "id": '=HYPERLINK("http://example.net/";"x")',
        "context": {"id": "+1+cmd|'/C calc'!A0"},
    }
    await desk.chat.send(message, contacts=[{"wa_id": PHONE, "profile": {"name": "=1+1"}}])
    export = {"format": "csv", "transcript": "true", "timeline": "true"}
    answer = await desk.shop.web.get("/api/v1/conversations/export", params=export, headers=desk.headers)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        texts = {name: file.read(name).decode("utf-8-sig") for name in file.namelist()}
    rows = [row for text in texts.values() for row in csv.reader(io.StringIO(text, newline=""))]
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    written = {cell for row in rows for cell in row}
    assert {"'=1+1", "'" + message["id"], "'" + message["context"]["id"]} <= written


async def test_44_a_menu_choice_with_arabic_digits_is_one(desk: FieldDesk) -> None:
    await desk.chat.write("hello", **{"from": PHONE})
    rows = await desk.shop.rows("SELECT content FROM message WHERE sender = 'bot'")
    titles = [option["title"] for option in rows[0]["content"]["options"]]
    await desk.chat.write(str(len(titles)).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")), **{"from": PHONE})
    (row,) = await desk.shop.rows("SELECT state, intent FROM session")
    assert (row["state"], row["intent"]) == ("WITH_AGENT", "talk_to_human")


async def test_46_an_order_with_one_line_has_one_item(desk: FieldDesk) -> None:
    item = {"product_retailer_id": "KETTLE-1", "quantity": 1, "item_price": 39.9, "currency": "EUR"}
    order = {"type": "order", "order": {"catalog_id": "1", "product_items": [item]}}
    await desk.chat.send({**desk.chat.message(**{"from": PHONE}), **order})
    assert await desk.last_words() == "[order] 1 item"
    assert len(await desk.found("KETTLE-1")) == 1
    assert "1 items" not in await desk.page() + await desk.drawer()


async def test_a_reader_who_sees_no_numbers_is_shown_none_of_a_card_that_a_search_found(desk: FieldDesk) -> None:
    card = {"name": {"formatted_name": "Card Owner"}, "phones": [{"phone": "+43 1 2468013"}]}
    await desk.chat.send({**desk.chat.message(**{"from": PHONE}), "type": "contacts", "contacts": [card]})
    async with desk.shop.runtime.database.tenant(desk.shop.tenant_id) as connection:
        blind = PERMISSIONS - {"audit.unmask"}
        await roles.add(connection, desk.shop.tenant_id, "blind", blind, now=desk.shop.clock.now())
    await desk.shop.rows("UPDATE user_account SET role = $1", "blind")
    (item,) = await desk.found("owner")
    shown = await desk.page(q="owner") + json.dumps(item)
    assert "Card" in shown
    assert not any(part in shown for part in ("2468013", "68013", "24680"))
