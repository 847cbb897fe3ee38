"""What the dispatcher says on its own account; what it is called in other languages stands in their catalogues.

Skills bring their own words; these are the sentences around them. A locale such as ``pt-BR`` is answered
in ``pt`` where there is no catalogue of its own (docs/translating.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from dragoman import translations

SENTENCES: dict[str, str] = {
    "greeting": "Hello$name! How can I help you? Pick a topic or just write what you need.",
    "unclear": "Sorry, I did not understand that. Could you put it differently, or pick one of these?",
    "only_text": "I can only read text so far. Please tell me in words what you need, or pick one of these.",
    "bad_answer": "I could not use that answer.",
    "ask": "Please tell me: $parameter",
    "yes": "Yes",
    "no": "No",
    "menu_button": "Choose",
    "menu_more": "More",
    "menu_back": "Back",
    "human_option": "Talk to a person",
    "to_agent": "Of course. A colleague will answer you here as soon as possible.",
    "handoff": "I am not getting this right, so I am handing over to a colleague who will answer you here.",
    "goodbye": "You are welcome. Write again whenever you need something!",
    "done": "Done.",
    "skill_error": 'Sorry, that is not working at the moment. Please try again later, or write "agent" for a person.',
    "skill_retired": 'Sorry, we no longer offer that here. Write "agent" if you would like to talk to a person.',
    "verify_phone": (
        "I may only tell that to registered customers, and this number is not linked to a customer "
        'account. Write "agent" and a colleague will link it.'
    ),
    "verify_identity": (
        "For that I need to be sure that it is really you, and your identity is not confirmed yet. "
        'Write "agent" and a colleague will confirm it with you.'
    ),
    "orphaned": "Sorry, something went wrong on our side and your last message was not handled. Please write it again.",
    "rate_limited": "That is more messages at once than I can handle. Please wait a minute and then write again.",
    "busy_elsewhere": (
        "We are already talking in another chat. Please go on there; I will answer here once that is finished."
    ),
    "busy_waiting": "I was still busy with your earlier message. Please write this one again.",
    "budget_exceeded": (
        'I have done all that I may do in this conversation. Write "agent" and a colleague will go on with you.'
    ),
    "routed": "A colleague will answer you here as soon as possible.",
    "back_at": "Nobody is here at the moment; we are back on $when.",
    "away": "Nobody is here at the moment; we will answer you here as soon as we are back.",
    "confirm_offer": "For that I need to be sure that it is really you. Shall I send you a code?",
    "code_option": "Send me a code",
    "code": "Your code is $code. Write it here within $minutes min, and give it to nobody else.",
    "code_elsewhere": "I have sent a code to $to. Please write it here.",
    "code_asked": "Please write the six digits of the code that I sent.",
    "code_right": "Thank you, that is the right code.",
    "code_locked": 'There were too many wrong codes. Please try again in $minutes min, or write "agent" for a person.',
    "code_gone": "That code is no longer valid. Shall I send you a new one?",
    "code_reported": 'Thank you for telling us. The code is void now, nobody can use it. Write "agent" for a person.',
    "code_too_soon": "I have only just sent you a code. Please write it here, or ask for a new one in $seconds s.",
}

COUNTED: dict[str, tuple[str, str]] = {
    "code_wrong": (
        "That is not the code. You can try once more.",
        "That is not the code. You can try $count more times.",
    ),
}
"""Sentences with a count before a noun: for one, and for more."""

LANGUAGES = translations.languages("bot")
"""What it speaks, English first."""

# Read as this module is: the core opens no file while it decides.
_CATALOGUES = {language: translations.catalogue("bot", language) for language in LANGUAGES}


def language(locale: str) -> str:
    """Give the primary part of a language tag: ``pt`` of ``pt-BR`` or ``pt_BR``."""
    return locale.replace("_", "-").split("-")[0].lower()


def pick(by_locale: Mapping[str, str], *locales: str) -> str | None:
    """The text for the first of *locales* that has one (as written, or its language), else English, else any."""
    for locale in (*locales, "en"):
        for key in (locale, language(locale)):
            if key in by_locale:
                return by_locale[key]
    return next(iter(by_locale.values()), None)


def spoken(*locales: str) -> str:
    """Give the first of *locales* that Dragoman speaks (as written, or its language), else English."""
    return pick({tag: tag for tag in LANGUAGES}, *locales) or "en"


def counted_sentence(key: str, count: int, *locales: str) -> str:
    """A sentence of :data:`COUNTED` in the form that *count* takes, in the language of :func:`spoken`."""
    text = _CATALOGUES[spoken(*locales)].ngettext(*COUNTED[key], count)
    return Template(text).substitute(count=str(count))


def sentence(key: str, *locales: str, **values: str) -> str:
    """Say a sentence of :data:`SENTENCES` in the language of :func:`spoken`."""
    text = _CATALOGUES[spoken(*locales)].gettext(SENTENCES[key])
    return Template(text).substitute(values)
