"""Reads message templates as Meta lists them, and what its webhooks say of them.

https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/overview and, for the webhooks,
.../whatsapp/webhooks/reference/message_template_status_update
"""

from __future__ import annotations

import re

from dragoman.channels.interface import Refused, TemplateChange, TemplateList, Unanswered
from dragoman.channels.whatsapp.client import GraphClient
from dragoman.channels.whatsapp.items import OtherItem
from dragoman.channels.whatsapp.wire import Object, each, identifier, table, text
from dragoman.domain.message_template import MEDIA_HEADERS, DefinedButton, MessageTemplate, parameters_of

FIELDS = "id,name,language,category,status,components,parameter_format,quality_score"
PAGE = 100
MOST_PAGES = 100
"""A business account has at most some thousands of templates; more pages than these are a circle."""

LONGEST_TEXT = 4096
MOST_BUTTONS = 20

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,512}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[_-][A-Za-z0-9]{2,8}){0,2}")
_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")

_TITLE_ONLY = frozenset({"quick_reply", "url", "phone_number", "copy_code", "voice_call", "request_contact_info"})
"""Kinds of buttons that need nothing that we could not give: the others open flows, catalogues or one-tap codes."""

_STATUS_AFTER = {"REINSTATED": "APPROVED", "UNARCHIVED": "APPROVED", "UNLOCKED": "APPROVED"} | {
    word: word
    for word in (
        *("APPROVED", "ARCHIVED", "DELETED", "DISABLED", "IN_APPEAL", "LIMIT_EXCEEDED", "LOCKED", "PAUSED", "PENDING"),
        *("PENDING_DELETION", "REJECTED"),
    )
}
"""The status after an event; a FLAGGED template, for one, keeps the status that it has."""

_FIELDS = frozenset(
    {
        "message_template_components_update",
        "message_template_quality_update",
        "message_template_status_update",
        "template_category_update",
    }
)


async def list_templates(client: GraphClient, waba_id: str, token: str) -> TemplateList | Refused | Unanswered:
    """All templates of the business account, whatever page they stand on; an answer that breaks off is no list."""
    found: dict[tuple[str, str], MessageTemplate] = {}
    unreadable: list[tuple[str, str] | None] = []
    after: str | None = None
    for _ in range(MOST_PAGES):
        answer = await client.look(f"{waba_id}/message_templates", token, fields=FIELDS, limit=PAGE, after=after)
        if not isinstance(answer, dict):
            return answer
        if not isinstance(answer.get("data"), list):
            return Unanswered("Meta's answer is no list of templates.", certain_not_sent=False)
        for entry in each(answer["data"]):
            template = read_template(entry)
            if template is None:
                unreadable.append(_key(table(entry)))
            else:
                found[template.name, template.language] = template
        before, after = after, _next_page(answer)
        if after is None:
            return TemplateList(templates=tuple(found.values()), unreadable=tuple(unreadable))
        if after == before:
            break
    return Unanswered("Meta's list of templates does not end.", certain_not_sent=False)


def _next_page(answer: Object) -> str | None:
    """The cursor of the next page. On the last one Meta leaves ``next`` out, and may leave the cursors."""
    paging = table(answer.get("paging"))
    if not paging.get("next"):
        return None
    return text(table(paging.get("cursors")).get("after"))


def _key(entry: Object) -> tuple[str, str] | None:
    name, language = text(entry.get("name")), text(entry.get("language"))
    if name is None or language is None or not _NAME.fullmatch(name) or not _LANGUAGE.fullmatch(language):
        return None
    return name, language


def read_template(value: object) -> MessageTemplate | None:
    """One entry of Meta's list; None for what has not the form of a template."""
    entry = table(value)
    key, status = _key(entry), _word(entry.get("status"))
    components = entry.get("components")
    if key is None or status is None or not isinstance(components, list):
        return None
    parts = {(_word(table(part).get("type")) or "").lower(): table(part) for part in components}
    if "" in parts:
        return None
    texts = {kind: text(part.get("text")) or "" for kind, part in parts.items()}
    body, header, footer = texts.get("body", ""), texts.get("header", ""), texts.get("footer", "")
    if not body.strip() or max(map(len, (body, header, footer))) > LONGEST_TEXT:
        return None
    header_format = _header_format(parts.get("header"))
    buttons = _buttons(parts.get("buttons", {}))
    if buttons is None:
        return None
    others = sorted(kind for kind in parts if kind not in ("header", "body", "footer", "buttons"))
    if header_format and header_format != "text" and header_format not in MEDIA_HEADERS:
        others.append(f"a header with {header_format}")
    others += [f"a button of kind {button.kind}" for button in buttons if button.kind not in _TITLE_ONLY]
    return MessageTemplate(
        name=key[0],
        language=key[1],
        category=(_word(entry.get("category")) or "").lower(),
        status=status,
        body=body,
        header_format=header_format,
        header=header if header_format == "text" else "",
        footer=footer,
        buttons=buttons,
        is_named=_is_named(entry, header, body),
        quality=_word(table(entry.get("quality_score")).get("score")) or "",
        unsupported=tuple(dict.fromkeys(others)),
        channel_template_id=identifier(entry.get("id")) or "",
    )


def _word(value: object) -> str | None:
    """A word of Meta's, in capitals as it writes them."""
    found = (text(value) or "").upper()
    return found if _WORD.fullmatch(found) else None


def _header_format(header: Object | None) -> str:
    return "" if header is None else (_word(header.get("format")) or "TEXT").lower()


def _is_named(entry: Object, header: str, body: str) -> bool:
    said = _word(entry.get("parameter_format"))
    if said in ("NAMED", "POSITIONAL"):
        return said == "NAMED"
    return not all(name.isdecimal() for name in (*parameters_of(header), *parameters_of(body)))


def _buttons(part: Object) -> tuple[DefinedButton, ...] | None:
    """The buttons; None where one of them, or their list, has not the form of that."""
    given = part.get("buttons", [])
    if not isinstance(given, list) or len(given) > MOST_BUTTONS:
        return None
    buttons = []
    for entry in map(table, given):
        kind, title, url = _word(entry.get("type")), text(entry.get("text")) or "", text(entry.get("url")) or ""
        if kind is None or len(title) > LONGEST_TEXT or len(url) > LONGEST_TEXT:
            return None
        buttons.append(DefinedButton(kind=kind.lower(), title=title or kind.replace("_", " ").capitalize(), url=url))
    return tuple(buttons)


def change_of(item: OtherItem) -> TemplateChange | None:
    """What a webhook says of one template; None for what says nothing that concerns a template we could have."""
    if item.field not in _FIELDS:
        return None
    value = item.raw
    key = _key({"name": value.get("message_template_name"), "language": value.get("message_template_language")})
    if key is None:
        return None
    name, language = key
    match item.field:
        case "message_template_status_update":
            status = _STATUS_AFTER.get(_word(value.get("event")) or "")
            return TemplateChange(name=name, language=language, status=status, is_complete=status is not None)
        case "message_template_quality_update":
            return TemplateChange(name=name, language=language, quality=_word(value.get("new_quality_score")))
        case "template_category_update":
            category = _word(value.get("new_category"))
            # Without ``new_category`` it tells of a change to come.
            return TemplateChange(name=name, language=language, category=category and category.lower())
        case _:
            return TemplateChange(name=name, language=language, is_complete=False)
