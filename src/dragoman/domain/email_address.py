"""What stands in an email address."""

from __future__ import annotations


def without_tag(address: str) -> str:
    """Return *address* without what stands behind a plus sign: ``help+anything@…`` is ``help@…``."""
    local_part, at, domain = address.rpartition("@")
    return f"{local_part.partition('+')[0] or local_part}{at}{domain}"
