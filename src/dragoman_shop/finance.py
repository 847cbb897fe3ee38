"""What a business customer owes and has been billed. Both need a number that belongs to a customer."""

from __future__ import annotations

from datetime import timedelta

from dragoman.skills import Level, Reply, SendMedia, SkillAnswer, SkillContext, skill
from dragoman_shop import pace
from dragoman_shop.facts import day, euros, number
from dragoman_shop.papers import invoice
from dragoman_shop.speech import language_of, say

BALANCE = {
    "en": "{name}: your open balance is {amount}, of which {due} is overdue.",
    "de": "{name}: Ihr offener Saldo beträgt {amount}, davon sind {due} überfällig.",
    "es": "{name}: su saldo pendiente es de {amount}, de los cuales {due} están vencidos.",
    "fr": "{name} : votre solde ouvert est de {amount}, dont {due} en retard.",
    "pt": "{name}: seu saldo em aberto é de {amount}, dos quais {due} estão vencidos.",
    "it": "{name}: il tuo saldo aperto è di {amount}, di cui {due} scaduti.",
}

SETTLED = {
    "en": "{name}: your account is settled, nothing is open.",
    "de": "{name}: Ihr Konto ist ausgeglichen, es ist nichts offen.",
    "es": "{name}: su cuenta está al día, no hay nada pendiente.",
    "fr": "{name} : votre compte est soldé, rien n'est en attente.",
    "pt": "{name}: sua conta está em dia, não há nada em aberto.",
    "it": "{name}: il tuo conto è in regola, non c'è nulla di aperto.",
}

INVOICES = {
    "en": "Your latest invoices:",
    "de": "Ihre letzten Rechnungen:",
    "es": "Sus últimas facturas:",
    "fr": "Vos dernières factures :",
    "pt": "Suas últimas faturas:",
    "it": "Le tue ultime fatture:",
}

SEE_INVOICES = {
    "en": "Show invoices",
    "de": "Rechnungen zeigen",
    "es": "Ver facturas",
    "fr": "Voir les factures",
    "pt": "Ver faturas",
    "it": "Vedi fatture",
}


@skill(
    name="finance.ar_balance",
    label="Account balance",
    version="2.1.0",
    owner="Accounts receivable",
    module="finance",
    level=Level.PHONE_MATCHED,
    cost_micros=400,
    phrases={
        "en": [
            "what is my balance",
            "how much do I owe you",
            "account balance please",
            "is there anything outstanding on my account",
            "show me my open balance",
            "do I still have to pay something",
            "current balance of our company account",
            "how much is overdue",
            "what do we owe",
        ],
        "de": [
            "wie hoch ist mein Saldo",
            "wie viel schulde ich Ihnen",
            "Kontostand bitte",
            "ist auf meinem Konto noch etwas offen",
            "offener Betrag",
            "wie ist unser aktueller Kontostand",
            "muss ich noch etwas bezahlen",
            "offene Posten unserer Firma",
            "wie viel ist überfällig",
        ],
        "es": [
            "cuál es mi saldo",
            "cuánto les debo",
            "saldo de la cuenta",
            "tengo algo pendiente de pago",
            "quiero saber mi saldo pendiente",
            "cuánto debemos",
            "estado de mi cuenta",
            "cuánto está vencido",
        ],
        "fr": [
            "quel est mon solde",
            "combien je vous dois",
            "solde du compte",
            "est-ce qu'il reste quelque chose à payer",
            "solde ouvert de notre société",
            "combien devons-nous",
            "où en est mon compte client",
            "quel montant est en retard",
        ],
        "pt": [
            "qual é o meu saldo",
            "quanto eu devo",
            "saldo da conta",
            "tenho algo em aberto",
            "quanto falta pagar na minha conta",
            "saldo devedor",
        ],
        "it": [
            "qual è il mio saldo",
            "quanto vi devo",
            "saldo del conto",
            "ho qualcosa in sospeso da pagare",
            "quanto dobbiamo",
            "saldo aperto della nostra azienda",
        ],
    },
)
async def ar_balance(context: SkillContext) -> Reply | str:
    """Tell a business customer the open and the overdue amount."""
    await pace.wait(18)
    partner = context.business_partner
    name, account = (partner.name, partner.number) if partner else ("", context.contact_id)
    language = language_of(context.locale)
    cents = number("balance", account) % 900_000
    if cents < 90_000:
        return say(SETTLED, context.locale, name=name)
    due = cents * (number("due", account) % 40) // 100
    text = say(BALANCE, context.locale, name=name, amount=euros(cents, language), due=euros(due, language))
    return Reply(text, {"skill:finance.invoices": say(SEE_INVOICES, context.locale)})


@skill(
    name="finance.invoices",
    label="Invoices",
    version="1.5.0",
    owner="Accounts receivable",
    module="finance",
    level=Level.PHONE_MATCHED,
    cost_micros=600,
    phrases={
        "en": [
            "send me my invoices",
            "I need a copy of my last invoice",
            "where can I find my bill",
            "list of invoices",
            "invoice copy please",
            "can you resend the invoice",
            "show my latest bills",
            "I did not get an invoice for my purchase",
        ],
        "de": [
            "schicken Sie mir meine Rechnungen",
            "ich brauche eine Kopie der letzten Rechnung",
            "wo finde ich meine Rechnung",
            "Rechnungskopie bitte",
            "Rechnungen anzeigen",
            "können Sie die Rechnung noch einmal senden",
            "ich habe keine Rechnung bekommen",
            "Rechnungsübersicht",
        ],
        "es": [
            "envíeme mis facturas",
            "necesito una copia de la última factura",
            "dónde encuentro mi factura",
            "lista de facturas",
            "copia de la factura por favor",
            "no he recibido la factura",
            "pueden reenviar la factura",
        ],
        "fr": [
            "envoyez-moi mes factures",
            "j'ai besoin d'une copie de ma dernière facture",
            "où trouver ma facture",
            "liste des factures",
            "copie de facture s'il vous plaît",
            "je n'ai pas reçu la facture",
            "pouvez-vous renvoyer la facture",
        ],
        "pt": [
            "envie minhas faturas",
            "preciso de uma cópia da última fatura",
            "onde encontro a minha nota fiscal",
            "lista de faturas",
            "segunda via da fatura",
            "não recebi a fatura",
        ],
        "it": [
            "mandatemi le mie fatture",
            "mi serve una copia dell'ultima fattura",
            "dove trovo la fattura",
            "elenco delle fatture",
            "copia della fattura per favore",
            "non ho ricevuto la fattura",
        ],
    },
)
async def invoices(context: SkillContext) -> SkillAnswer:
    """List a business customer's latest three invoices."""
    await pace.wait(26)
    partner = context.business_partner
    account = partner.number if partner else context.contact_id
    language = language_of(context.locale)
    lines = [say(INVOICES, context.locale)]
    papers = []
    issued = context.deadline.date()
    for index in range(3):
        issued -= timedelta(days=9 + number("gap", account, index) % 25)
        reference = f"INV-{issued:%y}{number('invoice', account, index) % 90_000 + 10_000}"
        cents = number("amount", account, index) % 250_000 + 4_900
        lines.append(f"• {reference} · {day(issued, language)} · {euros(cents, language)}")
        papers.append((reference, invoice(reference, (day(issued, language), f"{cents / 100:.2f} EUR"))))
    latest, paper = papers[0]
    document = SendMedia(media="document", file=paper, filename=f"{latest}.pdf")
    return SkillAnswer(replies=["\n".join(lines), document], data={"invoices": 3})
