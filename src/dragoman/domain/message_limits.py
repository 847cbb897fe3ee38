"""How long and how many: what the channels take in one message, and how what is longer is made to fit.

A text is cut into several messages; what cannot be cut without changing its meaning (the options to pick from) is a
fault of whoever wrote it, and is told to them. The figures are WhatsApp's (facts of the channel, section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from dragoman.domain.content import Content, Options, Text
from dragoman.domain.split import split, units

TEXT: Mapping[str, int] = {"whatsapp": 4096}
"""Longest text of one message, by channel; a channel that is not here has no limit."""

OPTIONS = 10
OPTION_TITLE = 24
OPTION_ID = 200


def fitting(content: Content, channel: str) -> tuple[Content, ...]:
    """*content* as the messages that *channel* takes, in order; itself where it fits."""
    limit = TEXT.get(channel)
    if limit is None or not isinstance(content, Text | Options) or units(content.body) <= limit:
        return (content,)
    *before, last = split(content.body, limit)
    return (*map(Text, before), dataclasses.replace(content, body=last))


def fault(content: Content) -> str | None:
    """What keeps *content* from being sent however it is cut, for its author to read; None where it can be sent."""
    if not isinstance(content, Options):
        return None
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
