"""Who writes what in the browser tests and in the screenshots; played through the real webhook and dispatcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Step = str | int | float | Mapping[str, Any]
"""A text; minutes to wait; or a message in Meta's form, or ``{"tap": n}`` for the n-th option last offered."""

PHOTO = {
    "type": "image",
    "image": {
        "caption": "chegou assim 😕 o copo veio rachado",
    },
}
VOICE = {"type": "audio", "audio": {"voice": True}}
STICKER = {"type": "sticker", "sticker": {"id": "900000000000003", "mime_type": "image/webp", "animated": True}}
DOCUMENT = {
    "type": "document",
    "document": {"id": "900000000000004", "mime_type": "application/pdf", "filename": "Rechnung-10231.pdf"},
}
PLACE = {
    "type": "location",
    "location": {"latitude": 48.2082, "longitude": 16.3738, "name": "Stephansplatz", "address": "1010 Wien"},
}
CARD = {
    "type": "contacts",
    "contacts": [
        {
            "name": {"formatted_name": "Eva Lang", "first_name": "Eva"},
            "phones": [{"phone": "+43 660 1234567", "type": "CELL"}],
            "emails": [{"email": "eva@example.com"}],
            "org": {"company": "Lang Elektro"},
        }
    ],
}
UNSUPPORTED = {
    "type": "unsupported",
    "errors": [{"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}],
}


@dataclass(frozen=True, slots=True)
class BrowserPerson:
    """A contact; ``partner`` is the business partner that the number belongs to, empty for none."""

    name: str
    phone: str
    partner: str = ""


MARINA = BrowserPerson("Marina Duarte", "5511987652485")
GALLERY = BrowserPerson("Tomás Aguirre", "5491145678601")
HOSTILE = BrowserPerson("<img src=x onerror=alert(1)>", "436609998877")

CONVERSATIONS: tuple[tuple[BrowserPerson, tuple[Step, ...]], ...] = (
    (HOSTILE, ("<script>alert(1)</script> <b>*bold*</b>", 1, "javascript:alert(1)")),
    (
        BrowserPerson("Hannah Weiss", "491512345149"),
        ("Hallo", 1, "Wo ist meine Bestellung?", 1, "VF-10231", 2, "danke!"),
    ),
    (BrowserPerson("Luca Moretti", "393471495233"), ("dov'è il mio ordine VF-20417?", 1, "grazie")),
    (BrowserPerson("Priya Raman", "919845607560"), ("how much do I owe you", 2, "asdf qwer zxcv")),
    (
        BrowserPerson("Elektro Huber", "436601234567", "Elektro Huber GmbH"),
        ("wie hoch ist mein Saldo", 1, "Rechnungen"),
    ),
    (BrowserPerson("Jonas Lindqvist", "46701842655"), ("hi there", 3, {"tap": 1}, 2, "VF-55310")),
    (BrowserPerson("Aisha Bello", "2348031234452"), ("send me a payment link", 1, "VF-88120")),
    (BrowserPerson("Rafael Monteiro", "5521998768425"), ("quero falar com um atendente",)),
    (BrowserPerson("Chloé Bernard", "33612342786"), ("bonjour", 2, "quels sont vos horaires ?")),
    (BrowserPerson("Diego Fuentes", "525512342133"), ("¿tienen lavadoras disponibles?", 3, "Valencia")),
    (BrowserPerson("Beatriz Nogueira", "5531987651365"), ("qual é o meu saldo?",)),
    (BrowserPerson("Omar Haddad", "971501238059"), ("where is the nearest store", 1, PLACE)),
    (BrowserPerson("Sofía Villalobos", "573001237267"), ("quiero devolver mi pedido", 1, "VF-31877")),
    (BrowserPerson("Yuki Tanabe", "819012345364"), ("STOP",)),
    (BrowserPerson("Grace Okafor", "2348061236942"), ("cancel my order VF-40021", 1, "thanks a lot")),
    (BrowserPerson("Mateus Prado", "5548987656348"), ("xyzzy plugh", 2, "foo bar baz", 2, "blah blah blub")),
    (BrowserPerson("Elena Petrova", "359881238986"), ("track my package", 40)),
    (BrowserPerson("Samuel Adeyemi", "447712344411", "Adeyemi Lighting Ltd"), ("show me my open balance", 1, "bye")),
    (BrowserPerson("Lívia Andrade", "5541987659826"), (VOICE, 1, "onde está meu pedido VF-77102")),
    (BrowserPerson("Nikhil Deshpande", "919912343548"), ("is there anything outstanding on my account",)),
    (
        BrowserPerson("Carmen Ortega", "34612345678"),
        ("necesito un enlace de pago", 1, "VF-12003", 3, "una persona, por favor"),
    ),
    (BrowserPerson("Henrik Dahl", "4790123456"), ("when will my parcel arrive", 1, "VF-66201", 1, "ok thanks")),
    (BrowserPerson("Valentina Rossi", "393331234567"), ("buongiorno", 1, {"tap": 0})),
    (BrowserPerson("João Pedro Sales", "5585987651234"), ("meu produto está com defeito, garantia", 1, "VF-90110")),
    (BrowserPerson("Fatima Zahra", "212612345678"), ("je voudrais annuler ma commande", 1, "VF-30011")),
    (BrowserPerson("Daniel Kim", "14155550132"), ("open a ticket please", 1, "the lamp flickers all the time")),
    (BrowserPerson("Renata Campos", "5519987654321"), ("rastrear pedido VF-11902", 1, "obrigada! ❤️")),
    (BrowserPerson("Marta Kowalska", "48601234567"), ("what are your opening hours",)),
    (BrowserPerson("Pedro Saavedra", "56912345678"), ("dónde está mi pedido", 2, "VF-50123")),
    (BrowserPerson("Voltage Wien", "4319876543", "Voltage Wien KG"), ("offene Posten unserer Firma", 1, "vielen Dank")),
)

MARINA_SAYS: tuple[Step, ...] = (
    "oi, meu liquidificador chegou quebrado 😡",
    1,
    "quero devolver meu pedido",
    1,
    "VF-48213",
    1,
    {"tap": 0},
    2,
    PHOTO,
    1,
    "quero um link de pagamento",
    1,
    "VF-48213",
    1,
    "no entiendo, quero falar com um atendente",
)
