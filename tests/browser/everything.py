"""A transcript with every kind of content, in every state that a file can have, and text of all sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dragoman.domain import content as c
from dragoman.domain.nouns import Sender
from dragoman.services.media.erase_media import erase_messages
from dragoman.store.media import MediaRequest
from dragoman_shop import papers, pictures, recordings

if TYPE_CHECKING:
    from tests.browser.gallery import Wall
    from tests.harness import Harness

CONTACT, BOT, AGENT = Sender.CONTACT, Sender.BOT, Sender.AGENT

HOSTILE_PAGE = b"<!doctype html><script>parent.postMessage('owned', '*'); alert(1)</script><h1>not a picture</h1>"
HOSTILE_DRAWING = b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"

GONE = "no such file"


async def upload(made: Harness) -> dict[str, str]:
    """The files, on Meta's side; their media ids by name."""
    film = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    files = {
        "photo": (pictures.parcel(4), "image/png"),
        "bare": (pictures.parcel(11), "image/png"),
        "erased": (pictures.parcel(20), "image/png"),
        "film": (film, "video/mp4"),
        "voice": (recordings.hummed(2), "audio/ogg; codecs=flac"),
        "tune": (recordings.hummed(5), "audio/ogg"),
        "paper": (papers.invoice("VF-48213", ("Batidora 900 W", "28,90 EUR")), "application/pdf"),
        "sticker": (pictures.winking(), "image/webp"),
        # What their senders call them is not what they are.
        "page": (HOSTILE_PAGE, "image/jpeg"),
        "drawing": (HOSTILE_DRAWING, "image/png"),
    }
    return {name: await made.upload(content, mime_type) for name, (content, mime_type) in files.items()}


def write(wall: Wall, files: dict[str, str]) -> list[MediaRequest]:
    """Hang all of it; returns the files that are to be fetched."""
    offer, first = _opening(wall)
    _files(wall, files)
    _things(wall)
    _texts(wall)
    _changes(wall)
    say = wall.hang
    say(BOT, c.Template(name="refund_started", language="es", rendered="Tu reembolso de *28,90 €* está en camino."))
    answer = say(AGENT, c.Text("Hola Tomás, soy Ana. Ya aprobé el reembolso."), reply_to=first)
    say(CONTACT, c.Reaction(target=answer, emoji="❤️"))
    say(CONTACT, c.Reaction(target=offer, emoji="👍"))
    say(CONTACT, c.Reaction(target=offer, emoji=None))
    say(CONTACT, c.Reaction(target="wamid.elsewhere", emoji="🎉"))
    say(CONTACT, c.Text("¡Gracias! 🙏"), reply_to="wamid.elsewhere")
    return [
        MediaRequest(
            message_id=item.message_id,
            channel_account_id=wall.made.channel_account_id,
            channel_media_id=item.content.media_id,
            claimed_sha256=None,
            received_at=item.at,
        )
        for item in wall.hung
        if isinstance(item.content, c.Media) and item.content.media_id is not None
    ]


async def take_away(made: Harness, wanted: list[MediaRequest]) -> None:
    """Erase the one photo that is to be erased."""
    erased = [file.message_id for file in wanted if file.channel_media_id == _ids["erased"]]
    await erase_messages(made.runtime, made.tenant_id, erased, reason="on the contact's request")


_ids: dict[str, str] = {}


def _opening(wall: Wall) -> tuple[str, str]:
    say = wall.hang
    ad = {
        "source_type": "ad",
        "headline": "Black Friday en Voltfair",
        "body": "Batidoras desde 19,90 €, solo esta semana.",
        "source_url": "https://example.com/black-friday",
    }
    formatted = "hola, *mi batidora* llegó _rota_ 😡 ~no sirve~ ```código 12```\n> citado\nhttps://example.com/a_b_c"
    first = say(
        CONTACT, c.Text(formatted), referral={**ad, "product": {"catalog_id": "77", "product_retailer_id": "SKU-9"}}
    )
    names = {"a": "Cambiar el producto", "b": "Pedir reembolso", "h": "Hablar con una persona"}
    options = tuple(c.Option(id=key, title=title) for key, title in names.items())
    offer = say(BOT, c.Options(body="¿En qué puedo *ayudarte*?", options=options))
    say(CONTACT, c.Choice(source="button", id="b", title="Pedir reembolso"), reply_to=offer)
    rows = tuple(c.Option(id=f"r{n}", title=f"Pedido VF-4821{n}", description="Batidora 900 W") for n in range(4))
    listed = say(BOT, c.Options(body="Elige el pedido", options=rows, button="Pedidos"))
    picked = c.Choice(source="list", id="r2", title="Pedido VF-48212", description="Batidora 900 W")
    say(CONTACT, picked, reply_to=listed)
    say(
        BOT,
        c.Link(body="Tu etiqueta de devolución está lista.", title="Abrir etiqueta", url="https://example.com/r/48212"),
    )
    say(BOT, c.Request(body="¿Dónde recogemos la batidora?", wants="location"))
    say(BOT, c.Request(body="¿A qué número podemos llamarte?", wants="contact"))
    return offer, first


