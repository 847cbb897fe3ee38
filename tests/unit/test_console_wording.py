"""Every state, outcome and type of event has its words and its icon, and no payload can break a page."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path

import pytest

from dragoman import translations
from dragoman.domain import content
from dragoman.domain.events import CATALOGUE, payload_json
from dragoman.domain.nouns import Level
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.translations import translated
from dragoman.web.console import columns, examples, menu, wording
from dragoman.web.console.page import TEMPLATES
from dragoman.web.console.transcript import _NOTICES
from dragoman.web.console.wording import Facts
from tests.browser.gallery import payloads

ROOT = Path(__file__).resolve().parents[2]
HUES = {"green", "amber", "blue", "red", "gray", "teal", "violet", "orange", "pink", "accent"}


def test_every_state_and_outcome_has_a_label_and_a_colour() -> None:
    assert set(wording.STATES) == set(State)
    assert set(wording.OUTCOMES) == set(Outcome)
    assert {words.hue for words in wording.STATES.values()} <= HUES
    assert {words.hue for words in wording.OUTCOMES.values()} <= HUES
    assert [wording.STATES[state].hue for state in State] == [
        "green",
        "green",
        "amber",
        "blue",
        "red",
        "gray",
        "gray",
    ]
    assert len({words.label for words in wording.STATES.values()}) == len(State)
    assert len({words.label for words in wording.OUTCOMES.values()}) == len(Outcome)


def test_every_type_of_event_has_words() -> None:
    assert set(wording.EVENTS) == set(CATALOGUE)
    assert {words.hue for words in wording.EVENTS.values()} <= HUES | {""}


def test_the_sample_payloads_cover_the_catalogue() -> None:
    assert {payload.type for payload in payloads()} == set(CATALOGUE)


@pytest.mark.parametrize("payload", payloads(), ids=lambda payload: payload.type)
def test_an_event_is_told_from_its_payload(payload: object) -> None:
    told = wording.EVENTS[payload.type]  # type: ignore[attr-defined]
    facts = Facts(json.loads(json.dumps(payload_json(payload))))  # type: ignore[arg-type]
    sentence = f"{told.title(facts)} {told.detail(facts)}"
    assert len(sentence.strip()) > 8
    assert "–" not in sentence, "a field is read by a name that the payload does not have"
    assert "None" not in sentence


@pytest.mark.parametrize("name", sorted(CATALOGUE))
@pytest.mark.parametrize("junk", [{}, None, "<b>", 7, [], {"a": 1}])
def test_a_payload_of_another_schema_breaks_nothing_and_stays_text(name: str, junk: object) -> None:
    fields = CATALOGUE[name].__dataclass_fields__
    facts = Facts({} if junk == {} else dict.fromkeys(fields, junk))
    told = wording.EVENTS[name]
    for said in (told.title(facts), told.detail(facts)):
        assert "<b><" not in str(said)
        assert not re.search(r"<(?!/?(code|b|bdi|span)\b)", str(said))


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("handoff.requested", {"reason": "r"}, "Escalated to an agent r"),
        ("message.sent", {"sender": "bot", "kind": "text"}, "Reply queued The dispatcher wrote a text"),
        ("message.status", {"status": "sent"}, "Accepted by WhatsApp"),
        (
            "classifier.ran",
            {"classifier": "local", "classifier_version": "v7", "threshold": 0.5, "duration_ms": 12},
            "Message classified Model local v7, threshold 50 % · 12 ms",
        ),
        ("intent.assigned", {"intent": "a.b", "source": "answer"}, "Intent: a.b Answer to the bot’s question"),
        (
            "skill.invoked",
            {"skill": "a.b", "skill_version": "1", "attempt": 1, "max_attempts": 3, "timeout_seconds": 4.0},
            "Skill called: a.b version 1 · attempt 1 of 3 · time-out 4 s",
        ),
        (
            "session.expired",
            {"idle_seconds": 1805.0, "allowed_seconds": 1800.0},
            "Session expired Inactive for 30 min 5 s (limit 30 min)",
        ),
        ("dispatch.orphaned", {"reason": "r"}, "Dispatch orphaned r"),
        (
            "verification.required",
            {"skill": "finance.invoices", "required": "PHONE_MATCHED", "actual": "UNVERIFIED"},
            "Verification required finance.invoices requires Phone Matched; the contact is Unverified",
        ),
        (
            "confirmation.ended",
            {
                "ended_at": "2026-11-23T08:00:00+00:00",
                "cause": "their number changed",
                "_at": datetime(2026, 11, 23, 8, 5, tzinfo=UTC),
            },
            "No longer confirmed The contact’s confirmation was withdrawn: their number changed · 5 min before",
        ),
        (
            "contact.resolved",
            {"level": "PHONE_MATCHED", "locale": "de", "_guessed_from": "from the number's country code"},
            "Contact recognised No matching business partner · Phone Matched · "
            "Language: German, from the number's country code",
        ),
        (
            "contact.resolved",
            {"level": "UNVERIFIED", "locale": "de", "language_read": True, "_guessed_from": "from the number"},
            "Contact recognised No matching business partner · Unverified · Language: German, from what they wrote",
        ),
        (
            "language.recognized",
            {"language": "en", "previous": "de", "confidence": 0.978},
            "Language recognised English from here on, as the text is in it (98 % sure); until now German",
        ),
        (
            "language.recognized",
            {"language": "de", "previous": "de", "confidence": 0.85},
            "Language recognised German, as assumed; the text shows it (85 % sure)",
        ),
    ],
)
def test_steps_are_told_in_plain_words(name: str, fields: dict[str, object], said: str) -> None:
    told = wording.EVENTS[name]
    facts = Facts(fields)
    parts = [part.striptags() for part in (told.title(facts), told.detail(facts))]
    assert " ".join(part for part in parts if part) == said


class Marking(NullTranslations):
    """Puts every text in brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"


