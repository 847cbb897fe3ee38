"""Tells when two ids that a channel gives name one message.

WhatsApp writes an id for whoever reads it: around the message's own token stands the person's number, or the user id
that a business portfolio knows them by (facts of the channel, section 2). A quote, a reaction or an edit may so name a
message otherwise than the message named itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache

_WHATSAPP = "wamid."
_LONGEST = 512
_TOKEN = re.compile(rb"[0-9A-F]{16,64}")


@lru_cache(maxsize=4096)
def message_token(channel_message_id: str) -> str:
    """What all ids of one message have in common; the id itself where it has no such part."""
    written = channel_message_id.removeprefix(_WHATSAPP)
    if written is channel_message_id or len(written) > _LONGEST or not written.isascii():
        return channel_message_id
    try:
        decoded = base64.b64decode(written + "=" * (-len(written) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return channel_message_id
    # Behind whoever it is for, which may be written in digits as well.
    found = _TOKEN.findall(decoded)
    return found[-1].decode() if found else channel_message_id
