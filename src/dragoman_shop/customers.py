"""The people who write to Voltfair, and the companies that some of them work for. All of them are invented.

Numbers come from the ranges that regulators keep for films and examples where there is one (Ofcom, the NANPA,
Arcep and the Bundesnetzagentur publish theirs); elsewhere from blocks that are not handed out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody with a phone; ``language`` is the one they write in."""

    phone: str
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Partner:
    """Is a company with an account, and the phones of its people."""

    number: str
    name: str
    phones: tuple[str, ...]


def _people(language: str, prefix: str, names: str) -> tuple[Customer, ...]:
    """*prefix* ends in as many ``x`` as the running number has digits."""
    digits = prefix.count("x")
    start = prefix.rstrip("x")
    return tuple(
        Customer(f"{start}{(index * 37 + 11) % 10**digits:0{digits}}", name.strip(), language)
        for index, name in enumerate(names.split(","))
    )


PEOPLE: tuple[Customer, ...] = (
    *_people(
        "de",
        "+4915228817xxx",
        "Sabine Krüger, Jürgen Althaus, Miriam Vogt, Thomas Lindner, Aylin Demir, Stefan Brandt, Petra Wolff, "
        "Lukas Hofmann, Katharina Seidel, Uwe Petersen, Nina Schäfer, Markus Engel, Heike Baumann, Tobias Frey, "
        "Claudia Reinhardt, Mehmet Kaya, Jana Winkler, Oliver Stein",
    ),
    *_people("de", "+41799980xxx", "Reto Bühler, Ursina Caduff, Beat Zumstein, Simone Aebi"),
    *_people("de", "+4366099911xx", "Florian Gruber, Magdalena Huber, Bernhard Leitner"),
    *_people(
        "en",
        "+447700900xxx",
        "Emily Hartwell, James Okafor, Priya Nair, Oliver Bennett, Charlotte Dunn, Mohammed Rahman, "
        "Grace Ellison, "
        "Harry Whitfield, Sophie Lambert, Daniel Adeyemi, Chloe Marsh, Ewan McAllister",
    ),
    *_people("en", "+1212555010x", "Maria Delgado, Kevin Brooks, Aisha Coleman, Tyler Nguyen, Rachel Stern"),
    *_people("en", "+61491570xxx", "Liam Carter, Matilda Frost, Noah Pemberton"),
    *_people(
        "es",
        "+34699000xxx",
        "Lucía Fernández, Javier Ortega, Carmen Vidal, Álvaro Molina, Marta Soler, Diego Navarro, Isabel Prieto, "
        "Pablo Crespo, Nuria Ferrer",
    ),
    *_people("es", "+525500000xxx", "Ximena Robles, Rodrigo Salinas, Valeria Cuevas, Emiliano Paredes"),
    *_people("es", "+541100000xxx", "Florencia Paz, Matías Quiroga"),
    *_people(
        "fr",
        "+33639981xxx",
        "Camille Laurent, Antoine Mercier, Léa Fontaine, Hugo Chevalier, Manon Roussel, Karim Benali, "
        "Élise Garnier, "
        "Julien Carpentier, Zoé Marchand, Nathalie Perrin",
    ),
    *_people("fr", "+32499990xxx", "Pieter Claes, Amélie Dubois, Sarah Lambrecht"),
    *_people("pt", "+351910000xxx", "Inês Carvalho, Tiago Marques, Beatriz Antunes, Rui Nogueira"),
    *_people("pt", "+5511900000xxx", "Rafael Souza, Juliana Prado, Caio Mendonça, Larissa Teixeira, Bruno Farias"),
    *_people(
        "it",
        "+39320000xxxx",
        "Giulia Conti, Marco Rinaldi, Francesca Moretti, Luca Barbieri, Elena Galli, Davide Ferraro, Chiara Fontana",
    ),
)


def _phone(name: str) -> str:
    return next(person.phone for person in PEOPLE if person.name == name)


def _partner(number: str, name: str, *people: str) -> Partner:
    return Partner(number, name, tuple(_phone(person) for person in people))


BUSINESS_PARTNERS: tuple[Partner, ...] = (
    _partner("BP-10012", "Althaus Elektrotechnik GmbH", "Jürgen Althaus", "Sabine Krüger"),
    _partner("BP-10047", "Lindner & Vogt Hausverwaltung", "Thomas Lindner", "Miriam Vogt"),
    _partner("BP-10058", "Hotel Seeblick KG", "Petra Wolff"),
    _partner("BP-10103", "Bühler Haustechnik AG", "Reto Bühler", "Ursina Caduff"),
    _partner("BP-10119", "Gruber Gastro e.U.", "Florian Gruber"),
    _partner("BP-20004", "Hartwell Lettings Ltd", "Emily Hartwell", "James Okafor"),
    _partner("BP-20031", "Bennett & Dunn Electrical", "Oliver Bennett", "Charlotte Dunn"),
    _partner("BP-20077", "Brooks Facility Services LLC", "Kevin Brooks"),
    _partner("BP-30015", "Instalaciones Ortega S.L.", "Javier Ortega", "Carmen Vidal"),
    _partner("BP-30042", "Hoteles Navarro S.A.", "Diego Navarro"),
    _partner("BP-30066", "Robles Ingeniería S.A. de C.V.", "Ximena Robles"),
    _partner("BP-40009", "Mercier Électricité SARL", "Antoine Mercier", "Camille Laurent"),
    _partner("BP-40038", "Résidences Garnier SAS", "Élise Garnier"),
    _partner("BP-50011", "Marques Instalações Lda", "Tiago Marques"),
    _partner("BP-50027", "Prado Hotelaria Ltda", "Juliana Prado"),
    _partner("BP-60008", "Rinaldi Impianti S.r.l.", "Marco Rinaldi", "Giulia Conti"),
)
