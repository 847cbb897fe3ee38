"""Sends mail through the server that the operator names: ``DRAGOMAN_SMTP_URL``.

    smtp://user:password@mail.example.org:587?from=dragoman@example.org     STARTTLS
    smtps://user:password@mail.example.org:465                              TLS from the start
    smtp://127.0.0.1:25                                                     a server beside this one

Credentials are sent over TLS alone, unless the server is this machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib

from dragoman.domain.errors import ConfigurationError, MailError

SECONDS = 20.0
_PORTS = {"smtp": 587, "smtps": 465}
_HERE = {"127.0.0.1", "::1", "localhost"}


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
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            host, port, parts = "", 0, urlsplit("")
        if parts.scheme not in _PORTS or not host:
            raise ConfigurationError("DRAGOMAN_SMTP_URL must be smtp://host:port or smtps://host:port")
        given = dict(parse_qsl(parts.query))
        return cls(
            host=host,
            port=port,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            sender=given.get("from") or f"dragoman@{urlsplit(base_url).hostname or 'localhost'}",
            tls=parts.scheme == "smtps",
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
