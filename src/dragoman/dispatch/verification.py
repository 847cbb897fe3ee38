"""The built-in skill ``identity.confirm``: a one-time code lifts a contact to CONTACT_CONFIRMED for a time.

The core decides when a code is offered, sent and checked, and what is said. It never sees the code that was made: the
driver puts it in place of :data:`DOTS` in what is sent. The code that a contact writes is read here, handed to the
driver to be compared, and stands as dots on record.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.dispatch import menu
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import (
    CheckCode,
    CodeChecked,
    CodeRefusal,
    CodeRefused,
    CodeSent,
    Commit,
    Effect,
    Result,
    SendCode,
)
from dragoman.dispatch.redact import hidden
from dragoman.dispatch.steps import ask
from dragoman.dispatch.texts import counted_sentence, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain import content
from dragoman.domain.content import Content, Edit, Media, Option, Options, Text
from dragoman.domain.events import (
    ConfirmationEnded,
    ContactResolved,
    IntentAssigned,
    SkillFailed,
    SkillInvoked,
    SkillSucceeded,
)
from dragoman.domain.nouns import Awaiting, AwaitingKind, Contact, InboundMessage, Level, Phrase, SkillSpec
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import folded
from dragoman.domain.plurals import counted
from dragoman.domain.redaction import RedactionRule, Span
from dragoman.domain.states import State

CONFIRM = "identity.confirm"
DIGITS = 6
DOTS = "•" * DIGITS

SPEC = SkillSpec(
    name=CONFIRM,
    label="Confirm the contact's identity",
    version="1",
    description="Sends a one-time code and lifts the contact who writes it back to Contact Confirmed for a time.",
    owner="Dragoman",
    module="identity",
    minimum_level=Level.PHONE_MATCHED,
    max_attempts=1,
    phrases=tuple(
        Phrase(text=text, locale=locale)
        for locale, texts in {
            "en": ("confirm my identity", "verify my identity", "send me a verification code"),
            "de": ("meine Identität bestätigen", "schicken Sie mir einen Bestätigungscode"),
            "es": ("confirmar mi identidad", "envíeme un código de verificación"),
            "fr": ("confirmer mon identité", "envoyez-moi un code de vérification"),
            "pt": ("confirmar minha identidade", "envie um código de verificação"),
            "it": ("confermare la mia identità", "mandami un codice di verifica"),
        }.items()
        for text in texts
    ),
)
"""The skill as the registry knows it; no package provides its code, the dispatcher does."""

BUILT_IN = (SPEC,)

_CODE = re.compile(rf"(?<!\d)\d(?:[ .\-]?\d){{{DIGITS - 1}}}(?!\d)")
_LIKE_A_CODE = re.compile(r"\d(?:[ .\-]?\d){3,}")


def on_record(inputs: Inputs) -> InboundMessage:
    """The message as it may be kept: a code in it is dots, and what looks like one where a code was asked for."""
    awaiting = inputs.session.awaiting if inputs.session else None
    asked = awaiting is not None and awaiting.kind is AwaitingKind.CODE
    if not asked and not inputs.code_open:
        return inputs.message

    def dots(text: str) -> str:
        kept, at = [], 0
        for start, end, digits in _codes(text, asked=asked):
            kept += [text[at:start], "•" * digits]
            at = end
        return "".join([*kept, text[at:]])

    match inputs.message.content:
        case (Text(body=body) | Edit(body=body)) as written:
            kept: Text | Edit | Media = dataclasses.replace(written, body=dots(body))
        case Media(caption=str(caption)) as media:
            kept = dataclasses.replace(media, caption=dots(caption))
        case _:
            return inputs.message
    return dataclasses.replace(inputs.message, content=kept)


@reads_outside_text
def _codes(text: str, *, asked: bool) -> Iterator[tuple[int, int, int]]:
    """Where codes stand in the text as written, in whatever digits, and how many digits each has.

    Where one was *asked* for, a mistyped one counts too.
    """
    plain = folded(text)
    for found in (_LIKE_A_CODE if asked else _CODE).finditer(plain.text):
        yield *plain.span(*found.span()), sum(c.isdigit() for c in found.group())


def code_rule(*, asked: bool) -> RedactionRule:
    """Find in a delivery what :func:`on_record` finds in its message."""

    def find(text: str) -> Iterator[Span]:
        return ((start, end) for start, end, _ in _codes(text, asked=asked))

    return RedactionRule("code", "one-time code", find)


def with_code(said: Content, code: str) -> Content:
    """What is sent where *said* stands on record: the code in place of the dots."""
    return Text(said.body.replace(DOTS, code)) if isinstance(said, Text) else said


def code_in(inputs: Inputs, awaiting: Awaiting | None) -> str | None:
    """The code that the message gives: anywhere in it where *awaiting* asks for one, else where it is nothing else."""
    asked = awaiting is not None and awaiting.kind is AwaitingKind.CODE
    if not asked and not inputs.code_open:
        return None
    # As it is looked for in what is put on record: no code is taken that would stand there.
    text = folded(content.words(inputs.message.content)).text
    found = _CODE.search(text) if asked else _CODE.fullmatch(text.strip())
    return re.sub(r"\D", "", found.group()) if found else None


def available(inputs: Inputs) -> bool:
    """Whether the tenant sends codes, and this contact may have one."""
    confirm = inputs.registry.get(CONFIRM)
    eligible = inputs.contact.level >= Level.PHONE_MATCHED or inputs.policy.confirmation.unmatched
    return confirm is not None and not confirm.retired and eligible


def offer(inputs: Inputs, draft: Draft, skill: str, known: Mapping[str, Any], reason: str) -> None:
    """Close the dispatch with VERIFICATION_REQUIRED and offer a code; *skill* goes on where it is accepted."""
    _ask(inputs, draft, AwaitingKind.CONFIRM, "confirm_offer", skill, known)
    draft.close(Outcome.VERIFICATION_REQUIRED, f"{reason}; a code was offered")


def send(inputs: Inputs, draft: Draft, resume: Awaiting | None) -> Generator[Effect, Result, None]:
    """Send a code and wait for it; *resume* is the question that it answers, with the skill to go on with."""
    skill, known = _resumed(resume)
    begun = yield from _begin(draft, {"step": "send"})
    result = yield from ask(SendCode())
    _end(draft, result, begun)
    locales = menu.locales(inputs)
    if isinstance(result, CodeRefused):
        _refused(inputs, draft, result, skill, known)
        return
    minutes = str(_minutes((result.expires_at - draft.now).total_seconds()))
    draft.say(Text(sentence("code", *locales, code=DOTS, minutes=minutes)), carries_code=True)
    if result.elsewhere:
        draft.say(Text(sentence("code_elsewhere", *locales, to=result.to)))
    awaiting = Awaiting(kind=AwaitingKind.CODE, intent=skill, skill=skill, collected={"known": known})
    draft.await_user(awaiting, "the contact was asked for the code")
    draft.keep(f"a code was sent to {result.to}")


def check(
    inputs: Inputs, draft: Draft, code: str | None, resume: Awaiting | None
) -> Generator[Effect, Result, Contact | None]:
    """Check the code; the contact as confirmed, where the dispatch goes on, or None where it was closed."""
    skill, known = _resumed(resume)
    if code is None:
        _ask_again(inputs, draft, resume, skill, known)
        return None
    begun = yield from _begin(draft, {"step": "check", "code": hidden()})
    result = yield from ask(CheckCode(code=code))
    _end(draft, result, begun)
    if isinstance(result, CodeRefused):
        _refused(inputs, draft, result, skill, known)
        return None
    if not result.right:
        left = result.attempts_left
        _ask(inputs, draft, AwaitingKind.CODE, "code_wrong", skill, known, count=left)
        draft.keep(f"a wrong code, {counted(left, 'attempt', 'attempts')} left")
        return None
    contact = dataclasses.replace(inputs.contact, level=Level.CONTACT_CONFIRMED)
    draft.record(resolved(contact))
    draft.say(Text(sentence("code_right", *menu.locales(inputs))))
    if skill is None:
        draft.close(Outcome.SUCCESS, "the contact confirmed who they are")
        return None
    draft.record(IntentAssigned(intent=skill, source="answer", detail="the contact is confirmed, so it goes on"))
    draft.change(intent=skill, skill=None)
    return contact


def interrupted(resume: Awaiting | None) -> tuple[str, Mapping[str, Any]]:
    """The skill that waited for the confirmation, with what was known for it."""
    skill, known = _resumed(resume)
    return skill or "", known


def note_end(contact: Contact, draft: Draft, *, since: datetime) -> None:
    """Put on record that the contact's confirmation ended *since* then, when something last happened in the session."""
    ended_at = contact.confirmation_ended_at
    if ended_at is not None and ended_at > since:
        draft.record(ConfirmationEnded(ended_at=ended_at.isoformat(), cause=contact.confirmation_dropped))


