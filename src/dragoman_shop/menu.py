"""Says which topics the demo tenant offers: skill and title by language, at most 24 characters each.

``menu.yaml`` beside this module has them in the same order, with what one can do about returns in a submenu: the
menu that contacts see. These titles are what they would pick from without it.
"""

from __future__ import annotations

from pathlib import Path

DEFINITION = Path(__file__).with_name("menu.yaml")
FLOWS = tuple(sorted(Path(__file__).with_name("flows").glob("*.yaml")))
"""What ``dragoman menu import`` and ``dragoman flow import`` take in for the demo's tenant."""

MENU: dict[str, dict[str, str]] = {
    "orders.status": {
        "en": "Where is my order?",
        "de": "Wo ist meine Bestellung?",
        "es": "¿Dónde está mi pedido?",
        "fr": "Où est ma commande ?",
        "pt": "Onde está meu pedido?",
        "it": "Dov'è il mio ordine?",
    },
    "orders.return": {
        "en": "Return something",
        "de": "Etwas zurückgeben",
        "es": "Devolver algo",
        "fr": "Retourner un article",
        "pt": "Devolver algo",
        "it": "Restituire qualcosa",
    },
    "deliveries.reschedule": {
        "en": "Move a delivery",
        "de": "Lieferung verschieben",
        "es": "Cambiar una entrega",
        "fr": "Reporter une livraison",
        "pt": "Mudar uma entrega",
        "it": "Spostare una consegna",
    },
    "stores.hours": {
        "en": "Opening hours",
        "de": "Öffnungszeiten",
        "es": "Horario",
        "fr": "Horaires",
        "pt": "Horários",
        "it": "Orari",
    },
    "stores.nearest": {
        "en": "Find a store",
        "de": "Filiale finden",
        "es": "Buscar una tienda",
        "fr": "Trouver un magasin",
        "pt": "Encontrar uma loja",
        "it": "Trovare un negozio",
    },
    "products.availability": {
        "en": "Is it in stock?",
        "de": "Ist es auf Lager?",
        "es": "¿Hay existencias?",
        "fr": "Est-ce en stock ?",
        "pt": "Tem em estoque?",
        "it": "È disponibile?",
    },
    "support.open_ticket": {
        "en": "Something is broken",
        "de": "Etwas ist kaputt",
        "es": "Algo está roto",
        "fr": "Quelque chose est cassé",
        "pt": "Algo quebrou",
        "it": "Qualcosa è rotto",
    },
    "finance.ar_balance": {
        "en": "Account balance",
        "de": "Kontostand",
        "es": "Saldo de mi cuenta",
        "fr": "Solde de mon compte",
        "pt": "Saldo da conta",
        "it": "Saldo del conto",
    },
}
