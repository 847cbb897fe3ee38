"""What the core asks of a channel, and the form in which every channel hands over what it received.

A channel is known by its package here and nowhere else: :class:`Inbound` reads what the outside delivered,
:class:`Outbound` speaks for our accounts. All between the two works on these values and on
:mod:`dragoman.domain.content`. A channel that cannot send yet implements the first alone; its replies wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol

import httpx

from dragoman.domain.content import Content
from dragoman.domain.errors import DragomanError
from dragoman.domain.message_template import MessageTemplate
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.domain.redaction import RedactionRule


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChange:
    """The channel says that one identity of a person has taken the place of another, at that time."""

    old: Identity
    new: Identity
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMessage:
    """What a person wrote, in one message.

    ``address`` is that of the channel account it was sent to. ``sender`` has every identity that the channel gave;
    the first one is answered. ``username`` is the channel's handle, without an at sign; ``default_name`` stands for the
    name of whoever gave none. ``fingerprint`` is the same in every delivery of a message. ``channel_at`` is None where
    the channel's time could not be read. ``from_us``: the business wrote it itself, outside of Dragoman, and ``sender``
    is who got it. ``group`` is where it was written, if not in private. ``revokes_confirmation``: the channel says that
    somebody else may be writing. ``owner`` is whose the account is, should we not know it: with WhatsApp, the business
    account.
    """

    address: str
    channel_message_id: str
    sender: tuple[Identity, ...]
    display_name: str | None
    phone: str | None
    locale: str
    channel_at: datetime | None
    content: Content
    fingerprint: str
    context: MessageContext
    attached_to: str | None = None
    identity_change: IdentityChange | None = None
    revokes_confirmation: bool = False
    owner: str | None = None
    username: str | None = None
    default_name: str = ""
    from_us: bool = False
    group: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What became of a message of ours, in the channel's own word.

    ``participant`` is who in a group it is about, empty otherwise. ``correlation`` is the text that we had asked to
    get back, or None. ``recipient`` has every identity that the channel gave of the person that it went to.
    """

    address: str
    channel_message_id: str
    status: str
    channel_at: datetime | None
    errors: tuple[Mapping[str, Any], ...]
    correlation: str | None
    participant: str
    raw: Mapping[str, Any]
    owner: str | None = None
    recipient: tuple[Identity, ...] = ()


Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEvent:
    """What the channel says of an account of ours; from ``warning`` on an operator should look at it."""

    event: str
    severity: Severity
    summary: str
    display: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What a person chose about marketing messages."""

    sender: tuple[Identity, ...]
    opts_out: bool
    detail: str
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChange:
    """The channel says that a template has changed; None for what it says nothing of.

    ``is_complete``: what it says is all that has changed, as far as we keep it.
    """

    name: str
    language: str
    status: str | None = None
    quality: str | None = None
    category: str | None = None
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Anything else, kept with the reason in plain words; what follows from it, if anything, is in the last fields.

    ``one_person`` are identities that the channel says are one person's; ``group_names`` are what groups are
    called, by their ids.
    """

    address: str | None
    owner: str | None
    field: str
    reason: str
    raw: Mapping[str, Any]
    event: AccountEvent | None = None
    template: TemplateChange | None = None
    preference: Preference | None = None
    identity_change: IdentityChange | None = None
    one_person: tuple[Identity, ...] = ()
    group_names: tuple[tuple[str, str], ...] = ()


Item = ChannelMessage | Status | Other


class MalformedDeliveryError(ValueError):
    """The bytes are nothing that this channel delivers."""