def _files(wall: Wall, files: dict[str, str]) -> None:
    _ids.update(files)

    def send(media: str, name: str, **fields: Any) -> str:
        more = {key: fields.pop(key) for key in ("forwarded", "frequently_forwarded") if key in fields}
        return wall.hang(CONTACT, c.Media(media=media, media_id=files.get(name, GONE), **fields), **more)

    photo = send("image", "photo", mime_type="image/jpeg", caption="llegó así 😕 y la caja venía abierta por un lado")
    wall.hang(BOT, c.Text("Gracias por la foto."), reply_to=photo)
    send("image", "bare", mime_type="image/jpeg", frequently_forwarded=True)
    send("video", "film", mime_type="video/mp4", caption="así suena")
    send("voice", "voice", mime_type="audio/ogg; codecs=opus")
    send("audio", "tune", mime_type="audio/ogg")
    send("document", "paper", mime_type="application/pdf", filename="factura.pdf", forwarded=True)
    send("sticker", "sticker", mime_type="image/webp", animated=True)
    send("image", "page", mime_type="image/jpeg", caption="mira esta foto")
    send("document", "drawing", filename="\u202egnp.exe<img src=x onerror=alert(1)>.png")
    send("image", "erased", mime_type="image/jpeg")
    send("image", GONE, mime_type="image/jpeg")
    wall.hang(CONTACT, c.Media(media="image", error="Media file too large"))
    wall.hang(CONTACT, c.Media(media="video", mime_type="video/mp4"))


def _things(wall: Wall) -> None:
    say = wall.hang
    say(CONTACT, c.Location(latitude=-34.6037, longitude=-58.3816, name="Obelisco", address="Buenos Aires"))
    cards = (
        c.ContactCard(
            name="Eva Lang",
            phones=("+43 660 1234567",),
            emails=("eva@example.com",),
            organisation="Lang",
            department="Ventas",
            title="Jefa",
            addresses=("Ringstraße 1, 1010 Wien",),
            urls=("https://lang.example",),
            birthday="1980-02-29",
        ),
        c.ContactCard(name="Óscar Ñandú", phones=("+54 11 4567 8601",)),
    )
    say(CONTACT, c.ContactCards(cards=cards))
    say(CONTACT, c.FormReply(name="flow", body="Sent", fields={"color": "rojo", "size": 42, "extras": ["a", "b"]}))
    say(CONTACT, c.FormReply(name="flow", body="Sent", raw="{broken"))
    lines = (
        c.OrderItem(product="SKU-9", quantity="2", price="19.90", currency="EUR"),
        c.OrderItem(product="SKU-batidora-turbo-900", quantity="1", price="89", currency="EUR"),
    )
    say(CONTACT, c.Order(catalog_id="77", text="por favor", items=lines))
    say(
        CONTACT,
        c.Payment(status="captured", reference="o-7", transaction="tx-9", payer="Eva", amount="19.90", method="upi"),
    )
    say(CONTACT, c.CodeReport(body="No pedí ningún código"))
    say(BOT, c.Location(latitude=-34.6, longitude=-58.38, name="Voltfair Buenos Aires"))
    say(BOT, c.Media(media="document", link="https://example.com/precios.pdf", filename="precios.pdf"))
    say(CONTACT, c.Erased())
    say(CONTACT, c.Unsupported(channel_type="poll", reason="Message type unknown", code=131051))
    say(CONTACT, c.SystemNotice(event="user_changed_number", body="Tomás changed his number"))


TEXTS = (
    "👍",
    "Te mando la lista:\n- *batidora*\n- tapa\n1. primero\n2. segundo",
    "مرحبا، وصل الخلاط *مكسورًا* ورقم الطلب VF-48213، شكرا",
    "שלום, ההזמנה VF-48213 לא הגיעה עדיין",
    "नमस्ते, मेरा ऑर्डर *VF-48213* कब आएगा? 🙏🏽",
    "வணக்கம், என் ஆர்டர் எங்கே?",
    "Donaudampfschifffahrtsgesellschaftskapitän" * 5,
    "<script>alert(1)</script> <img src=x onerror=alert(1)> javascript:alert(1) data:text/html,x "
    "https://xn--pple-43d.com https://аpple.com/login",
    "Todo lo que pasó, con detalle. " * 323 + "Fin.",
)


def _texts(wall: Wall) -> None:
    for text in TEXTS:
        wall.hang(CONTACT, c.Text(text))


def _changes(wall: Wall) -> None:
    say = wall.hang
    typo = say(CONTACT, c.Text("mi pedido es VF-48213"))
    say(CONTACT, c.Edit(target=typo, body="mi pedido es VF-48212"))
    regret = say(CONTACT, c.Text("olvidé mi contraseña: hunter2"))
    say(CONTACT, c.Revoke(target=regret))