def resolved(contact: Contact) -> ContactResolved:
    """Who is writing, for the timeline."""
    partner = contact.business_partner
    return ContactResolved(
        contact_id=str(contact.contact_id),
        level=contact.level.name,
        business_partner=f"{partner.number} {partner.name}" if partner else None,
        locale=contact.locale,
        language_read=contact.language_read,
    )


def _resumed(resume: Awaiting | None) -> tuple[str | None, Mapping[str, Any]]:
    if resume is None or resume.kind not in (AwaitingKind.CONFIRM, AwaitingKind.CODE):
        return None, {}
    return resume.skill, resume.collected.get("known", {})


def _begin(draft: Draft, parameters: Mapping[str, Any]) -> Generator[Effect, Result, datetime]:
    """Put a step of the skill on record before it is taken, as every call of a skill is; when that was done."""
    draft.move(State.PROCESSING, f"running {CONFIRM}")
    draft.record(
        SkillInvoked(
            skill=CONFIRM,
            skill_version=SPEC.version,
            attempt=1,
            max_attempts=1,
            parameters=parameters,
            timeout_seconds=SPEC.timeout_seconds,
        )
    )
    begun = (yield from ask(Commit(turn=draft.cut()))).at
    draft.clock(begun)
    return begun


def _end(draft: Draft, result: CodeSent | CodeChecked | CodeRefused, begun: datetime) -> None:
    """Put on record what came of the step."""
    draft.clock(result.at)
    duration_ms = round(max(0.0, (result.at - begun).total_seconds() * 1000), 3)
    _record(draft, result, duration_ms)
    draft.move(State.ACTIVE, f"{CONFIRM} returned")


