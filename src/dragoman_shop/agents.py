"""Has Voltfair's agents, what they do with a conversation, and what they write to contacts in the six languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dragoman.domain.plain_text import first_name

Deed = Literal[
    "claim", "take_over", "assign", "give_back", "answer", "template", "note", "draft", "return_to_bot", "resolve"
]


@dataclass(frozen=True, slots=True)
class ShopAgent:
    """Somebody of Voltfair who answers contacts, in these languages."""

    login: str
    name: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Wait *pause_seconds* of business hours after what was before, then let *agent* do it.

    ``words`` is what they write, or why they do it; ``to`` is who gets an assigned conversation. An act *at_any_hour*
    does not wait for business hours. A ``shared`` draft is seen by colleagues.
    """

    pause_seconds: float
    deed: Deed
    agent: ShopAgent
    words: str = ""
    to: ShopAgent | None = None
    at_any_hour: bool = False
    shared: bool = False


ANA = ShopAgent("agent", "Ana Lima", ("pt", "es", "en"))
JONAS = ShopAgent("jonas", "Jonas Weber", ("de", "en"))
CHIARA = ShopAgent("chiara", "Chiara Neri", ("it", "fr", "en"))
AGENTS = (ANA, JONAS, CHIARA)

ANSWERS: dict[str, dict[str, str]] = {
    "hello": {
        "en": "Hello {name}, this is {agent} of Voltfair. I have read everything; let me look into it.",
        "de": "Hallo {name}, hier ist {agent} von Voltfair. Ich habe alles gelesen und sehe nach.",
        "es": "Hola {name}, soy {agent} de Voltfair. He leído todo y lo miro ahora mismo.",
        "fr": "Bonjour {name}, ici {agent} de Voltfair. J'ai tout lu, je regarde tout de suite.",
        "pt": "Olá {name}, aqui é {agent} da Voltfair. Já li tudo e vou verificar.",
        "it": "Buongiorno {name}, sono {agent} di Voltfair. Ho letto tutto e controllo subito.",
    },
    "which_order": {
        "en": "Which order is it about? The number begins with VF and stands in the confirmation.",
        "de": "Um welche Bestellung geht es? Die Nummer beginnt mit VF und steht in der Bestätigung.",
        "es": "¿De qué pedido se trata? El número empieza por VF y está en la confirmación.",
        "fr": "De quelle commande s'agit-il ? Le numéro commence par VF, il est dans la confirmation.",
        "pt": "De qual pedido se trata? O número começa com VF e está na confirmação.",
        "it": "Di quale ordine si tratta? Il numero inizia con VF ed è nella conferma.",
    },
    "technician": {
        "en": "Thank you. A technician rings you tomorrow between 8 and 12 to agree on a time.",
        "de": "Danke. Ein Techniker ruft Sie morgen zwischen 8 und 12 Uhr an und vereinbart einen Termin.",
        "es": "Gracias. Un técnico le llamará mañana entre las 8 y las 12 para acordar una hora.",
        "fr": "Merci. Un technicien vous appelle demain entre 8 h et 12 h pour fixer un rendez-vous.",
        "pt": "Obrigado. Um técnico liga amanhã entre as 8 e as 12 para combinar um horário.",
        "it": "Grazie. Un tecnico la chiama domani tra le 8 e le 12 per fissare un appuntamento.",
    },
    "replacement": {
        "en": "We send you a new one today, free of charge. It arrives within two working days.",
        "de": "Wir schicken Ihnen heute kostenlos ein neues Gerät. Es kommt innerhalb von zwei Werktagen an.",
        "es": "Hoy le enviamos uno nuevo sin coste. Llega en dos días laborables.",
        "fr": "Nous vous en envoyons un neuf aujourd'hui, sans frais. Il arrive sous deux jours ouvrés.",
        "pt": "Enviamos hoje um novo, sem custo. Chega em até dois dias úteis.",
        "it": "Oggi le spediamo un nuovo apparecchio senza costi. Arriva entro due giorni lavorativi.",
    },
    "assistant": {
        "en": "That is sorted out. For news of the delivery write the order number here: our assistant is quickest.",
        "de": "Das ist erledigt. Zur Lieferung schreiben Sie hier einfach die Bestellnummer: der Assistent ist am "
        "schnellsten.",
        "es": "Ya está resuelto. Para la entrega escriba aquí el número de pedido: el asistente es más rápido.",
        "fr": "C'est réglé. Pour la livraison, écrivez ici le numéro de commande : l'assistant est le plus rapide.",
        "pt": "Está resolvido. Para saber da entrega escreva aqui o número do pedido: o assistente é mais rápido.",
        "it": "È risolto. Per la consegna scriva qui il numero d'ordine: l'assistente è il più veloce.",
    },
    "bye": {
        "en": "You are welcome, {name}. Have a nice day!",
        "de": "Sehr gern, {name}. Einen schönen Tag noch!",
        "es": "De nada, {name}. ¡Que tenga un buen día!",
        "fr": "Avec plaisir, {name}. Bonne journée !",
        "pt": "De nada, {name}. Tenha um bom dia!",
        "it": "Prego, {name}. Buona giornata!",
    },
}

TEMPLATE = "answer_waits"
"""What agents send where free text is not taken any more."""


def speakers(language: str) -> tuple[ShopAgent, ...]:
    """Find the agents who answer in *language*."""
    return tuple(agent for agent in AGENTS if language in agent.languages)


def answer(subject: str, agent: ShopAgent, contact_name: str, language: str) -> str:
    """Say what *agent* writes on *subject*."""
    return ANSWERS[subject][language].format(name=first_name(contact_name) or contact_name, agent=agent.name)
