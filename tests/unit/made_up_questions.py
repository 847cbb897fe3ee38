"""Questions that nobody asked: a few templates for each of some intents, filled with nouns."""

from __future__ import annotations

import itertools

from dragoman.classify import NOTHING
from dragoman.classify.local import Example

NOUNS = ("parcel", "lamp", "kettle", "sofa", "bicycle", "tent", "blender", "mirror")
TEMPLATES: dict[str, tuple[str, ...]] = {
    "orders.status": ("where is my {}", "when does the {} arrive", "track the {} I ordered", "has my {} been shipped"),
    "orders.return": ("I want to send the {} back", "return my {}", "refund the {} please", "take the {} back"),
    "products.price": ("how much is the {}", "what does a {} cost", "price of your {}", "is there a {} on sale"),
    "support.broken": ("the {} is broken", "my {} does not work", "repair the {}", "the {} stopped working"),
}
OUTSIDE = (
    "tell me a joke", "sing a song", "who won the match", "what is the weather like", "do you love me",
    "translate a sentence", "my cat sleeps", "how old are you", "I am bored", "play some music",
)  # fmt: skip

QUESTIONS: tuple[Example, ...] = tuple(
    (template.format(noun), intent)
    for (intent, templates), noun in itertools.product(TEMPLATES.items(), NOUNS)
    for template in templates
)
EXAMPLES: tuple[Example, ...] = (*QUESTIONS, *((text, NOTHING) for text in OUTSIDE))
