"""Makes and checks the signature over a webhook's raw bytes.

Rule: header ``X-Hub-Signature-256: sha256=<hex HMAC-SHA256(raw body, app secret)>``,
https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads
"""

from __future__ import annotations

import hmac
import re

_PREFIX = "sha256="
_FORM = re.compile(r"\s*sha256=[0-9a-fA-F]{64}\s*", re.ASCII)


def is_well_formed(header: str) -> bool:
    """Say whether *header* could be a signature at all; cheap enough to be asked before the body is read."""
    return _FORM.fullmatch(header) is not None


def sign(body: bytes, secret: str) -> str:
    """Make the value of the signature header for exactly these bytes."""
    return _PREFIX + hmac.digest(secret.encode(), body, "sha256").hex()


def verify(body: bytes, header: str | None, secret: str) -> bool:
    """Whether *header* signs *body* with *secret*; compared in constant time.

    False for an absent or malformed header, and for an empty secret: anybody could sign with that.
    """
    if not secret or header is None or not header.startswith(_PREFIX):
        return False
    # Bytes, because compare_digest refuses text beyond ASCII, and the header is the sender's to choose.
    return hmac.compare_digest(sign(body, secret).encode(), header.strip().lower().encode("utf-8", "replace"))
