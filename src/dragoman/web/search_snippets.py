"""What a reader may see of the messages that a search found."""

from __future__ import annotations

from uuid import UUID

from dragoman.domain.search_words import Piece, snippet
from dragoman.services.visibility import Masks, Visibility
from dragoman.store.conversation_list.conversations import Page


def pieces(page: Page, visibility: Visibility, masks: Masks) -> dict[UUID, tuple[Piece, ...]]:
    """By session, the part of its matching message around what was found; masked before it is cut."""
    if page.search is None:
        return {}
    return {
        found.session_id: snippet(visibility.match(found, page.matches[found.session_id], masks), page.search)
        for found in page.items
        if found.session_id in page.matches
    }
