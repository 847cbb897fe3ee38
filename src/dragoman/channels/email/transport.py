"""Sends what stands in the outbox by SMTP: implements :class:`~dragoman.channels.interface.MailTransport`."""

from __future__ import annotations

import asyncio
from uuid import UUID

from dragoman.channels.email import inbound
from dragoman.channels.email.outgoing import compose, is_message_id, message_id_of
from dragoman.channels.email.smtp_pool import SmtpPool, SmtpServer
from dragoman.channels.interface import (
    Answer,
    Checked,
    CheckFinding,
    LimitError,
    MailThread,
    OutgoingEmail,
    Refused,
    RetryClass,
)
from dragoman.domain.errors import ConfigurationError
from dragoman.translations import deferred


class SmtpTransport:
    """Keeps a few connections to each server, from the first mail on until it is closed."""

    def __init__(self, pool: SmtpPool | None = None) -> None:
        self._pool = pool or SmtpPool()

    async def send(self, server: str, mail: OutgoingEmail) -> Answer | LimitError:
        """See :meth:`~dragoman.channels.interface.MailTransport.send`."""
        try:
            where = SmtpServer.from_url(server)
            # Files of megabytes take their time to be encoded.
            message = await asyncio.to_thread(compose, mail) if mail.attachments else compose(mail)
        except LimitError as error:
            return error
        except ConfigurationError as error:
            meaning = f"{error}."
            return Refused(
                http_status=0, code=None, message="", answer={}, retry=RetryClass.STOP_CHANNEL, meaning=meaning
            )
        return await self._pool.send(
            where, sender=mail.sender, recipient=mail.recipient, message=message, message_id=mail.message_id
        )

    async def check(self, server: str) -> Checked:
        """See :meth:`~dragoman.channels.interface.MailTransport.check`."""
        try:
            where = SmtpServer.from_url(server)
        except ConfigurationError as error:
            return Checked(findings=(CheckFinding(deferred("Mail server"), False, f"{error}."),))
        refused = await self._pool.probe(where)
        if refused is None:
            return Checked(
                findings=(
                    CheckFinding(
                        deferred("Mail server"), True, deferred("%(server)s lets us send.", server=where.name)
                    ),
                )
            )
        said = f"{where.name}: {refused.meaning} {refused.message}".strip()
        return Checked(findings=(CheckFinding(deferred("Mail server"), False, said),))

    def fault(self, server: str) -> str | None:
        """See :meth:`~dragoman.channels.interface.MailTransport.fault`."""
        try:
            SmtpServer.from_url(server)
        except ConfigurationError as error:
            return f"{error}."
        return None

    def message_id(self, correlation: str, mailbox: str) -> str:
        """See :meth:`~dragoman.channels.interface.MailTransport.message_id`."""
        return message_id_of(UUID(correlation), mailbox)

    def read_thread(self, body: bytes) -> MailThread:
        """See :meth:`~dragoman.channels.interface.MailTransport.read_thread`."""
        mail = inbound.read(body)
        if mail is None:
            return MailThread(subject="", references=())
        # What strangers call their mails goes into ours only where any server can read it.
        references = tuple(filter(is_message_id, (*mail.references, mail.message_id)))
        return MailThread(subject=mail.subject, references=references)

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._pool.close()
