"""Sends mail through the server that the operator names: ``DRAGOMAN_SMTP_URL``.

    smtp://user:password@mail.example.org:587?from=dragoman@example.org     STARTTLS
    smtps://user:password@mail.example.org:465                              TLS from the start
    smtp://127.0.0.1:25                                                     a server beside this one

Credentials are sent over TLS alone, unless the server is this machine. The URL is read by
:meth:`~dragoman.channels.email.smtp_pool.SmtpServer.from_url`.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import urlsplit

import aiosmtplib

from dragoman.channels.email.smtp_pool import THIS_MACHINE, SmtpServer
from dragoman.domain.errors import MailError

SECONDS = 20.0
_HERE = THIS_MACHINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Smtp:
    """Implements :class:`~dragoman.runtime.Mailer`."""

    host: str
    port: int
    username: str | None
    password: str | None
    sender: str
    tls: bool

    @classmethod
    def from_url(cls, url: str, *, base_url: str) -> Smtp:
        """Read which server *url* names. Raises ConfigurationError, which does not repeat the password."""
        server = SmtpServer.from_url(url, setting="DRAGOMAN_SMTP_URL")
        return cls(
            host=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            sender=server.sender or f"dragoman@{urlsplit(base_url).hostname or 'localhost'}",
            tls=server.tls == "implicit",
        )

    async def send(self, *, to: str, subject: str, text: str) -> None:
        """Hand a mail to the server. Raises MailError."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self.sender, to, subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        try:
            await aiosmtplib.send(
                message,
                hostname=self.host,
                port=self.port,
                username=self.username,
                password=self.password,
                use_tls=self.tls,
                # None: where the server offers it.
                start_tls=True if self.username and not self.tls and self.host not in _HERE else None,
                timeout=SECONDS,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailError(f"{self.host}:{self.port} did not take the mail: {type(error).__name__}") from error
