"""The SMTP side: takes mails into a box, and refuses those that it is told to refuse by their recipients."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from mail_standin.box import MailBox

MOST_BYTES = 26 * 1024 * 1024
REFUSALS = {
    "unknown": "550 5.1.1 There is no such mailbox here",
    "busy": "451 4.2.2 The mailbox is full, try again later",
}
"""What is answered to recipients, by what their addresses begin with."""


class _Handler:
    def __init__(self, box: MailBox) -> None:
        self._box = box

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the recipient, or say why not."""
        del server, session, options
        for begin, answer in REFUSALS.items():
            if address.lower().startswith(begin):
                return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail, once for each recipient."""
        del server, session
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        for recipient in envelope.rcpt_tos:
            await asyncio.to_thread(self._box.add, recipient, content)
        return "250 2.0.0 kept"


class MailStandin:
    """Runs a server on a port of this machine, from :meth:`start` until :meth:`close`."""

    def __init__(self, box: MailBox, *, port: int) -> None:
        self._box, self._port = box, port
        self._server: asyncio.Server | None = None

    def _protocol(self) -> Any:
        return SMTP(_Handler(self._box), hostname="mail-standin", data_size_limit=MOST_BYTES, enable_SMTPUTF8=False)

    async def start(self) -> None:
        """Begin to listen. Raises OSError where the port is taken."""
        # The library tells of each command, with addresses.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Stop to listen."""
        if self._server is not None:
            self._server.close()
            self._server = None
