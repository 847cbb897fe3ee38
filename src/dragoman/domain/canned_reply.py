"""Canned replies: texts that agents send often, with variables that are filled from the conversation.

What is not known leaves a gap that anybody sees, ⟦contact’s name⟧, and that :func:`gaps_in` finds before it is sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from dragoman.bounded import reads_outside_text
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plain_text import cut, visible_name
from dragoman.translations import deferred

LONGEST_SHORTCUT = 40
LONGEST_TITLE = 80
LONGEST_BODY = 4000
LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class ReplyVariable:
    """What a body may name: ``label`` stands in a gap, ``sample`` in previews."""

    label: str
    sample: str


VARIABLES: Mapping[str, ReplyVariable] = {
    "contact.name": ReplyVariable(deferred("contact’s name"), "Marina Souza"),
    "contact.first_name": ReplyVariable(deferred("contact’s first name"), "Marina"),
    "contact.phone": ReplyVariable(deferred("contact’s phone number"), "+43 660 000 00 00"),
    "business_partner.name": ReplyVariable(deferred("business partner"), "Elektro Huber GmbH"),
    "agent.name": ReplyVariable(deferred("your name"), "Ana Lima"),
    "session.intent": ReplyVariable(deferred("subject"), "Order status"),
    "channel.name": ReplyVariable(deferred("channel"), "Service"),
}
"""Every variable of a body."""

SAMPLES: Mapping[str, str] = {name: variable.sample for name, variable in VARIABLES.items()}

# Pairs of braces that are no variable are found too: they must not be sent either.
_MARK = re.compile(r"\{\{([^{}]*)\}\}|\{\{|\}\}")
_GAP = re.compile(r"⟦([^⟦⟧]*)⟧")
_SHORTCUT = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{LONGEST_SHORTCUT - 1}}}")
_LANGUAGE = re.compile(r"(?:[a-z]{2,3})?")
SHORTCUT_PATTERN, LANGUAGE_PATTERN = f"^{_SHORTCUT.pattern}$", f"^{_LANGUAGE.pattern}$"
"""What is taken, for a document."""
# A value is somebody's name or number: it can be no mark of ours, nor turn the text around it.
_HARMLESS = str.maketrans({"{": "(", "}": ")", "⟦": "[", "⟧": "]"} | dict.fromkeys("\u061c\u200e\u200f\u202a\u202b"
    "\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class FilledReply:
    """A reply's text, and the variables of which nothing was known: their gaps are the agent's to fill."""

    text: str
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyText:
    """A canned reply as somebody writes it; ``language`` is empty where it is for any."""

    shortcut: str
    title: str
    body: str
    language: str = ""


def gap(label: str) -> str:
    """Mark that something is to be put in here."""
    return f"⟦{label}⟧"


@reads_outside_text
def gaps_in(text: str) -> tuple[str, ...]:
    """The labels of the gaps that are left in *text*, which must not be sent with any."""
    return tuple(dict.fromkeys(found[1] for found in _GAP.finditer(text)))


@reads_outside_text
def fill(body: str, values: Mapping[str, str]) -> FilledReply:
    """Put *values* for the variables of *body*, once: what stands in a value is not filled again.

    A value that is absent or blank leaves a gap, and so does what names no variable.
    """
    missing: dict[str, None] = {}

    def put(found: re.Match[str]) -> str:
        name = (found[1] or "").strip()
        value = plain_value(values.get(name, "")) if name in VARIABLES else ""
        if value:
            return value
        missing[name or found[0]] = None
        return gap(VARIABLES[name].label if name in VARIABLES else "?")

    return FilledReply(_MARK.sub(put, body), tuple(missing))


@reads_outside_text
def plain_value(value: str) -> str:
    """One line without control characters and braces, of LONGEST_VALUE at most; empty where nothing of it shows."""
    looked_at = value[: 4 * LONGEST_VALUE].translate(_HARMLESS)
    return cut(visible_name(looked_at) or "", LONGEST_VALUE).rstrip()


@reads_outside_text
def unknown_variables(body: str) -> tuple[str, ...]:
    """What stands in double braces and names no variable; a pair of braces by itself as it stands."""
    marks = ((found[1].strip() if found[1] is not None else "") or found[0] for found in _MARK.finditer(body))
    return tuple(dict.fromkeys(name for name in marks if name not in VARIABLES))


def problems(reply: ReplyText) -> dict[str, str]:
    """What is wrong with a reply, by field; empty for one that can be saved."""
    found: dict[str, str] = {}
    if not _SHORTCUT.fullmatch(reply.shortcut):
        found["shortcut"] = deferred(
            "Small letters, digits, - and _, %(most)s at most, such as late-delivery.", most=LONGEST_SHORTCUT
        )
    if not 1 <= len(reply.title.strip()) <= LONGEST_TITLE or _has_controls(reply.title, allowed=""):
        found["title"] = deferred("One line of at most %(most)s characters.", most=LONGEST_TITLE)
    if not _LANGUAGE.fullmatch(reply.language):
        found["language"] = deferred("A language’s two letters, such as en, or nothing for any.")
    if not reply.body.strip() or len(reply.body) > LONGEST_BODY:
        found["body"] = deferred("A text of at most %(most)s characters.", most=LONGEST_BODY)
    elif _has_controls(reply.body, allowed="\n\t"):
        found["body"] = deferred("It holds characters that cannot be sent: write it as plain text.")
    elif unknown := unknown_variables(reply.body):
        names = ", ".join(cut(name, 60) for name in unknown[:3])
        found["body"] = deferred(
            "There is no variable %(names)s; there are %(known)s.", names=names, known=", ".join(VARIABLES)
        )
    elif "⟦" in reply.body or "⟧" in reply.body:
        found["body"] = deferred("The brackets ⟦ and ⟧ mark what is missing: use others.")
    return found


def check(reply: ReplyText) -> None:
    """Raise ConfigurationError, which says what is wrong, for a reply that cannot be saved."""
    if found := problems(reply):
        raise ConfigurationError(" ".join(f"{field}: {said}" for field, said in found.items()))


def _has_controls(text: str, *, allowed: str) -> bool:
    """Whether *text* holds control characters, or half a surrogate pair, which nothing can store."""
    return any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text)
