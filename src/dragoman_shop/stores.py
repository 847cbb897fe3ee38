"""The shop's branches: when they are open and which one is near."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from dragoman.skills import (
    Ask,
    ContactCard,
    ParameterKind,
    Reply,
    SendContacts,
    SendLocation,
    SkillAnswer,
    SkillContext,
    skill,
)
from dragoman_shop import pace
from dragoman_shop.facts import number, one_of
from dragoman_shop.speech import say


class City(BaseModel):
    """Where to look for a branch."""

    city: Annotated[
        str,
        Ask(
            {
                "en": "Which city are you in?",
                "de": "In welcher Stadt sind Sie?",
                "es": "¿En qué ciudad está?",
                "fr": "Dans quelle ville êtes-vous ?",
                "pt": "Em qual cidade você está?",
                "it": "In quale città ti trovi?",
            },
            # A capital after "in" or its like: a name, in most languages written so.
            pattern=r"(?-i:\b(?:in|near|bei|nahe|en|cerca de|à|près de|em|perto de|a|vicino a)\s{1,3}"
            r"([A-ZÀ-Þ][\w'-]{1,20}(?:\s[A-ZÀ-Þ][\w'-]{1,20}){0,2}))",
            kind=ParameterKind.TEXT,
        ),
    ]


HOURS = {
    "en": "Our stores are open Monday to Friday 9:00 to 19:00 and Saturday 10:00 to 18:00. Sunday is closed.",
    "de": "Unsere Filialen sind Montag bis Freitag 9 bis 19 Uhr und Samstag 10 bis 18 Uhr geöffnet, "
    "sonntags geschlossen.",
    "es": "Nuestras tiendas abren de lunes a viernes de 9:00 a 19:00 y los sábados de 10:00 a 18:00. "
    "Los domingos cerramos.",
    "fr": "Nos magasins sont ouverts du lundi au vendredi de 9 h à 19 h et le samedi de 10 h à 18 h ; "
    "fermés le dimanche.",
    "pt": "Nossas lojas abrem de segunda a sexta das 9h às 19h e aos sábados das 10h às 18h. Fechamos aos domingos.",
    "it": "I nostri negozi sono aperti da lunedì a venerdì dalle 9 alle 19 e il sabato dalle 10 alle 18. "
    "Domenica chiuso.",
}

FIND = {
    "en": "Find a store",
    "de": "Filiale finden",
    "es": "Buscar tienda",
    "fr": "Trouver un magasin",
    "pt": "Encontrar loja",
    "it": "Trova negozio",
}

NEAREST = {
    "en": "The nearest Voltfair store in {city} is at {address}. 📍 Ring {phone} if you want to ask ahead.",
    "de": "Die nächste Voltfair-Filiale in {city} ist hier: {address}. 📍 Telefon: {phone}.",
    "es": "La tienda Voltfair más cercana en {city} está en {address}. 📍 Teléfono: {phone}.",
    "fr": "Le magasin Voltfair le plus proche à {city} : {address}. 📍 Téléphone : {phone}.",
    "pt": "A loja Voltfair mais próxima em {city} fica em {address}. 📍 Telefone: {phone}.",
    "it": "Il negozio Voltfair più vicino a {city} è in {address}. 📍 Telefono: {phone}.",
}


@skill(
    name="stores.hours",
    label="Opening hours",
    version="1.0.3",
    owner="Retail",
    module="stores",
    keywords=("opening hours", "öffnungszeiten", "horaires d'ouverture", "orari di apertura"),
    phrases={
        "en": [
            "what are your opening hours",
            "when are you open",
            "are you open on Saturday",
            "what time do you close",
            "store hours",
            "is the shop open on Sundays",
            "until when can I come by today",
            "do you open on holidays",
        ],
        "de": [
            "wie sind Ihre Öffnungszeiten",
            "wann haben Sie geöffnet",
            "haben Sie am Samstag offen",
            "wann schließen Sie",
            "ist der Laden am Sonntag auf",
            "bis wann kann ich heute vorbeikommen",
            "ab wann ist die Filiale offen",
            "haben Sie an Feiertagen geöffnet",
        ],
        "es": [
            "cuál es su horario",
            "a qué hora abren",
            "están abiertos el sábado",
            "a qué hora cierran",
            "horario de la tienda",
            "abren los domingos",
            "hasta qué hora puedo pasar hoy",
        ],
        "fr": [
            "quels sont vos horaires",
            "à quelle heure ouvrez-vous",
            "êtes-vous ouverts le samedi",
            "à quelle heure fermez-vous",
            "heures d'ouverture du magasin",
            "le magasin est-il ouvert le dimanche",
            "jusqu'à quelle heure puis-je passer",
        ],
        "pt": [
            "qual é o horário de funcionamento",
            "que horas vocês abrem",
            "abrem no sábado",
            "a que horas fecham",
            "a loja abre aos domingos",
        ],
        "it": [
            "quali sono gli orari",
            "a che ora aprite",
            "siete aperti il sabato",
            "a che ora chiudete",
            "il negozio è aperto la domenica",
        ],
    },
)
async def hours(context: SkillContext) -> Reply:
    """Tell the opening hours."""
    await pace.wait(3)
    return Reply(say(HOURS, context.locale), {"skill:stores.nearest": say(FIND, context.locale)})


PLACES = {
    "London": (51.5072, -0.1276),
    "Leeds": (53.8008, -1.5491),
    "Manchester": (53.4808, -2.2426),
    "Hamburg": (53.5511, 9.9937),
    "München": (48.1351, 11.582),
    "Köln": (50.9375, 6.9603),
    "Wien": (48.2082, 16.3738),
    "Madrid": (40.4168, -3.7038),
    "Sevilla": (37.3891, -5.9845),
    "Paris": (48.8566, 2.3522),
    "Lyon": (45.764, 4.8357),
    "Porto": (41.1579, -8.6291),
    "Torino": (45.0703, 7.6869),
}
"""Where the cities are in which the shop knows its branch on the map."""

STREETS = ("Station Road", "Market Street", "Hafenstraße", "Calle Mayor", "Rue du Port", "Via Roma", "Rua Nova")


@skill(
    name="stores.nearest",
    label="Nearest store",
    version="1.3.0",
    owner="Retail",
    module="stores",
    cost_micros=120,
    phrases={
        "en": [
            "where is the nearest store",
            "find a shop near me",
            "do you have a branch in Leeds",
            "store address",
            "which shop is closest to me",
            "where are you located",
            "is there a Voltfair around here",
            "nearest branch in Manchester",
        ],
        "de": [
            "wo ist die nächste Filiale",
            "Laden in meiner Nähe finden",
            "gibt es eine Filiale in Hamburg",
            "Adresse der Filiale",
            "welches Geschäft ist am nächsten",
            "wo finde ich Sie vor Ort",
            "Standort in München",
            "nächster Laden in Köln",
        ],
        "es": [
            "dónde está la tienda más cercana",
            "buscar una tienda cerca de mí",
            "tienen sucursal en Sevilla",
            "dirección de la tienda",
            "qué tienda me queda más cerca",
            "dónde están ubicados",
            "tienda más próxima en Madrid",
        ],
        "fr": [
            "où est le magasin le plus proche",
            "trouver un magasin près de chez moi",
            "avez-vous une boutique à Lyon",
            "adresse du magasin",
            "quel magasin est le plus près",
            "où êtes-vous situés",
            "magasin le plus proche à Paris",
        ],
        "pt": [
            "onde fica a loja mais próxima",
            "encontrar uma loja perto de mim",
            "vocês têm loja no Porto",
            "endereço da loja",
            "qual loja é mais perto",
        ],
        "it": [
            "dov'è il negozio più vicino",
            "trovare un negozio vicino a me",
            "avete una filiale a Torino",
            "indirizzo del negozio",
            "qual è il punto vendita più vicino",
        ],
    },
)
async def nearest(context: SkillContext, place: City) -> SkillAnswer:
    """Find the branch nearest to a city."""
    await pace.wait(9)
    city = place.city.strip(" .!?")[:60].title()
    address = f"{one_of(STREETS, 'street', city)} {number('house', city) % 180 + 1}"
    phone = f"+44 20 5550 {number('phone', city) % 9000 + 1000}"
    text = say(NEAREST, context.locale, city=city, address=address, phone=phone)
    name = f"Voltfair {city}"
    card = ContactCard(name=name, phones=(phone,), organisation="Voltfair", addresses=(f"{address}, {city}",))
    shown: SendLocation | SendContacts = SendContacts([card])
    if city in PLACES:
        # Within a kilometre or two of the centre, always at the same place for the same city.
        north, east = (PLACES[city][axis] + (number(axis, city) % 200 - 100) / 10_000 for axis in (0, 1))
        shown = SendLocation(latitude=round(north, 4), longitude=round(east, 4), name=name, address=address)
    return SkillAnswer(replies=[text, shown], data={"city": city})
