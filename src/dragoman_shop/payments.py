"""Lets customers pay by link. The gateway behind it is down in this demo, so that one sees what failing looks like."""

from __future__ import annotations

from dragoman.skills import RetryableError, SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import one_of
from dragoman_shop.orders import ShopOrder

FAILURES = (
    "pay.voltfair.example:443 refused the connection (Connect call failed)",
    "pay.voltfair.example answered 503 Service Unavailable: upstream connect error",
    "pay.voltfair.example closed the connection without an answer",
)


@skill(
    name="payments.link",
    label="Payment link",
    version="0.9.4",
    owner="Payments",
    module="payments",
    timeout=4.0,
    cost_micros=200,
    phrases={
        "en": [
            "I want to pay my order",
            "send me a payment link",
            "how can I pay online",
            "pay by card",
            "can I pay with PayPal",
            "my payment did not go through, send me a new link",
        ],
        "de": [
            "ich möchte meine Bestellung bezahlen",
            "schicken Sie mir einen Zahlungslink",
            "wie kann ich online bezahlen",
            "mit Karte zahlen",
            "kann ich mit PayPal zahlen",
            "die Zahlung hat nicht geklappt, bitte neuer Link",
        ],
        "es": [
            "quiero pagar mi pedido",
            "envíeme un enlace de pago",
            "cómo puedo pagar en línea",
            "pagar con tarjeta",
            "se puede pagar con PayPal",
        ],
        "fr": [
            "je veux payer ma commande",
            "envoyez-moi un lien de paiement",
            "comment payer en ligne",
            "payer par carte",
            "peut-on payer avec PayPal",
        ],
        "pt": [
            "quero pagar meu pedido",
            "envie um link de pagamento",
            "como posso pagar online",
            "pagar com cartão",
        ],
        "it": [
            "voglio pagare il mio ordine",
            "mandami un link di pagamento",
            "come posso pagare online",
            "pagare con la carta",
        ],
    },
)
async def link(context: SkillContext, order: ShopOrder) -> SkillAnswer:
    """Make a payment link for an order. Always fails: the gateway is down."""
    await pace.wait(35)
    raise RetryableError(one_of(FAILURES, order.order_number, context.attempt))
