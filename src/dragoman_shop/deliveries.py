"""When the van comes."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from dragoman.skills import Ask, SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import day
from dragoman_shop.orders import ShopOrder
from dragoman_shop.speech import language_of, say


class NewDate(ShopOrder):
    """An order, and the day on which it should come."""

    new_date: Annotated[
        date,
        Ask(
            {
                "en": "Which day suits you? For example 24 March, or tomorrow.",
                "de": "Welcher Tag passt Ihnen? Zum Beispiel 24. März oder morgen.",
                "es": "¿Qué día le viene bien? Por ejemplo, 24 de marzo o mañana.",
                "fr": "Quel jour vous convient ? Par exemple le 24 mars, ou demain.",
                "pt": "Qual dia é bom para você? Por exemplo, 24 de março ou amanhã.",
                "it": "Quale giorno ti va bene? Per esempio 24 marzo o domani.",
            }
        ),
    ]


MOVED = {
    "en": "Done: order {order} now comes on {day}, between 8:00 and 14:00.",
    "de": "Erledigt: Bestellung {order} kommt jetzt am {day} zwischen 8 und 14 Uhr.",
    "es": "Hecho: el pedido {order} llegará el {day}, entre las 8:00 y las 14:00.",
    "fr": "C'est fait : la commande {order} arrivera le {day}, entre 8 h et 14 h.",
    "pt": "Feito: o pedido {order} agora chega em {day}, entre 8h e 14h.",
    "it": "Fatto: l'ordine {order} arriverà il {day}, tra le 8 e le 14.",
}

TOO_EARLY = {
    "en": "{day} is too soon or already past. The earliest day is tomorrow; please choose another one.",
    "de": "{day} ist zu früh oder schon vorbei. Frühestens geht morgen; bitte wählen Sie einen anderen Tag.",
    "es": "El {day} es demasiado pronto o ya ha pasado. Lo antes posible es mañana; elija otro día.",
    "fr": "Le {day} est trop tôt ou déjà passé. Au plus tôt demain ; choisissez un autre jour.",
    "pt": "{day} é cedo demais ou já passou. O mais cedo é amanhã; escolha outro dia.",
    "it": "Il {day} è troppo presto o già passato. Al più presto domani; scegli un altro giorno.",
}


@skill(
    name="deliveries.reschedule",
    label="Reschedule a delivery",
    version="1.3.0",
    owner="Logistics",
    module="deliveries",
    cost_micros=350,
    phrases={
        "en": [
            "change my delivery date",
            "can you deliver on another day",
            "I will not be home, please deliver later",
            "reschedule my delivery",
            "move the delivery to Friday",
            "postpone the delivery",
            "can the driver come tomorrow instead",
        ],
        "de": [
            "Liefertermin ändern",
            "können Sie an einem anderen Tag liefern",
            "ich bin nicht zu Hause, bitte später liefern",
            "Lieferung verschieben",
            "Lieferung auf Freitag verlegen",
            "anderer Zustelltermin",
            "kann der Fahrer lieber morgen kommen",
        ],
        "es": [
            "cambiar la fecha de entrega",
            "pueden entregar otro día",
            "no estaré en casa, entreguen más tarde",
            "reprogramar la entrega",
            "mover la entrega al viernes",
            "aplazar la entrega",
        ],
        "fr": [
            "changer la date de livraison",
            "pouvez-vous livrer un autre jour",
            "je ne serai pas chez moi, livrez plus tard",
            "reporter la livraison",
            "déplacer la livraison à vendredi",
            "décaler ma livraison",
        ],
        "pt": ["mudar a data da entrega", "podem entregar outro dia", "reagendar a entrega", "adiar a entrega"],
        "it": [
            "cambiare la data di consegna",
            "potete consegnare un altro giorno",
            "riprogrammare la consegna",
            "spostare la consegna a venerdì",
        ],
    },
)
async def reschedule(context: SkillContext, wanted: NewDate) -> SkillAnswer:
    """Move a delivery to another day."""
    await pace.wait(24)
    order = wanted.order_number.upper()
    when = day(wanted.new_date, language_of(context.locale))
    if wanted.new_date <= context.deadline.date():
        return SkillAnswer(replies=[say(TOO_EARLY, context.locale, day=when)], data={"moved": False})
    text = say(MOVED, context.locale, order=order, day=when)
    return SkillAnswer(replies=[text], data={"moved": True, "date": wanted.new_date.isoformat()})
