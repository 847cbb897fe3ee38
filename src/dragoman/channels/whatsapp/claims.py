"""Finds for which numbers an unverified webhook says it is, without parsing it.

The answer chooses whose secret is tried first, and nothing else: it is the sender's to claim. A quotation mark inside
a JSON string has a backslash before it, so that no text of a contact looks like one of these keys.
"""

from __future__ import annotations

import re
from itertools import islice

PEEK_BYTES = 64 * 1024
"""How much of either end is looked at. Meta names the account at the beginning of each entry."""

MOST_CLAIMS = 64

_NUMBER = re.compile(rb'"phone_number_id"[ \t\r\n]*:[ \t\r\n]*"([0-9]{1,32})"')
_ANY_ID = re.compile(rb'"id"[ \t\r\n]*:[ \t\r\n]*"([0-9]{1,32})"')


def claimed_accounts(body: bytes) -> list[str]:
    """List what *body* names: phone number ids first, then what may be business accounts; MOST_CLAIMS of each."""
    looked_at = body if len(body) <= 2 * PEEK_BYTES else body[:PEEK_BYTES] + b"\n" + body[-PEEK_BYTES:]
    found: dict[str, None] = {}
    for pattern in (_NUMBER, _ANY_ID):
        for match in islice(pattern.finditer(looked_at), MOST_CLAIMS):
            found[match[1].decode("ascii")] = None
    return list(found)
