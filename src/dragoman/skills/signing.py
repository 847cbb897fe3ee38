"""The signature on what Dragoman sends to skills: made here, and checked here by receivers written in Python.

HMAC-SHA256 over ``<Dragoman-Timestamp>.<body>`` under the whole text of a key; see ``docs/http-skills.md``. While keys
are being changed a request carries one signature for each key in use, and a receiver needs to know only one of them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

TIMESTAMP = "Dragoman-Timestamp"
SIGNATURE = "Dragoman-Signature"
KEY_ID = "Dragoman-Key-Id"

_MAX_HEADER = 1024


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key under its public id; the secret shows in no repr."""

    key_id: str
    secret: str = field(repr=False)


def new_key() -> SigningKey:
    """Make a fresh key of 256 random bits."""
    return SigningKey(key_id=f"sk_{secrets.token_hex(4)}", secret=f"dsk_{secrets.token_urlsafe(32)}")


def signature_headers(body: bytes, keys: Sequence[SigningKey], *, now: datetime) -> dict[str, str]:
    """The three headers that let a receiver trust *body*: time, key ids, and one signature for each key."""
    stamp = str(int(now.timestamp()))
    return {
        TIMESTAMP: stamp,
        KEY_ID: ",".join(key.key_id for key in keys),
        SIGNATURE: ",".join(f"v1={_digest(key.secret, stamp, body)}" for key in keys),
    }


def verify_signature(
    headers: Mapping[str, str],
    body: bytes,
    keys: Iterable[str],
    *,
    now: datetime,
    tolerance_seconds: int = 300,
) -> bool:
    """Whether *body*, as the raw bytes that came, was sent by who holds one of *keys*, at about *now*.

    *keys* are secrets, as ``dragoman skill key add`` printed them. Header names may be in any case. False for
    anything missing or malformed, and for a time stamp further than *tolerance_seconds* from *now* either way: a
    request that was recorded cannot be sent again later.
    """
    given = {name.lower(): value for name, value in headers.items()}
    stamp, claimed = given.get(TIMESTAMP.lower(), ""), given.get(SIGNATURE.lower(), "")
    # isdecimal alone takes digits of every script, and int() would too.
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12 and len(claimed) <= _MAX_HEADER):
        return False
    if abs(now.timestamp() - int(stamp)) > tolerance_seconds:
        return False
    signatures = [part.strip().encode() for part in claimed.split(",")]
    expected = [f"v1={_digest(key, stamp, body)}".encode() for key in keys if key]
    # All pairs, without stopping at the first that fits: the time taken tells nothing of it.
    return any([hmac.compare_digest(one, other) for one in expected for other in signatures])  # noqa: C419


def _digest(secret: str, stamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
