"""Frames of JSON with a length before them: how a renderer and its child process speak."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

LENGTH = struct.Struct("!I")
"""The bytes before each frame, which say how many follow."""


def pack_frame(message: Mapping[str, Any]) -> bytes:
    """Write *message* with its length before it."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body
