"""How long and how many: what the channels take in one message, and how what is longer is made to fit.

A text is cut into several messages; what cannot be cut without changing its meaning (the options to pick from) is a
fault of whoever wrote it, and is told to them. The figures are WhatsApp's (facts of the channel, section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from urllib.parse import urlsplit

from dragoman.domain.content import Content, Link, Options, Request, Text
from dragoman.domain.plain_text import units
from dragoman.domain.split import split

TEXT: Mapping[str, int] = {"whatsapp": 4096}
"""Longest text of one message, by channel; a channel that is not here has no limit."""

BUTTON_TEXT: Mapping[str, int] = {"whatsapp": 1024}
"""Longest text above a button that opens an address or gives us something."""

OPTIONS = 10
OPTION_TITLE = 24
OPTION_ID = 200
LINK_TITLE = 20
LINK_URL = 2000
WANTS = ("location", "contact")


def fitting(content: Content, channel: str) -> tuple[Content, ...]:
    """*content* as the messages that *channel* takes, in order; itself where it fits."""
    limit = (BUTTON_TEXT if isinstance(content, Link | Request) else TEXT).get(channel)
    if limit is None or not isinstance(content, Text | Options | Link | Request) or units(content.body) <= limit:
        return (content,)
    *before, last = split(content.body, limit)
    return (*map(Text, before), dataclasses.replace(content, body=last))


def fault(content: Content) -> str | None:
    """What keeps *content* from being sent however it is cut, for its author to read; None where it can be sent."""
    match content:
        case Options():
            return _options_fault(content)
        case Link():
            return _link_fault(content)
        case Request(wants=wants):
            return None if wants in WANTS else f"one can ask for {' or '.join(WANTS)}, not for {wants!r}"
        case _:
            return None


def _link_fault(content: Link) -> str | None:
    if not content.title.strip():
        return "the button that opens an address has no title"
    if units(content.title) > LINK_TITLE:
        return f"the title {content.title!r} has {units(content.title)} characters; a button shows {LINK_TITLE}"
    if len(content.url) > LINK_URL:
        return f"the address has {len(content.url)} characters; {LINK_URL} are allowed"
    try:
        parts = urlsplit(content.url)
        _ = parts.port
    except ValueError:
        return f"{content.url!r} is no address"
    written = content.url.isprintable() and " " not in content.url
    if parts.scheme not in ("http", "https") or not parts.hostname or not written:
        return f"{content.url!r} is no address: it begins with https:// and has no spaces"
    return None


def _options_fault(content: Options) -> str | None:
    if len(content.options) > OPTIONS:
        return f"a reply has {len(content.options)} options; at most {OPTIONS} can be shown"
    for option in content.options:
        if not option.title.strip() or not option.id.strip():
            return f"the option {option.id!r} has no title or no id"
        if units(option.title) > OPTION_TITLE:
            return f"the title {option.title!r} has {units(option.title)} characters; at most {OPTION_TITLE} are shown"
        if len(option.id) > OPTION_ID:
            return f"the id of the option {option.title!r} has {len(option.id)} characters; {OPTION_ID} are allowed"
    return None
