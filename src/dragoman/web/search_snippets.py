"""What a reader may see of the messages by which conversations were found: by words, or by when they were written."""

from __future__ import annotations

from uuid import UUID

from dragoman.domain.search_words import Piece, Search, snippet
from dragoman.services.visibility import Masks, Visibility
from dragoman.store.conversation_list.conversations import Page


def pieces(page: Page, visibility: Visibility, masks: Masks) -> dict[UUID, tuple[Piece, ...]]:
    """By session, the part of its message around what was found, or the beginning; masked before it is cut."""
    search = page.search or Search.parse("")
    by_session = {**page.late, **page.matches}
    return {
        found.session_id: snippet(visibility.match(found, by_session[found.session_id], masks), search)
        for found in page.items
        if found.session_id in by_session
    }
