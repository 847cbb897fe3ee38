"""Hands a file that an agent attached over to the channel, before it is sent with an answer.

No transaction of its own but to read the account: whatever goes wrong here has not touched the conversation, and a file
that no message refers to is forgotten by the channel.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.channels.interface import AccountAccess, Refused, Unanswered
from dragoman.domain.content import Media
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.media_types import UNKNOWN, look, safe_filename
from dragoman.ledger import sessions
from dragoman.runtime import Runtime
from dragoman.services.handoff.hold_session import GONE
from dragoman.store.channels import channel_accounts
from dragoman.translations import deferred

MOST_BYTES = 4 * 1000 * 1000
"""Less than what a request of the console may have; WhatsApp takes pictures of 5 MB and more of everything else."""

PICTURES = frozenset({"image/jpeg", "image/png"})
FILMS = frozenset({"video/mp4", "video/3gpp"})
SOUNDS = frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"})
"""What WhatsApp takes as such; everything else goes as a document."""


async def attach_file(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, *, content: bytes, name: str, claimed_type: str, caption: str
) -> Media:
    """Upload *content*; the answer that sends it. Its bytes decide what it is, whatever the browser claims.

    Raises NotFoundError, and ChangeRefusedError where the file cannot be sent or the channel does not take it.
    """
    if not content:
        raise ChangeRefusedError(deferred("The file is empty."))
    if len(content) > MOST_BYTES:
        raise ChangeRefusedError(
            deferred(
                "The file has %(size)s MB; %(most)s MB can be sent.",
                size=round(len(content) / 1e6, 1),
                most=round(MOST_BYTES / 1e6),
            )
        )
    async with runtime.database.tenant(tenant_id) as connection:
        if await sessions.get(connection, tenant_id, session_id) is None:
            raise NotFoundError(GONE)
        context = await sessions.context(connection, tenant_id, session_id)
        account = await channel_accounts.load(connection, tenant_id, context.channel_account_id)
    if account.channel != "whatsapp":
        raise ChangeRefusedError(deferred("Files can be sent on WhatsApp only."))
    found = look(content[: 256 * 1024]).mime_type
    mime_type = found if found != UNKNOWN else claimed_type or UNKNOWN
    media = _kind(found)
    filename = safe_filename(name, otherwise="file")
    credentials = channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
    client = runtime.client(AccountAccess(address=account.address, token=credentials.token))
    answer = await client.upload(content, mime_type, filename)
    if isinstance(answer, Refused):
        raise ChangeRefusedError(deferred("WhatsApp does not accept this file: %(message)s", message=answer.message))
    if isinstance(answer, Unanswered):
        raise ChangeRefusedError(deferred("WhatsApp could not be reached. The file was not sent; try again."))
    shown = caption.strip() if media in ("image", "video", "document") else ""
    return Media(
        media=media,
        media_id=answer,
        mime_type=mime_type,
        caption=shown or None,
        filename=filename if media == "document" else None,
    )


def _kind(mime_type: str) -> str:
    if mime_type in PICTURES:
        return "image"
    if mime_type in FILMS:
        return "video"
    return "audio" if mime_type in SOUNDS else "document"