class Inbound(Protocol):
    """Reads what a channel delivers. Total: an item that cannot be read is an :class:`Other` or unsupported."""

    @property
    def name(self) -> str:
        """As channel accounts have it."""
        ...

    def parse(self, body: bytes) -> tuple[Item, ...]:
        """Read every item of a delivery, in order. Raises MalformedDeliveryError."""
        ...

    def raw_items(self, body: bytes) -> list[Any]:
        """Give what each item of :meth:`parse` stood as in the delivery, ready for JSON."""
        ...

    def redact(self, body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
        """*body* without what *rules* find in what people wrote, and how often each found something, by item's place.

        The same bytes where they find nothing.
        """
        ...

    def redact_messages(self, body: bytes, rules: Mapping[str, Sequence[RedactionRule]]) -> bytes:
        """*body* without what the rules of each message, by the channel's id of it, find in it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """Says how much fits into one message of a channel."""

    text: int
    caption: int
    options: int


class RetryClass(StrEnum):
    """What to do with a message that was refused, and how far the refusal reaches."""

    RETRY = "retry"
    """This message again, with back-off."""
    UNREACHABLE = "unreachable"
    """The channel cannot serve anybody just now: this message again, and the others wait as well if it goes on."""
    HOLD_CONTACT = "hold_contact"
    """Nothing to this contact for a while (4^attempt seconds); others are not concerned."""
    BACK_OFF_NUMBER = "back_off_number"
    """Slow down everything from this phone number."""
    BACK_OFF_CHANNEL = "back_off_channel"
    """Slow down everything of this business account."""
    STOP_CHANNEL = "stop_channel"
    """Nothing will go until somebody acts: keep the queue, alert the operator."""
    PERMANENT = "permanent"
    """This message will never go; do not send it again."""
    NEEDS_TEMPLATE = "needs_template"
    """The customer service window is closed: only a template may go."""
    SPARE_CONTACT = "spare_contact"
    """This message will never go, and no other marketing to this contact for a day."""
    OPTED_OUT = "opted_out"
    """This message will never go: the contact wants no marketing, which is to be remembered."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Says what a code means: its class, and one sentence for the record."""

    retry: RetryClass
    meaning: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The channel took the message; that it arrived is told by statuses under this id."""

    channel_message_id: str
    http_status: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The channel did not take the message; ``retry`` says what to do now, ``meaning`` says why in one sentence."""

    http_status: int
    code: int | None
    message: str
    answer: dict[str, Any]
    retry: RetryClass
    meaning: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No answer, or none that says anything.

    With ``certain_not_sent`` the request never left, and sending again is safe; without it the channel may have
    taken the message.
    """

    reason: str
    certain_not_sent: bool


Answer = Accepted | Refused | Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedFile:
    """A file that goes with a mail, under that name."""

    filename: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingEmail:
    """Holds one mail to one person.

    ``message_id`` and those that it answers stand without angle brackets; ``references`` has the nearest one last.
    ``unsubscribe_url`` takes the person off by a single request (RFC 8058). ``auto_submitted`` tells other machines
    not to answer: auto-generated, auto-replied, or None for what a person wrote (RFC 3834).
    """

    sender: str
    sender_name: str | None
    recipient: str
    subject: str
    text: str
    html: str | None
    message_id: str
    at: datetime
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    attachments: tuple[AttachedFile, ...] = ()
    unsubscribe_url: str | None = None
    auto_submitted: Literal["auto-generated", "auto-replied"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailThread:
    """What a reply to a mail needs to know of it; ``references`` are what the reply refers to, the nearest one last."""

    subject: str
    references: tuple[str, ...]


class LimitError(DragomanError):
    """The channel would refuse this message; the text is one sentence that says why."""


class Trouble(StrEnum):
    """What kind of failure it was, which decides what is done about it."""

    GONE = "gone"
    """The channel does not have the file (any more)."""
    STALE_ADDRESS = "stale_address"
    """The address has expired; a new one may be asked for."""
    REFUSED = "refused"
    """The number's token or rights are not good."""
    UNSAFE = "unsafe"
    """The address leads where no file of the channel's is."""
    TOO_LARGE = "too_large"
    """More bytes than the channel passes on."""
    PASSING = "passing"
    """Anything that may be better later."""


class MediaError(Exception):
    """The file could not be fetched; the text says why, for an administrator."""

    def __init__(self, trouble: Trouble, reason: str) -> None:
        super().__init__(reason)
        self.trouble = trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where the file can be read for the next minutes, and what the channel says of it."""

    url: str
    sha256: bytes | None
    size: int | None


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """What was looked at, whether it is well (None: could not be told), and what was seen, for a person to read."""

    name: str
    good: bool | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All findings, in the order in which they are to be mended."""

    findings: tuple[CheckFinding, ...]

    @property
    def good(self) -> bool:
        """Whether nothing was found wrong and the token was seen to work."""
        return self.findings[0].good is True and all(finding.good is not False for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateList:
    """The templates that the channel has for a business account.

    ``unreadable`` are those that could not be read, by name and language, or None where not even these could be.
    """

    templates: tuple[MessageTemplate, ...]
    unreadable: tuple[tuple[str, str] | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountAccess:
    """What it takes to speak for one channel account; secrets in clear text, never to be logged or stored."""

    address: str
    token: str = field(repr=False)
    app_secrets: Sequence[str] = field(default=(), repr=False)
    owner: str | None = None


class AccountClient(Protocol):
    """Speaks to the channel for one account. What goes wrong on the way is a value; only MediaError is raised."""

    async def send(
        self, content: Content, *, recipient: Identity, reply_to: str | None, correlation: str
    ) -> Answer | LimitError:
        """Send one message; *correlation* comes back in its statuses. LimitError for what does not fit."""
        ...

    async def mark_read(self, channel_message_id: str, *, typing: bool) -> Refused | Unanswered | None:
        """Show the contact that its message was read, and with *typing* that somebody writes; None once shown."""
        ...

    async def check(self) -> Checked:
        """Look whether the account's credentials and its registration are well; nothing is changed."""
        ...

    async def upload(self, content: bytes, mime_type: str, filename: str) -> str | Refused | Unanswered:
        """Hand over a file that is to be sent; the channel's id for it."""
        ...

    async def list_templates(self) -> TemplateList | Refused | Unanswered:
        """Ask for all message templates of the business account."""
        ...

    async def locate(self, media_id: str) -> Located:
        """Ask where a file can be read. Raises MediaError."""
        ...

    def read(self, located: Located) -> AsyncIterator[bytes]:
        """Read a file in pieces. Raises MediaError."""
        ...


class MailTransport(Protocol):
    """Hands mails to mail servers, which are named by their addresses (``smtp://…``) with the credentials in them."""

    async def send(self, server: str, mail: OutgoingEmail) -> Answer | LimitError:
        """Send one mail. What goes wrong on the way is a value; LimitError for what is no mail that can be sent."""
        ...

    async def check(self, server: str) -> Checked:
        """Look whether the server can be reached, shows a good certificate and takes the credentials; sends nothing."""
        ...

    def fault(self, server: str) -> str | None:
        """Why *server* is no address of a mail server that can be used, in one sentence without its password."""
        ...

    def message_id(self, correlation: str, mailbox: str) -> str:
        """The Message-ID of what we send under that correlation: the same for each attempt."""
        ...

    def read_thread(self, body: bytes) -> MailThread:
        """What a reply to the mail in *body* takes from it."""
        ...

    async def close(self) -> None:
        """Close the connections that are kept."""
        ...


class Outbound(Protocol):
    """Speaks to the outside for our accounts."""

    @property
    def limits(self) -> ChannelLimits:
        """Checked before anything is sent."""
        ...

    def fault(self, content: Content) -> str | None:
        """Why the channel would not take *content*, in one sentence; None where nothing of its limits is in the way."""
        ...

    def is_signature(self, header: str) -> bool:
        """Say whether *header* has the form of a signature, whoever made it."""
        ...

    def claimed_accounts(self, body: bytes) -> Sequence[str]:
        """List the accounts that an unverified *body* says it is for; a cheap look, good only for choosing secrets."""
        ...

    def is_signed(self, body: bytes, signature: str | None, secret: str) -> bool:
        """Whether *signature* proves that who has *secret* delivered *body*; compared in constant time."""
        ...

    def meaning_of(self, code: int | None) -> Meaning:
        """Say what a code in a status means for the dispatcher."""
        ...

    def client(self, http: httpx.AsyncClient, base_url: str, access: AccountAccess) -> AccountClient:
        """A client for one account at *base_url*; *http* is not closed by it."""
        ...


class Channel(Inbound, Outbound, Protocol):
    """A channel that receives and sends."""
