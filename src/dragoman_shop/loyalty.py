"""Answers questions about loyalty points.

Voltfair has ended the programme; the skill is retired, and its history stays.
"""

from __future__ import annotations

from dragoman.skills import SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import number
from dragoman_shop.speech import say

POINTS = {
    "en": "You have {points} points.",
    "de": "Sie haben {points} Punkte.",
    "es": "Tiene {points} puntos.",
    "fr": "Vous avez {points} points.",
    "pt": "Você tem {points} pontos.",
    "it": "Hai {points} punti.",
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
    return SkillAnswer(replies=[say(POINTS, context.locale, points=count)], data={"points": count})
