"""Words that decide by rule, in the six languages that Dragoman speaks itself.

A rule reads all six at once: people mix languages, and a contact's locale is a guess from a phone number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from dragoman.bounded import reads_outside_text
from dragoman.domain.plain_text import fold, normalized

_TOKEN = re.compile(r"[^\W_]+|[👍👌🙏❤😊😀🙂👋🎉💯]")

_MAX_WORDS_OF_A_RULE = 14


@reads_outside_text
def tokens(text: str) -> tuple[str, ...]:
    """Split *text* into words, without case, accents and punctuation; a few telling emoji count as words.

    Digits of every script are the ASCII ones.
    """
    bare = normalized("NFKD", fold(text).casefold())
    return tuple(_TOKEN.findall("".join(c for c in bare if not unicodedata.combining(c))))


def _phrases(*lines: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tokens(phrase) for line in lines for phrase in line.split(","))


HUMAN_ALONE = _phrases(
    "human, agent, operator, representative, person, a human, an agent",
    "a person, live chat, customer service",
    "mensch, mitarbeiter, mitarbeiterin, berater, kundenberater, kundenservice, ein mensch",
    "agente, humano, persona, asesor, asesora, operador, un agente, una persona, atencion al cliente",
    "humain, conseiller, conseillere, un humain, un conseiller, un agent, service client",
    "atendente, pessoa, um atendente, uma pessoa, atendimento humano",
    "operatore, umano, persona, un operatore, una persona, assistenza clienti",
)

HUMAN_WITHIN = _phrases(
    "talk to a human, speak to a human, talk to someone, speak to someone",
    "speak with someone, talk to a person",
    "talk with someone, talk to somebody, speak to somebody",
    "speak to a person, speak with a person, real person",
    "real human, human being, human agent, live agent, talk to an agent",
    "speak to an agent, speak with an agent",
    "chat with an agent, speak with a human, talk with a human, chat with a human, talk to a representative",
    "speak to a representative, transfer me to an agent, customer service representative, human please",
    "agent please, want a human, need a human, want an agent, need an agent, someone from your team",
    "mit einem menschen, mit einem mitarbeiter, mit einer mitarbeiterin",
    "mit jemandem sprechen, mit jemandem reden",
    "echten menschen, echter mensch, einen mitarbeiter sprechen, menschlichen mitarbeiter, mit einem berater",
    "mit einer beraterin, mit einem kundenberater, mit einer person sprechen, kundenservice sprechen",
    "hablar con una persona, hablar con un agente, hablar con alguien, agente humano, persona real",
    "hablar con un humano, hablar con un asesor, hablar con una asesora",
    "hablar con un operador, persona de verdad",
    "parler a un humain, parler a quelqu'un, parler a une personne",
    "parler a un conseiller, parler avec un conseiller",
    "parler a un agent, parler avec quelqu'un, parler avec un humain",
    "agent humain, vraie personne, vrai humain",
    "falar com uma pessoa, falar com um atendente, falar com alguem",
    "falar com um humano, falar com um agente",
    "falar com uma atendente, atendente humano, pessoa real, pessoa de verdade",
    "parlare con una persona, parlare con un operatore, parlare con qualcuno, parlare con un umano",
    "parlare con un agente, operatore umano, persona vera, persona reale",
)

CLOSING = _phrases(
    "thanks, thank you, thank u, thx, ty, cheers, bye, goodbye, good bye, see you, that's all, that is all",
    "that was all, nothing else, no thanks, no thank you, stop, quit, exit",
    "unsubscribe, many thanks, bye bye",
    "danke, danke schön, dankeschön, vielen dank, besten dank, tschüss",
    "tschüs, auf wiedersehen, das war alles",
    "das wars, nein danke, stopp, schönen tag, mehr nicht, bis bald",
    "gracias, muchas gracias, mil gracias, adios, hasta luego, eso es todo, nada mas, no gracias, chao, chau",
    "merci, merci beaucoup, au revoir, c'est tout, non merci, bonne journee, a bientot, mille mercis",
    "obrigado, obrigada, muito obrigado, muito obrigada, tchau, ate logo",
    "e tudo, so isso, nao obrigado, valeu",
    "grazie, grazie mille, molte grazie, arrivederci, e tutto, no grazie, buona giornata, basta, basta cosi",
    "🙏",
)

GREETING = _phrases(
    "hi, hello, hey, hiya, good morning, good afternoon, good evening, good day, greetings, howdy",
    "hallo, guten tag, guten morgen, guten abend, moin, servus, grüß gott, grüezi, grüss gott",
    "hola, buenos dias, buenas tardes, buenas noches, buenas, que tal",
    "bonjour, bonsoir, salut, coucou",
    "ola, oi, bom dia, boa tarde, boa noite",
    "ciao, salve, buongiorno, buonasera, buon giorno, buona sera",
    "👋, menu, help, start, menü, hilfe, ayuda, aide, ajuda, aiuto",
)

ACKNOWLEDGING = _phrases(
    "ok, okay, k, great, perfect, cool, nice, awesome, super, got it",
    "understood, all good, 👍, 👌, 😊, 🙂, ❤, 🎉, 💯",
    "alles klar, prima, toll, gut, passt, verstanden, perfekt",
    "vale, perfecto, genial, entendido, de acuerdo, bueno",
    "d'accord, parfait, compris, tres bien, entendu",
    "perfeito, otimo, certo, entendi, beleza",
    "va bene, perfetto, ottimo, capito, d'accordo, bene",
)

_FILLERS = frozenset(
    tokens(
        "so very much a lot for your the help all have nice day you there again "
        "too and please indeed everyone team "
        "sehr ihre für die hilfe alles ihnen dir euch und bitte zusammen "
        "mucho muy por la ayuda todo y a usted favor tu "
        "beaucoup pour votre aide vous et a tous bien s'il plaît "
        "muito pela sua ajuda tudo e por favor "
        "molto per il suo aiuto tutto di a lei tutti mille"
    )
)

YES = _phrases(
    "yes, y, yeah, yep, sure, of course, correct, ok, okay, confirm, 👍",
    "ja, jawohl, klar, genau, gerne, richtig",
    "si, sí, claro, correcto",
    "oui, ouais, bien sur, exact",
    "sim, isso, pode ser",
    "certo, esatto, si certo",
)

NO = _phrases(
    "no, n, nope, no thanks, not really",
    "nein, ne, nee, nein danke",
    "no gracias",
    "non, non merci",
    "nao, não, nao obrigado",
    "no grazie",
)


def contains(said: tuple[str, ...], phrases: Iterable[tuple[str, ...]]) -> bool:
    """Whether one of *phrases* stands in *said*, word by word."""
    return any(said[i : i + len(phrase)] == phrase for phrase in phrases for i in range(len(said) - len(phrase) + 1))


@reads_outside_text
def asks_for_human(text: str) -> bool:
    """Whether the contact asks for a person: nothing but the word, or the phrase in a short message."""
    said = tokens(text)
    bare = tuple(word for word in said if word not in _FILLERS)
    return (
        said in HUMAN_ALONE
        or bare in HUMAN_ALONE
        or (len(said) <= _MAX_WORDS_OF_A_RULE and contains(said, HUMAN_WITHIN))
    )


@reads_outside_text
def says_goodbye(text: str) -> bool:
    """Whether the message is nothing but thanks, a goodbye or a stop word."""
    return CLOSING in _made_of(text, CLOSING, GREETING, ACKNOWLEDGING)


@reads_outside_text
def greets(text: str) -> bool:
    """Whether the message is nothing but a greeting or a call for help."""
    return GREETING in _made_of(text, GREETING, ACKNOWLEDGING)


@reads_outside_text
def acknowledges(text: str) -> bool:
    """Whether the message is nothing but "fine"."""
    return ACKNOWLEDGING in _made_of(text, ACKNOWLEDGING)


def _made_of(text: str, *sets: frozenset[tuple[str, ...]]) -> list[frozenset[tuple[str, ...]]]:
    """Which of *sets* the message is made of; none when it has any other word."""
    said = tokens(text)
    found = []
    at = 0
    while at < len(said):
        length, source = max(
            ((n, s) for s in sets for n in range(1, 5) if said[at : at + n] in s and len(said) >= at + n),
            key=lambda match: match[0],
            default=(0, None),
        )
        if source is not None:
            found.append(source)
            at += length
        elif said[at] in _FILLERS:
            at += 1
        else:
            return []
    return found