def test_every_event_and_label_is_told_in_the_language_of_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translations, "catalogue", lambda _domain, _language: Marking())
    with translations.written_in("de"):
        for payload in payloads():
            facts = Facts(json.loads(json.dumps(payload_json(payload))))
            assert wording.EVENTS[payload.type].title(facts).startswith("⟦"), payload.type
        labels = [words.label for words in wording.STATES.values()]
        labels += [words.label for words in wording.OUTCOMES.values()]
        labels += [column.label for column in columns.COLUMNS.values()]
        assert [translated(label) for label in labels] == [f"⟦{label}⟧" for label in labels]


def test_a_session_leads_to_the_one_before_it() -> None:
    told = wording.EVENTS["session.opened"]
    earlier = "01a22d24-e78b-7000-98cd-92cea71bbda8"
    detail = told.detail(Facts(channel="whatsapp", previous_session_id=earlier))
    assert f'href="/communications/automation/logs/{earlier}"' in detail
    assert "href" not in told.detail(Facts(channel="whatsapp", previous_session_id="<b>"))


def test_every_kind_of_content_and_every_level_has_words() -> None:
    assert set(content.KINDS) <= set(wording.KINDS)
    assert {level.name: level.label for level in Level} == wording.LEVELS


def test_every_icon_is_in_the_sprite() -> None:
    wanted = set(json.loads((ROOT / "frontend/src/icons.json").read_text())) | {"mark"}
    used = {words.icon for words in (*wording.EVENTS.values(), wording.UNKNOWN)}
    used |= {words.icon for words in wording.OUTCOMES.values()}
    used |= {icon for _, icon in wording.MEDIA.values()} | {icon for icon, _ in wording.DELIVERIES.values()}
    used |= {icon for _, icon in examples.EXAMPLES.values()}
    used |= {entry.icon for entry in menu.PAGES} | set(menu.GROUP_ICONS.values())
    for source in (*TEMPLATES.rglob("*.html"), *(ROOT / "src/dragoman/web/console").glob("*.py")):
        text = source.read_text()
        used |= set(re.findall(r"icon\('([a-z0-9-]+)'", text)) | set(re.findall(r'icon="([a-z0-9-]+)"', text))
        # Names in tables and conditions cannot be told from other words; at least none is carried in vain.
        used |= set(re.findall(r"""['"]([a-z0-9-]+)['"]""", text)) & wanted
    used |= {icon for icon, _ in _NOTICES.values()} - {""}
    assert used - {""} == wanted


def test_templates_hold_no_inline_style_script_or_evaluated_attribute() -> None:
    for template in TEMPLATES.rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|hx-on|js:|javascript:|\| *safe", text), template
        for script in re.findall(r"<script[^>]*>", text):
            assert "src=" in script


def test_the_default_columns_are_those_of_the_product() -> None:
    assert [columns.COLUMNS[key].label for key in columns.DEFAULT] == [
        "Phone / Contact",
        "State",
        "Outcome",
        "Intent / Skill",
        "Last User Message",
        "Message Count",
        "Last Activity",
    ]
