"""Says what Meta's error codes mean for a dispatcher.

Decide on ``code`` alone: titles, texts, subcodes and HTTP statuses vary between versions.
https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from __future__ import annotations

from dragoman.channels.interface import Meaning, RetryClass

_TABLE: dict[RetryClass, dict[tuple[int, ...], str]] = {
    RetryClass.RETRY: {
        (131053,): "WhatsApp could not take the media file.",
    },
    RetryClass.UNREACHABLE: {
        (1, 2, 131000, 131016, 133004): "WhatsApp has a temporary problem.",
        (131057,): "The business account is in maintenance for a moment.",
    },
    RetryClass.HOLD_CONTACT: {
        (131056,): "Too many messages to this contact in a short time.",
    },
    RetryClass.BACK_OFF_NUMBER: {
        (130429,): "The number sends faster than its throughput allows.",
    },
    RetryClass.BACK_OFF_CHANNEL: {
        (4, 613, 80007, 133016): "The business account made too many calls.",
        (138018, 147004): "The business account made too many calls of this kind.",
    },
    RetryClass.STOP_CHANNEL: {
        (0, 190): "The access token is invalid or has expired.",
        (3, 10, 131005): "The access token lacks a permission that is needed.",
        (368, 131031): "WhatsApp has blocked the business account for a policy violation.",
        (130497,): "The business account may not message people in this country.",
        (131037,): "The number's display name is not approved yet.",
        (131042, 131044): "There is a problem with the business account's payment method.",
        (131045, 133010): "The phone number is not registered.",
        (131048,): "Too many people blocked or reported this number; WhatsApp limits what it may send.",
        (131064,): "The business account reached its limit for templates of this classification.",
    },
    RetryClass.NEEDS_TEMPLATE: {
        (131047,): "The contact's last message is more than 24 hours old; only a template may be sent.",
    },
    RetryClass.SPARE_CONTACT: {
        (131049,): "WhatsApp did not deliver it, to spare the contact too many marketing messages; wait a day.",
    },
    RetryClass.OPTED_OUT: {
        (131050,): "The contact stopped marketing messages.",
    },
    RetryClass.PERMANENT: {
        (33, 100, 131008, 131009, 135000): "WhatsApp refused the request's content.",
        (130472,): "The contact is part of an experiment of WhatsApp and gets no marketing messages.",
        (131021,): "The recipient is the sending number itself.",
        (131026,): "The contact cannot be reached on WhatsApp.",
        (131030,): "The recipient is not on the test number's list.",
        (131051,): "WhatsApp does not know this type of message.",
        (131052,): "WhatsApp could not load the media file.",
        (131062,): "This message cannot be sent to a user id, only to a phone number.",
        (131063,): "Marketing templates are switched off for this number.",
        (132000, 132008, 132012): "The template's parameters do not fit it.",
        (132001,): "The template does not exist in this language, or is not approved.",
        (132005,): "The template's text is too long once its parameters are filled in.",
        (132007,): "The template's text breaks a rule of WhatsApp.",
        (132015, 132016): "The template is paused or disabled for low quality.",
        (132068, 132069): "The form is blocked or throttled.",
        (137000,): "The contact's identity has changed and has to be confirmed.",
        (131020, 131041, 131059, *range(131201, 131216)): "WhatsApp refused it for a reason that concerns groups.",
        tuple(range(138000, 138018)): "WhatsApp refused it for a reason that concerns calls.",
        (147001, 147002, 147003): "WhatsApp refused it for a reason that concerns user names.",
    },
}

MEANINGS: dict[int, Meaning] = {
    code: Meaning(retry, meaning) for retry, rows in _TABLE.items() for codes, meaning in rows.items() for code in codes
}
"""Every code that the dispatcher knows, without the permission codes 200 to 299."""


def meaning_of(code: int | None, *, http_status: int = 400, transient: bool = False) -> Meaning:
    """What *code* means; for an unknown or absent one the HTTP status is all there is to go by.

    *transient* is Meta's own ``is_transient``; it counts only for codes that are not in :data:`MEANINGS`.
    """
    if code in MEANINGS:
        return MEANINGS[code]
    if code is not None and 200 <= code <= 299:
        return Meaning(RetryClass.STOP_CHANNEL, "The access token lacks a permission that is needed.")
    if transient or http_status >= 500:
        return Meaning(RetryClass.UNREACHABLE, "WhatsApp has a temporary problem.")
    if http_status == 401:
        return Meaning(RetryClass.STOP_CHANNEL, "WhatsApp did not accept the access token.")
    if http_status in {403, 407, 408, 425, 429} or http_status < 400:
        # Without Meta's code this may well be a proxy or firewall on the way: slow down, lose nothing.
        return Meaning(RetryClass.BACK_OFF_CHANNEL, "The call did not get through to WhatsApp.")
    return Meaning(RetryClass.PERMANENT, "WhatsApp refused the message for a reason that is not known here.")
