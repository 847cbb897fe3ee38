"""The language in which a contact is answered: that of what they write where it is sure, else the guess that was there.

A number's country code only says where somebody has a contract. Who writes a sentence in another language wants an
answer in that one; who writes a name or an order number has said nothing about it.
"""

from __future__ import annotations

import dataclasses
from itertools import chain

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.texts import LANGUAGES, language
from dragoman.dispatch.turn import Inputs
from dragoman.domain.events import LanguageRecognized
from dragoman.domain.flows import Flow
from dragoman.domain.nouns import AwaitingKind, SkillSpec

_VALUES = frozenset({AwaitingKind.PARAMETER, AwaitingKind.FLOW, AwaitingKind.CODE})
"""Questions that ask for a value: a name, an address or a title says nothing of who wrote it."""


def follow_text(inputs: Inputs, draft: Draft) -> Inputs:
    """Give *inputs* with the language that the message is written in; what it decides is put on record.

    It decides once for each language: what agrees with it later is no news. A language in which the bot has nothing to
    say changes nothing.
    """
    written, contact = inputs.written, inputs.contact
    awaiting = draft.session.awaiting
    if written is None or (awaiting is not None and awaiting.kind in _VALUES):
        return inputs
    is_same = language(contact.locale) == written.language
    if (is_same and contact.language_read) or not (is_same or _speaks(inputs, written.language)):
        return inputs
    found = contact.locale if is_same else written.language
    draft.record(
        LanguageRecognized(
            message_id=str(inputs.message.message_id),
            language=found,
            previous=contact.locale,
            confidence=written.confidence,
        )
    )
    return dataclasses.replace(inputs, contact=dataclasses.replace(contact, locale=found, language_read=True))


def _speaks(inputs: Inputs, wanted: str) -> bool:
    """Whether the bot's own sentences, a skill or a flow that can be started knows the language."""
    phrases = chain.from_iterable(
        known.phrases for known in chain[SkillSpec | Flow](inputs.registry.values(), inputs.flows.values())
    )
    return wanted in LANGUAGES or any(language(phrase.locale) == wanted for phrase in phrases)
