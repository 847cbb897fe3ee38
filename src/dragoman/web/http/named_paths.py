"""Keeps the names of things apart from the fixed words at the same place of an address, for ``/{name:named}``.

Without it, an address such as ``/triggers/dry-run`` would take every method that a trigger's own address takes.
"""

from __future__ import annotations

from typing import ClassVar

from starlette.convertors import Convertor, register_url_convertor

FIXED_WORDS = ("attachments", "dry-run", "preview")
"""What stands for itself."""

RESERVED_NAMES = frozenset({"new", *FIXED_WORDS})
"""No trigger and no mail template has such a name: something else stands at its address, of the API or of a page."""


class NamedConvertor(Convertor[str]):
    """Takes any part of an address but a fixed word."""

    regex: ClassVar[str] = rf"(?!(?:{'|'.join(FIXED_WORDS)})(?:/|$))[^/]+"

    def convert(self, value: str) -> str:
        """Give the part as it stands."""
        return value

    def to_string(self, value: str) -> str:
        """Write the part as it stands."""
        return value


register_url_convertor("named", NamedConvertor())