def _record(draft: Draft, result: CodeSent | CodeChecked | CodeRefused, duration_ms: float) -> None:
    match result:
        case CodeRefused(reason=CodeRefusal.NO_ADDRESS):
            draft.count_error()
            draft.record(
                SkillFailed(
                    skill=CONFIRM,
                    attempt=1,
                    error_class="NoAddress",
                    message="the contact has no other number that a code could be sent to",
                    duration_ms=duration_ms,
                    retryable=False,
                )
            )
            return
        case CodeSent(to=to):
            said: dict[str, Any] = {"sent_to": to}
        case CodeChecked(right=right, attempts_left=left):
            said = {"confirmed": right, "attempts_left": left}
        case CodeRefused(reason=why, wait_seconds=wait):
            said = {"refused": why.value, "wait_seconds": wait}
    draft.record(SkillSucceeded(skill=CONFIRM, attempt=1, duration_ms=duration_ms, cost_micros=0, result=said))


def _refused(inputs: Inputs, draft: Draft, refused: CodeRefused, skill: str | None, known: Mapping[str, Any]) -> None:
    locales, wait = menu.locales(inputs), refused.wait_seconds
    match refused.reason:
        case CodeRefusal.TOO_SOON:
            _ask(inputs, draft, AwaitingKind.CODE, "code_too_soon", skill, known, seconds=str(wait))
            draft.keep(f"no new code within {wait} s of the last one")
        case CodeRefusal.NONE_OPEN:
            _ask(inputs, draft, AwaitingKind.CONFIRM, "code_gone", skill, known)
            draft.keep("there is no code that could still be used")
        case CodeRefusal.LOCKED:
            draft.say(Text(sentence("code_locked", *locales, minutes=str(_minutes(wait)))))
            draft.close(Outcome.VERIFICATION_REQUIRED, f"too many wrong codes; none is sent or checked for {wait} s")
        case CodeRefusal.NO_ADDRESS:
            draft.say(Text(sentence("verify_identity", *locales)))
            draft.close(Outcome.VERIFICATION_REQUIRED, "the contact has no other number that a code could be sent to")


def _ask_again(
    inputs: Inputs, draft: Draft, resume: Awaiting | None, skill: str | None, known: Mapping[str, Any]
) -> None:
    asked = resume.asked + 1 if resume else 1
    _ask(inputs, draft, AwaitingKind.CODE, "code_asked", skill, known, asked=asked)
    draft.keep(f"no code in the answer, asked again (time {asked})")


def _ask(
    inputs: Inputs,
    draft: Draft,
    kind: AwaitingKind,
    key: str,
    skill: str | None,
    known: Mapping[str, Any],
    *,
    asked: int = 1,
    count: int | None = None,
    **values: str,
) -> None:
    """Say it with the two ways out under it, a code and a person, and wait."""
    locales = menu.locales(inputs)
    options = Options(
        body=sentence(key, *locales, **values) if count is None else counted_sentence(key, count, *locales),
        options=(
            Option(id=menu.SKILL + CONFIRM, title=sentence("code_option", *locales)),
            Option(id=menu.HUMAN, title=sentence("human_option", *locales)),
        ),
        button=sentence("menu_button", *locales),
    )
    draft.say(options)
    collected = {**menu.remembered(options), "known": dict(known)}
    awaiting = Awaiting(kind=kind, intent=skill, skill=skill, collected=collected, asked=asked)
    draft.await_user(awaiting, "the contact was asked to confirm who they are")


def _minutes(seconds: float) -> int:
    return max(1, math.ceil(seconds / 60))
