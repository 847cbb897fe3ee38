"""What is on the shelves."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from dragoman.domain.plain_text import cut
from dragoman.skills import Ask, ParameterKind, SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import euros, number
from dragoman_shop.speech import language_of, say


class Product(BaseModel):
    """Names a product as people do."""

    product: Annotated[
        str,
        Ask(
            {
                "en": "Which product are you looking for?",
                "de": "Welches Produkt suchen Sie?",
                "es": "¿Qué producto busca?",
                "fr": "Quel produit cherchez-vous ?",
                "pt": "Qual produto você procura?",
                "it": "Quale prodotto cerchi?",
            },
            kind=ParameterKind.TEXT,
            # A name in quotes is a product wherever it stands.
            pattern=r"[\"“„«]\s{0,3}([^\"”“»]{3,60}?)\s{0,3}[\"”“»]",
        ),
    ]


IN_STOCK = {
    "en": "Yes, we have {product}: {count} in stock, {price} each.",
    "de": "Ja, {product} haben wir da: {count} Stück auf Lager, je {price}.",
    "es": "Sí, tenemos {product}: {count} en stock, {price} cada uno.",
    "fr": "Oui, nous avons {product} : {count} en stock, {price} pièce.",
    "pt": "Sim, temos {product}: {count} em estoque, {price} cada.",
    "it": "Sì, abbiamo {product}: {count} disponibili, {price} l'uno.",
}

SOLD_OUT = {
    "en": "{product} is sold out at the moment; we expect more within {days} days.",
    "de": "{product} ist gerade ausverkauft; in {days} Tagen erwarten wir Nachschub.",
    "es": "{product} está agotado ahora mismo; esperamos más en {days} días.",
    "fr": "{product} est épuisé pour le moment ; réassort prévu sous {days} jours.",
    "pt": "{product} está esgotado no momento; esperamos mais em {days} dias.",
    "it": "{product} è esaurito al momento; ne aspettiamo altri entro {days} giorni.",
}


@skill(
    name="products.availability",
    label="Product availability",
    version="2.3.0",
    owner="Merchandising",
    module="products",
    cost_micros=180,
    phrases={
        "en": [
            "do you have this in stock",
            "is the cordless drill available",
            "do you sell LED bulbs",
            "how many are left in stock",
            "is the washing machine available",
            "I am looking for a coffee machine",
            "when will it be back in stock",
            "do you carry extension cables",
            "price of the vacuum cleaner",
        ],
        "de": [
            "haben Sie das auf Lager",
            "ist der Akkuschrauber verfügbar",
            "verkaufen Sie LED-Lampen",
            "wie viele sind noch da",
            "ist die Waschmaschine lieferbar",
            "ich suche eine Kaffeemaschine",
            "wann ist es wieder verfügbar",
            "führen Sie Verlängerungskabel",
            "was kostet der Staubsauger",
        ],
        "es": [
            "lo tienen en stock",
            "está disponible el taladro",
            "venden bombillas LED",
            "cuántos quedan disponibles",
            "busco una cafetera",
            "cuándo vuelve a estar disponible",
            "tienen lavadoras",
            "cuánto cuesta la aspiradora",
        ],
        "fr": [
            "l'avez-vous en stock",
            "la perceuse est-elle disponible",
            "vendez-vous des ampoules LED",
            "combien en reste-t-il",
            "je cherche une machine à café",
            "quand sera-t-il de nouveau disponible",
            "avez-vous des lave-linge",
            "prix de l'aspirateur",
        ],
        "pt": [
            "vocês têm em estoque",
            "a furadeira está disponível",
            "vendem lâmpadas LED",
            "procuro uma cafeteira",
            "quando volta ao estoque",
            "quanto custa o aspirador",
        ],
        "it": [
            "lo avete disponibile",
            "il trapano è disponibile",
            "vendete lampadine LED",
            "cerco una macchina da caffè",
            "quando torna disponibile",
            "quanto costa l'aspirapolvere",
        ],
    },
)
async def availability(context: SkillContext, wanted: Product) -> SkillAnswer:
    """Say whether a product is in stock and what it costs."""
    await pace.wait(15)
    product = cut(" ".join(wanted.product.split()), 60).strip(" .!?")
    count = number("stock", product) % 38
    if count < 6:
        text = say(SOLD_OUT, context.locale, product=product, days=5 + number("back", product) % 12)
        return SkillAnswer(replies=[text], data={"in_stock": 0})
    cents = (number("price", product) % 400 + 5) * 100 - 1
    price = euros(cents, language_of(context.locale))
    text = say(IN_STOCK, context.locale, product=product, count=count, price=price)
    return SkillAnswer(replies=[text], data={"in_stock": count})
