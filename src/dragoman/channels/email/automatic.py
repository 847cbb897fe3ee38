"""Tells mails that a machine wrote by itself: none is ever dispatched or answered, or two machines write for ever.

What marks one: RFC 3834 (automatic answers), RFC 5230 (out of office), RFC 2369 and 2919 (lists), RFC 5321 (bounces).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from email.message import EmailMessage

from dragoman.bounded import reads_outside_text
from dragoman.channels.email import inbound, wire
from dragoman.domain.email_address import without_tag

MOST_LOOKED_AT = 20
"""Headers of one name that are read; a mail has one."""

_WORD = re.compile(r"[\s\"']*([A-Za-z0-9_-]{1,40})")
_MASS = frozenset({"bulk", "list", "junk", "auto_reply"})
_SUPPRESSED = frozenset({"all", "oof", "autoreply"})
_MAIL_SYSTEMS = frozenset({"mailer-daemon", "postmaster"})
_AUTOMATIC_ANSWERS = ("X-Autoreply", "X-Autorespond", "X-Autoresponder")


@reads_outside_text
def automatic_reason(message: EmailMessage, own_mailboxes: Collection[str] = ()) -> str | None:
    """Why *message* is held to be written by a machine, in plain words; None for one that a person may have written.

    *own_mailboxes* are the tenant's: what comes from there has come back.
    """
    said = _said_reason(message) or _sender_reason(message, own_mailboxes)
    return f"an automatic mail, which is not answered: {said}" if said else None


def _said_reason(message: EmailMessage) -> str | None:
    """What its headers say of how it was sent."""
    suppressed = {
        part.strip().lower() for value in _values(message, "X-Auto-Response-Suppress") for part in value.split(",")
    }
    listed = [value for name in ("List-Id", "List-Unsubscribe") for value in _values(message, name)]
    answers = [word for name in _AUTOMATIC_ANSWERS for word in _words(message, name)]
    marks = (
        (_returns_to_nobody(message), "it has no return address, as only mail systems send"),
        (_yes(_words(message, "Auto-Submitted")), "it says that no person sent it (Auto-Submitted)"),
        (_MASS & {*_words(message, "Precedence")}, "it was sent to many, or by an automatic answer (Precedence)"),
        (any(listed), "it came from a mailing list (List-Id or List-Unsubscribe)"),
        (_SUPPRESSED & suppressed, "it wants no automatic answer (X-Auto-Response-Suppress)"),
        (_yes(answers), "it says that it is an automatic answer"),
    )
    return next((reason for found, reason in marks if found), None)


def _returns_to_nobody(message: EmailMessage) -> bool:
    # The first one is that of the server that handed the mail to us; others may have been in it before.
    return _values(message, "Return-Path")[:1] in ([""], ["<>"])


def _yes(words: list[str]) -> bool:
    return any(word not in {"", "no"} for word in words)


def _sender_reason(message: EmailMessage, own_mailboxes: Collection[str]) -> str | None:
    """What its writer's address says."""
    writers = inbound.addresses(message, "From")
    if any(address.partition("@")[0] in _MAIL_SYSTEMS for _, address in writers):
        return "a mail system wrote it"
    if any(address in own_mailboxes or without_tag(address) in own_mailboxes for _, address in writers):
        return "it came from a mailbox of ours"
    return None


def _values(message: EmailMessage, name: str) -> list[str]:
    return [wire.header_text(str(value))[:1000].strip() for value in message.get_all(name, [])[:MOST_LOOKED_AT]]


def _words(message: EmailMessage, name: str) -> list[str]:
    """The first word of each header of that name; what stands behind it are parameters and comments."""
    return [found[1].lower() if (found := _WORD.match(value)) else "" for value in _values(message, name)]
