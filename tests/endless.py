"""The routes that answer for as long as somebody listens: what asks every route leaves them to tests of their own."""

from __future__ import annotations

ENDLESS = frozenset({"/api/v1/events", "/communications/handoff-inbox/events"})
