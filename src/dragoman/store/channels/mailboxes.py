"""What a mailbox needs to send and to receive, which is kept sealed as every channel account's credentials are."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from cryptography.fernet import InvalidToken

from dragoman.store.channels.channel_accounts import NOT_CREDENTIALS, OTHER_KEY, UnreadableCredentialsError


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxCredentials:
    """The mail server that a mailbox sends through, with user name and password in its address.

    Empty: the installation's own server (``DRAGOMAN_SMTP_URL``).
    """

    smtp_url: str = field(default="", repr=False)

    def to_bytes(self) -> bytes:
        """The plain form; seal it before it is stored."""
        return json.dumps(asdict(self)).encode()


def unseal_mailbox(sealed: bytes, decrypt: Callable[[bytes], bytes]) -> MailboxCredentials:
    """Open the credentials of a mailbox. Raises UnreadableCredentialsError."""
    try:
        plain = decrypt(sealed)
    except InvalidToken:
        raise UnreadableCredentialsError(OTHER_KEY) from None
    try:
        read = MailboxCredentials(**json.loads(plain))
    except (ValueError, TypeError):
        raise UnreadableCredentialsError(NOT_CREDENTIALS) from None
    if not isinstance(read.smtp_url, str):
        raise UnreadableCredentialsError(NOT_CREDENTIALS)
    return read
