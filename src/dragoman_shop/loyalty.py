"""Answers questions about loyalty points.

Voltfair has ended the programme; the skill is retired, and its history stays.
"""

from __future__ import annotations

from dragoman.skills import SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import number
from dragoman_shop.speech import counted

POINTS = {
    "en": {"one": "You have {count} point.", "other": "You have {count} points."},
    "de": {"one": "Sie haben {count} Punkt.", "other": "Sie haben {count} Punkte."},
    "es": {"one": "Tiene {count} punto.", "other": "Tiene {count} puntos."},
    "fr": {"one": "Vous avez {count} point.", "other": "Vous avez {count} points."},
    "pt": {"one": "Você tem {count} ponto.", "other": "Você tem {count} pontos."},
    "it": {"one": "Hai {count} punto.", "other": "Hai {count} punti."},
}


@skill(
    name="loyalty.points",
    label="Loyalty points",
    version="0.8.0",
    owner="Marketing",
    module="loyalty",
    phrases={
        "en": [
            "how many loyalty points do I have",
            "my bonus points",
            "redeem my points",
            "check my reward points",
            "points balance of my loyalty card",
        ],
        "de": [
            "wie viele Treuepunkte habe ich",
            "meine Bonuspunkte",
            "Punkte einlösen",
            "Punktestand meiner Kundenkarte",
            "Treueprogramm",
        ],
        "es": [
            "cuántos puntos tengo",
            "mis puntos de fidelidad",
            "canjear puntos",
            "puntos de mi tarjeta cliente",
        ],
        "fr": ["combien de points ai-je", "mes points de fidélité", "utiliser mes points", "carte de fidélité"],
        "pt": ["quantos pontos eu tenho", "meus pontos de fidelidade", "resgatar pontos"],
        "it": ["quanti punti ho", "i miei punti fedeltà", "usare i punti", "carta fedeltà"],
    },
)
async def points(context: SkillContext) -> SkillAnswer:
    """Tell how many points a contact has."""
    await pace.wait(10)
    count = number("points", context.contact_id) % 4000
    return SkillAnswer(replies=[counted(POINTS, context.locale, count)], data={"points": count})
