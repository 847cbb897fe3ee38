"""Orders: where they are, sending them back, calling them off."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel

from dragoman.skills import Ask, Level, Reply, SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import day, number, one_of
from dragoman_shop.speech import language_of, say

ORDER_NUMBER = Ask(
    {
        "en": "What is your order number? It looks like VF-12345.",
        "de": "Wie lautet Ihre Bestellnummer? Sie sieht aus wie VF-12345.",
        "es": "¿Cuál es su número de pedido? Tiene la forma VF-12345.",
        "fr": "Quel est votre numéro de commande ? Il ressemble à VF-12345.",
        "pt": "Qual é o número do seu pedido? Ele tem a forma VF-12345.",
        "it": "Qual è il numero d'ordine? È del tipo VF-12345.",
    },
    pattern=r"\bVF-\d{5}\b",
)

Reason = Literal["damaged", "wrong_item", "changed_mind", "other"]

REASON = Ask(
    {
        "en": "Why would you like to return it?",
        "de": "Warum möchten Sie die Ware zurückgeben?",
        "es": "¿Por qué quiere devolverlo?",
        "fr": "Pourquoi souhaitez-vous le retourner ?",
        "pt": "Por que você quer devolver?",
        "it": "Perché vuoi restituirlo?",
    },
    titles={
        "damaged": {
            "en": "It is damaged",
            "de": "Beschädigt",
            "es": "Está dañado",
            "fr": "Il est abîmé",
            "pt": "Está danificado",
            "it": "È danneggiato",
        },
        "wrong_item": {
            "en": "Wrong item",
            "de": "Falscher Artikel",
            "es": "Artículo equivocado",
            "fr": "Mauvais article",
            "pt": "Item errado",
            "it": "Articolo sbagliato",
        },
        "changed_mind": {
            "en": "Changed my mind",
            "de": "Gefällt nicht",
            "es": "Ya no lo quiero",
            "fr": "J'ai changé d'avis",
            "pt": "Mudei de ideia",
            "it": "Ho cambiato idea",
        },
        "other": {
            "en": "Another reason",
            "de": "Anderer Grund",
            "es": "Otro motivo",
            "fr": "Autre raison",
            "pt": "Outro motivo",
            "it": "Altro motivo",
        },
    },
)


class ShopOrder(BaseModel):
    """Names an order by its number."""

    order_number: Annotated[str, ORDER_NUMBER]


class Return(ShopOrder):
    """An order that goes back, and why."""

    reason: Annotated[Reason, REASON]


STEPS: dict[str, dict[str, str]] = {
    "packing": {
        "en": "Order {order} is being packed and will leave us on {day}.",
        "de": "Bestellung {order} wird gerade gepackt und geht am {day} auf die Reise.",
        "es": "El pedido {order} se está preparando y saldrá el {day}.",
        "fr": "La commande {order} est en préparation et partira le {day}.",
        "pt": "O pedido {order} está sendo embalado e sairá em {day}.",
        "it": "L'ordine {order} è in preparazione e partirà il {day}.",
    },
    "shipped": {
        "en": "Order {order} is on its way; it should be with you on {day}. 📦",
        "de": "Bestellung {order} ist unterwegs und sollte am {day} bei Ihnen sein. 📦",
        "es": "El pedido {order} está en camino; debería llegar el {day}. 📦",
        "fr": "La commande {order} est en route ; elle devrait arriver le {day}. 📦",
        "pt": "O pedido {order} está a caminho; deve chegar em {day}. 📦",
        "it": "L'ordine {order} è in viaggio; dovrebbe arrivare il {day}. 📦",
    },
    "delivered": {
        "en": "Order {order} was delivered on {day}.",
        "de": "Bestellung {order} wurde am {day} zugestellt.",
        "es": "El pedido {order} se entregó el {day}.",
        "fr": "La commande {order} a été livrée le {day}.",
        "pt": "O pedido {order} foi entregue em {day}.",
        "it": "L'ordine {order} è stato consegnato il {day}.",
    },
}

RESCHEDULE = {
    "en": "Change the date",
    "de": "Termin ändern",
    "es": "Cambiar la fecha",
    "fr": "Changer la date",
    "pt": "Mudar a data",
    "it": "Cambiare data",
}

SEND_BACK = {
    "en": "Return it",
    "de": "Zurückgeben",
    "es": "Devolver",
    "fr": "Retourner",
    "pt": "Devolver",
    "it": "Restituire",
}


@skill(
    name="orders.status",
    label="Order status",
    version="3.0.1",
    owner="Logistics",
    module="orders",
    cost_micros=250,
    phrases={
        "en": [
            "where is my order",
            "track my package",
            "what is the status of my order",
            "when will my parcel arrive",
            "has my order been shipped",
            "order VF-10231",
            "I am still waiting for my delivery",
            "tracking number for my order",
            "did you send my stuff yet",
            "how long until my package gets here",
        ],
        "de": [
            "wo ist meine Bestellung",
            "Sendung verfolgen",
            "wie ist der Status meiner Bestellung",
            "wann kommt mein Paket an",
            "wurde meine Bestellung verschickt",
            "Bestellung VF-10231",
            "ich warte noch auf meine Lieferung",
            "Sendungsnummer meiner Bestellung",
            "ist mein Paket schon unterwegs",
            "wie lange dauert die Lieferung noch",
        ],
        "es": [
            "dónde está mi pedido",
            "rastrear mi paquete",
            "cuál es el estado de mi pedido",
            "cuándo llega mi paquete",
            "ya enviaron mi pedido",
            "pedido VF-10231",
            "sigo esperando mi entrega",
            "número de seguimiento",
            "cuánto falta para que llegue mi compra",
        ],
        "fr": [
            "où est ma commande",
            "suivre mon colis",
            "quel est le statut de ma commande",
            "quand arrive mon colis",
            "ma commande a-t-elle été expédiée",
            "commande VF-10231",
            "j'attends toujours ma livraison",
            "numéro de suivi",
            "mon paquet est-il parti",
        ],
        "pt": [
            "onde está meu pedido",
            "rastrear minha encomenda",
            "qual é o status do meu pedido",
            "quando chega minha encomenda",
            "meu pedido já foi enviado",
            "pedido VF-10231",
            "ainda estou esperando a entrega",
        ],
        "it": [
            "dov'è il mio ordine",
            "tracciare il pacco",
            "qual è lo stato del mio ordine",
            "quando arriva il mio pacco",
            "il mio ordine è stato spedito",
            "ordine VF-10231",
            "aspetto ancora la consegna",
        ],
    },
)
async def status(context: SkillContext, order: ShopOrder) -> SkillAnswer:
    """Tell where an order is and when it arrives."""
    await pace.wait(12)
    code = order.order_number.upper()
    step = one_of(("packing", "shipped", "shipped", "delivered", "delivered"), "status", code)
    distance = 1 + number("days", code) % 4
    today = context.deadline.date()
    when = today - timedelta(days=distance) if step == "delivered" else today + timedelta(days=distance)
    text = say(STEPS[step], context.locale, order=code, day=day(when, language_of(context.locale)))
    options = {
        "packing": {},
        "shipped": {"skill:deliveries.reschedule": say(RESCHEDULE, context.locale)},
        "delivered": {"skill:orders.return": say(SEND_BACK, context.locale)},
    }[step]
    return SkillAnswer(replies=[Reply(text, options)], data={"order": code, "step": step})


RETURNED = {
    "en": "Your return for {order} is registered as {label}. The parcel label is on its way to you by email; "
    "the money is back within 5 days of arrival.",
    "de": "Ihre Rückgabe zu {order} ist unter {label} angelegt. Der Paketschein kommt per E-Mail; "
    "das Geld ist 5 Tage nach Eingang zurück.",
    "es": "Su devolución de {order} está registrada como {label}. La etiqueta llega por correo; "
    "el dinero se reembolsa en 5 días desde la llegada.",
    "fr": "Votre retour pour {order} est enregistré sous {label}. L'étiquette arrive par e-mail ; "
    "le remboursement suit 5 jours après réception.",
    "pt": "Sua devolução de {order} foi registrada como {label}. A etiqueta chega por e-mail; "
    "o dinheiro volta em até 5 dias após a chegada.",
    "it": "Il reso per {order} è registrato come {label}. L'etichetta arriva per e-mail; "
    "il rimborso arriva entro 5 giorni dalla ricezione.",
}


@skill(
    name="orders.return",
    label="Return an order",
    version="1.8.0",
    owner="Logistics",
    module="orders",
    cost_micros=300,
    phrases={
        "en": [
            "I want to return my order",
            "how do I send something back",
            "return label please",
            "the product is damaged, I want to give it back",
            "I would like a refund",
            "wrong item delivered, want to return it",
            "start a return",
            "can I bring this back for my money",
        ],
        "de": [
            "ich möchte meine Bestellung zurückgeben",
            "wie kann ich etwas zurückschicken",
            "Rücksendeetikett bitte",
            "das Gerät ist beschädigt, ich will es zurückgeben",
            "ich möchte mein Geld zurück",
            "falscher Artikel geliefert, möchte ihn zurücksenden",
            "Retoure anmelden",
            "Rückgabe starten",
        ],
        "es": [
            "quiero devolver mi pedido",
            "cómo puedo devolver algo",
            "etiqueta de devolución",
            "el producto está dañado, quiero devolverlo",
            "quiero un reembolso",
            "me llegó el artículo equivocado y lo devuelvo",
            "iniciar una devolución",
        ],
        "fr": [
            "je veux retourner ma commande",
            "comment renvoyer un article",
            "étiquette de retour",
            "le produit est abîmé, je veux le rendre",
            "je voudrais un remboursement",
            "mauvais article livré, je veux le renvoyer",
            "faire un retour",
        ],
        "pt": [
            "quero devolver meu pedido",
            "como faço para devolver algo",
            "etiqueta de devolução",
            "o produto veio danificado, quero devolver",
            "quero meu dinheiro de volta",
            "quero um reembolso",
        ],
        "it": [
            "voglio restituire il mio ordine",
            "come posso rimandare indietro un articolo",
            "etichetta per il reso",
            "il prodotto è danneggiato, voglio restituirlo",
            "vorrei un rimborso",
            "fare un reso",
        ],
    },
)
async def send_back(context: SkillContext, parameters: Return) -> SkillAnswer:
    """Register a return and say what happens next."""
    await pace.wait(31)
    code = parameters.order_number.upper()
    label = f"RT-{number('return', code) % 900_000 + 100_000}"
    text = say(RETURNED, context.locale, order=code, label=label)
    return SkillAnswer(replies=[text], data={"return": label, "reason": parameters.reason})


CANCELLED = {
    "en": "Order {order} is cancelled. Nothing will be charged.",
    "de": "Bestellung {order} ist storniert. Es wird nichts berechnet.",
    "es": "El pedido {order} está cancelado. No se cobrará nada.",
    "fr": "La commande {order} est annulée. Rien ne sera débité.",
    "pt": "O pedido {order} foi cancelado. Nada será cobrado.",
    "it": "L'ordine {order} è annullato. Non verrà addebitato nulla.",
}


@skill(
    name="orders.cancel",
    label="Cancel an order",
    version="1.1.0",
    owner="Logistics",
    module="orders",
    level=Level.CONTACT_CONFIRMED,
    cost_micros=300,
    phrases={
        "en": [
            "cancel my order",
            "I want to cancel the order",
            "please stop my order before it ships",
            "I ordered by mistake, cancel it",
            "call off my purchase",
            "can I still cancel order VF-10231",
        ],
        "de": [
            "meine Bestellung stornieren",
            "ich möchte die Bestellung abbrechen",
            "bitte Bestellung stoppen, bevor sie verschickt wird",
            "aus Versehen bestellt, bitte stornieren",
            "kann ich die Bestellung VF-10231 noch stornieren",
            "Storno meiner Bestellung",
        ],
        "es": [
            "cancelar mi pedido",
            "quiero anular el pedido",
            "pedí por error, cancélenlo",
            "puedo cancelar todavía el pedido VF-10231",
            "anulen mi compra por favor",
        ],
        "fr": [
            "annuler ma commande",
            "je veux annuler la commande",
            "commandé par erreur, merci d'annuler",
            "puis-je encore annuler la commande VF-10231",
            "annulation de commande",
        ],
        "pt": ["cancelar meu pedido", "quero cancelar a compra", "pedi por engano, podem cancelar"],
        "it": ["annullare il mio ordine", "voglio cancellare l'ordine", "ordinato per errore, annullatelo"],
    },
)
async def cancel(context: SkillContext, order: ShopOrder) -> SkillAnswer:
    """Cancel an order that has not left yet."""
    await pace.wait(22)
    code = order.order_number.upper()
    return SkillAnswer(replies=[say(CANCELLED, context.locale, order=code)], data={"order": code})
