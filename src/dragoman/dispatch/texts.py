"""What the dispatcher says on its own account, in the six languages that it speaks.

Skills bring their own words; these are the sentences around them. A locale such as ``pt-BR`` is answered
in ``pt``.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from dragoman.domain.plurals import plural

SENTENCES: dict[str, dict[str, str]] = {
    "greeting": {
        "en": "Hello$name! How can I help you? Pick a topic or just write what you need.",
        "de": "Hallo$name! Wie kann ich helfen? Wählen Sie ein Thema oder schreiben Sie einfach, worum es geht.",
        "es": "¡Hola$name! ¿En qué puedo ayudarle? Elija un tema o escriba lo que necesita.",
        "fr": "Bonjour$name ! Comment puis-je vous aider ? Choisissez un sujet ou écrivez simplement votre demande.",
        "pt": "Olá$name! Como posso ajudar? Escolha um assunto ou escreva o que precisa.",
        "it": "Ciao$name! Come posso aiutarti? Scegli un argomento o scrivi semplicemente cosa ti serve.",
    },
    "unclear": {
        "en": "Sorry, I did not understand that. Could you put it differently, or pick one of these?",
        "de": "Das habe ich leider nicht verstanden. Können Sie es anders sagen oder eines davon auswählen?",
        "es": "Perdone, no le he entendido. ¿Puede decirlo de otra manera o elegir una de estas opciones?",
        "fr": "Désolé, je n'ai pas compris. Pouvez-vous le dire autrement ou choisir l'une de ces options ?",
        "pt": "Desculpe, não entendi. Pode dizer de outra forma ou escolher uma destas opções?",
        "it": "Scusa, non ho capito. Puoi dirlo in un altro modo o scegliere una di queste opzioni?",
    },
    "only_text": {
        "en": "I can only read text so far. Please tell me in words what you need, or pick one of these.",
        "de": "Ich kann bisher nur Text lesen. Bitte schreiben Sie, worum es geht, oder wählen Sie eines davon aus.",
        "es": "Por ahora solo puedo leer texto. Escriba lo que necesita o elija una de estas opciones.",
        "fr": "Je ne sais lire que du texte pour le moment. Écrivez votre demande ou choisissez l'une de ces options.",
        "pt": "Por enquanto só consigo ler texto. Escreva o que precisa ou escolha uma destas opções.",
        "it": "Per ora so leggere solo il testo. Scrivi cosa ti serve o scegli una di queste opzioni.",
    },
    "bad_answer": {
        "en": "I could not use that answer.",
        "de": "Mit dieser Antwort kann ich nichts anfangen.",
        "es": "No he podido usar esa respuesta.",
        "fr": "Je n'ai pas pu utiliser cette réponse.",
        "pt": "Não consegui usar essa resposta.",
        "it": "Non ho potuto usare questa risposta.",
    },
    "ask": {
        "en": "Please tell me: $parameter",
        "de": "Bitte nennen Sie mir: $parameter",
        "es": "Por favor, indíqueme: $parameter",
        "fr": "Merci de m'indiquer : $parameter",
        "pt": "Por favor, informe: $parameter",
        "it": "Per favore, indicami: $parameter",
    },
    "yes": {"en": "Yes", "de": "Ja", "es": "Sí", "fr": "Oui", "pt": "Sim", "it": "Sì"},
    "no": {"en": "No", "de": "Nein", "es": "No", "fr": "Non", "pt": "Não", "it": "No"},
    "menu_button": {
        "en": "Choose",
        "de": "Auswählen",
        "es": "Elegir",
        "fr": "Choisir",
        "pt": "Escolher",
        "it": "Scegli",
    },
    "menu_more": {"en": "More", "de": "Mehr", "es": "Más", "fr": "Plus", "pt": "Mais", "it": "Altro"},
    "menu_back": {"en": "Back", "de": "Zurück", "es": "Volver", "fr": "Retour", "pt": "Voltar", "it": "Indietro"},
    "human_option": {
        "en": "Talk to a person",
        "de": "Mit jemandem reden",
        "es": "Hablar con alguien",
        "fr": "Parler à quelqu'un",
        "pt": "Falar com alguém",
        "it": "Parlare con qualcuno",
    },
    "to_agent": {
        "en": "Of course. A colleague will answer you here as soon as possible.",
        "de": "Gern. Eine Kollegin oder ein Kollege antwortet Ihnen hier so bald wie möglich.",
        "es": "Por supuesto. Un compañero le responderá aquí lo antes posible.",
        "fr": "Bien sûr. Un collègue vous répondra ici dès que possible.",
        "pt": "Claro. Um colega vai responder aqui assim que possível.",
        "it": "Certo. Un collega ti risponderà qui appena possibile.",
    },
    "handoff": {
        "en": "I am not getting this right, so I am handing over to a colleague who will answer you here.",
        "de": "Ich komme hier nicht weiter und übergebe an eine Kollegin oder einen Kollegen; die Antwort kommt hier.",
        "es": "No consigo ayudarle con esto, así que le paso con un compañero que le responderá aquí.",
        "fr": "Je n'y arrive pas ; je passe la main à un collègue qui vous répondra ici.",
        "pt": "Não estou conseguindo ajudar, então vou passar para um colega, que vai responder aqui.",
        "it": "Non riesco ad aiutarti, quindi passo la conversazione a un collega che ti risponderà qui.",
    },
    "goodbye": {
        "en": "You are welcome. Write again whenever you need something!",
        "de": "Gern geschehen. Schreiben Sie einfach wieder, wenn Sie etwas brauchen!",
        "es": "De nada. ¡Escríbanos de nuevo cuando lo necesite!",
        "fr": "Avec plaisir. Écrivez-nous à nouveau quand vous voulez !",
        "pt": "De nada. Escreva de novo quando precisar!",
        "it": "Prego. Scrivici di nuovo quando vuoi!",
    },
    "done": {
        "en": "Done.",
        "de": "Erledigt.",
        "es": "Hecho.",
        "fr": "C'est fait.",
        "pt": "Feito.",
        "it": "Fatto.",
    },
    "skill_error": {
        "en": 'Sorry, that is not working at the moment. Please try again later, or write "agent" for a person.',
        "de": "Das klappt im Moment leider nicht. Bitte versuchen Sie es später noch einmal, "
        "oder schreiben Sie „Mitarbeiter“.",
        "es": "Lo siento, eso no funciona en este momento. Inténtelo más tarde o escriba «agente».",
        "fr": "Désolé, cela ne fonctionne pas pour le moment. Réessayez plus tard ou écrivez « conseiller ».",
        "pt": 'Desculpe, isso não está funcionando agora. Tente mais tarde ou escreva "atendente".',
        "it": 'Mi dispiace, al momento non funziona. Riprova più tardi o scrivi "operatore".',
    },
    "skill_retired": {
        "en": 'Sorry, we no longer offer that here. Write "agent" if you would like to talk to a person.',
        "de": "Das bieten wir hier leider nicht mehr an. Schreiben Sie „Mitarbeiter“, um mit jemandem zu reden.",
        "es": "Lo siento, ya no ofrecemos eso aquí. Escriba «agente» si quiere hablar con una persona.",
        "fr": "Désolé, nous ne proposons plus cela ici. Écrivez « conseiller » pour parler à quelqu'un.",
        "pt": 'Desculpe, não oferecemos mais isso aqui. Escreva "atendente" para falar com uma pessoa.',
        "it": 'Mi dispiace, qui non lo offriamo più. Scrivi "operatore" per parlare con una persona.',
    },
    "verify_phone": {
        "en": "I may only tell that to registered customers, and this number is not linked to a customer account. "
        'Write "agent" and a colleague will link it.',
        "de": "Das darf ich nur registrierten Kunden sagen, und diese Nummer gehört zu keinem Kundenkonto. "
        "Schreiben Sie „Mitarbeiter“, dann verknüpfen wir sie.",
        "es": "Solo puedo decirlo a clientes registrados y este número no está vinculado a ninguna cuenta. "
        "Escriba «agente» y un compañero lo vinculará.",
        "fr": "Je ne peux le dire qu'aux clients enregistrés, et ce numéro n'est lié à aucun compte client. "
        "Écrivez « conseiller » et un collègue le liera.",
        "pt": "Só posso informar isso a clientes cadastrados, e este número não está ligado a nenhuma conta. "
        'Escreva "atendente" e um colega fará a ligação.',
        "it": "Posso dirlo solo ai clienti registrati e questo numero non è collegato a nessun account. "
        'Scrivi "operatore" e un collega lo collegherà.',
    },
    "verify_identity": {
        "en": "For that I need to be sure that it is really you, and your identity is not confirmed yet. "
        'Write "agent" and a colleague will confirm it with you.',
        "de": "Dafür muss ich sicher sein, dass Sie es wirklich sind; Ihre Identität ist noch nicht bestätigt. "
        "Schreiben Sie „Mitarbeiter“, dann bestätigen wir sie mit Ihnen.",
        "es": "Para eso necesito estar seguro de que es usted, y su identidad aún no está confirmada. "
        "Escriba «agente» y un compañero la confirmará con usted.",
        "fr": "Pour cela, je dois être sûr que c'est bien vous, et votre identité n'est pas encore confirmée. "
        "Écrivez « conseiller » et un collègue la confirmera avec vous.",
        "pt": "Para isso preciso ter certeza de que é você, e sua identidade ainda não foi confirmada. "
        'Escreva "atendente" e um colega vai confirmá-la com você.',
        "it": "Per questo devo essere certo che sia davvero tu e la tua identità non è ancora confermata. "
        'Scrivi "operatore" e un collega la confermerà con te.',
    },
    "orphaned": {
        "en": "Sorry, something went wrong on our side and your last message was not handled. Please write it again.",
        "de": "Bei uns ist etwas schiefgegangen, und Ihre letzte Nachricht wurde nicht bearbeitet. "
        "Bitte schreiben Sie sie noch einmal.",
        "es": "Lo siento, algo ha fallado por nuestra parte y su último mensaje no se ha atendido. "
        "Escríbalo de nuevo, por favor.",
        "fr": "Désolé, un problème est survenu de notre côté et votre dernier message n'a pas été traité. "
        "Merci de l'écrire à nouveau.",
        "pt": "Desculpe, algo deu errado do nosso lado e sua última mensagem não foi atendida. "
        "Por favor, escreva de novo.",
        "it": "Mi dispiace, qualcosa è andato storto da parte nostra e il tuo ultimo messaggio "
        "non è stato gestito. Per favore, scrivilo di nuovo.",
    },
    "rate_limited": {
        "en": "That is more messages at once than I can handle. Please wait a minute and then write again.",
        "de": "Das sind mehr Nachrichten auf einmal, als ich schaffe. Bitte schreiben Sie in einer Minute noch einmal.",
        "es": "Son más mensajes a la vez de los que puedo atender. Vuelva a escribir dentro de un minuto, por favor.",
        "fr": "C'est plus de messages à la fois que je ne peux traiter. Merci de réécrire dans une minute.",
        "pt": "São mais mensagens de uma vez do que consigo atender. Escreva de novo em um minuto, por favor.",
        "it": "Sono più messaggi insieme di quanti ne riesca a gestire. Scrivi di nuovo tra un minuto, per favore.",
    },
    "busy_elsewhere": {
        "en": "We are already talking in another chat. Please go on there; I will answer here once that is finished.",
        "de": "Wir sprechen schon in einem anderen Chat. Bitte schreiben Sie dort weiter; danach antworte ich hier.",
        "es": "Ya estamos hablando en otro chat. Siga allí, por favor; aquí le responderé cuando termine.",
        "fr": "Nous parlons déjà dans une autre discussion. Continuez là-bas ; je répondrai ici après.",
        "pt": "Já estamos conversando em outro chat. Continue lá, por favor; respondo aqui quando terminar.",
        "it": "Stiamo già parlando in un'altra chat. Continua lì, per favore; qui risponderò quando sarà finita.",
    },
    "busy_waiting": {
        "en": "I was still busy with your earlier message. Please write this one again.",
        "de": "Ich war noch mit Ihrer früheren Nachricht beschäftigt. Bitte schreiben Sie diese noch einmal.",
        "es": "Todavía estaba con su mensaje anterior. Escriba este de nuevo, por favor.",
        "fr": "J'étais encore occupé avec votre message précédent. Merci d'écrire celui-ci à nouveau.",
        "pt": "Eu ainda estava ocupado com a sua mensagem anterior. Escreva esta de novo, por favor.",
        "it": "Ero ancora occupato con il tuo messaggio precedente. Per favore, scrivi di nuovo questo.",
    },
    "budget_exceeded": {
        "en": 'I have done all that I may do in this conversation. Write "agent" and a colleague will go on with you.',
        "de": "Mehr darf ich in diesem Gespräch nicht tun. Schreiben Sie „Mitarbeiter“, dann hilft jemand weiter.",
        "es": "No puedo hacer nada más en esta conversación. Escriba «agente» y un compañero seguirá con usted.",
        "fr": "Je ne peux rien faire de plus ici. Écrivez « conseiller » et un collègue continuera avec vous.",
        "pt": 'Não posso fazer mais nada nesta conversa. Escreva "atendente" e um colega continuará com você.',
        "it": 'Non posso fare altro in questa conversazione. Scrivi "operatore" e un collega continuerà con te.',
    },
    "routed": {
        "en": "A colleague will answer you here as soon as possible.",
        "de": "Eine Kollegin oder ein Kollege antwortet Ihnen hier so bald wie möglich.",
        "es": "Un compañero le responderá aquí lo antes posible.",
        "fr": "Un collègue vous répondra ici dès que possible.",
        "pt": "Um colega vai responder aqui assim que possível.",
        "it": "Un collega ti risponderà qui appena possibile.",
    },
    "back_at": {
        "en": "Nobody is here at the moment; we are back on $when.",
        "de": "Im Moment ist niemand da; wir sind am $when wieder für Sie da.",
        "es": "Ahora mismo no hay nadie; volvemos el $when.",
        "fr": "Il n'y a personne en ce moment ; nous serons de retour $when.",
        "pt": "No momento não há ninguém; voltamos $when.",
        "it": "Al momento non c'è nessuno; torniamo $when.",
    },
    "away": {
        "en": "Nobody is here at the moment; we will answer you here as soon as we are back.",
        "de": "Im Moment ist niemand da; wir antworten Ihnen hier, sobald wir zurück sind.",
        "es": "Ahora mismo no hay nadie; le responderemos aquí en cuanto volvamos.",
        "fr": "Il n'y a personne en ce moment ; nous vous répondrons ici dès notre retour.",
        "pt": "No momento não há ninguém; responderemos aqui assim que voltarmos.",
        "it": "Al momento non c'è nessuno; ti risponderemo qui appena torniamo.",
    },
    "confirm_offer": {
        "en": "For that I need to be sure that it is really you. Shall I send you a code?",
        "de": "Dafür muss ich sicher sein, dass Sie es wirklich sind. Soll ich Ihnen einen Code schicken?",
        "es": "Para eso necesito estar seguro de que es usted. ¿Le envío un código?",
        "fr": "Pour cela, je dois être sûr que c'est bien vous. Dois-je vous envoyer un code ?",
        "pt": "Para isso preciso ter certeza de que é você. Posso enviar um código?",
        "it": "Per questo devo essere certo che sia davvero tu. Ti mando un codice?",
    },
    "code_option": {
        "en": "Send me a code",
        "de": "Code schicken",
        "es": "Enviarme un código",
        "fr": "M'envoyer un code",
        "pt": "Enviar um código",
        "it": "Inviami un codice",
    },
    "code": {
        "en": "Your code is $code. Write it here within $minutes min, and give it to nobody else.",
        "de": "Ihr Code ist $code. Schreiben Sie ihn binnen $minutes Min. hier, und geben Sie ihn sonst niemandem.",
        "es": "Su código es $code. Escríbalo aquí en $minutes min y no se lo dé a nadie más.",
        "fr": "Votre code est $code. Écrivez-le ici dans les $minutes min et ne le donnez à personne d'autre.",
        "pt": "Seu código é $code. Escreva-o aqui em até $minutes min e não o dê a mais ninguém.",
        "it": "Il tuo codice è $code. Scrivilo qui entro $minutes min e non darlo a nessun altro.",
    },
    "code_elsewhere": {
        "en": "I have sent a code to $to. Please write it here.",
        "de": "Ich habe einen Code an $to geschickt. Bitte schreiben Sie ihn hier.",
        "es": "He enviado un código a $to. Escríbalo aquí, por favor.",
        "fr": "J'ai envoyé un code à $to. Merci de l'écrire ici.",
        "pt": "Enviei um código para $to. Escreva-o aqui, por favor.",
        "it": "Ho mandato un codice a $to. Scrivilo qui, per favore.",
    },
    "code_asked": {
        "en": "Please write the six digits of the code that I sent.",
        "de": "Bitte schreiben Sie die sechs Ziffern des Codes, den ich geschickt habe.",
        "es": "Escriba las seis cifras del código que le envié, por favor.",
        "fr": "Merci d'écrire les six chiffres du code que j'ai envoyé.",
        "pt": "Escreva os seis dígitos do código que enviei, por favor.",
        "it": "Scrivi le sei cifre del codice che ho mandato, per favore.",
    },
    "code_right": {
        "en": "Thank you, that is the right code.",
        "de": "Danke, das ist der richtige Code.",
        "es": "Gracias, el código es correcto.",
        "fr": "Merci, c'est le bon code.",
        "pt": "Obrigado, o código está certo.",
        "it": "Grazie, il codice è giusto.",
    },
    "code_locked": {
        "en": 'There were too many wrong codes. Please try again in $minutes min, or write "agent" for a person.',
        "de": "Das waren zu viele falsche Codes. Bitte versuchen Sie es in $minutes Min. wieder, "
        "oder schreiben Sie „Mitarbeiter“.",
        "es": "Ha habido demasiados códigos incorrectos. Inténtelo en $minutes min o escriba «agente».",
        "fr": "Trop de codes incorrects. Réessayez dans $minutes min ou écrivez « conseiller ».",
        "pt": 'Houve códigos errados demais. Tente de novo em $minutes min ou escreva "atendente".',
        "it": 'Ci sono stati troppi codici sbagliati. Riprova tra $minutes min o scrivi "operatore".',
    },
    "code_gone": {
        "en": "That code is no longer valid. Shall I send you a new one?",
        "de": "Dieser Code gilt nicht mehr. Soll ich Ihnen einen neuen schicken?",
        "es": "Ese código ya no es válido. ¿Le envío uno nuevo?",
        "fr": "Ce code n'est plus valable. Dois-je vous en envoyer un nouveau ?",
        "pt": "Esse código não é mais válido. Posso enviar um novo?",
        "it": "Quel codice non è più valido. Te ne mando uno nuovo?",
    },
    "code_reported": {
        "en": 'Thank you for telling us. The code is void now, nobody can use it. Write "agent" for a person.',
        "de": "Danke für den Hinweis. Der Code ist jetzt ungültig, niemand kann ihn verwenden. "
        "Schreiben Sie „Mitarbeiter“, um mit jemandem zu reden.",
        "es": "Gracias por avisarnos. El código ya no vale y nadie puede usarlo. "
        "Escriba «agente» si quiere hablar con una persona.",
        "fr": "Merci de nous avoir prévenus. Le code n'est plus valable, personne ne peut l'utiliser. "
        "Écrivez « conseiller » pour parler à quelqu'un.",
        "pt": "Obrigado por avisar. O código não vale mais e ninguém pode usá-lo. "
        'Escreva "atendente" para falar com uma pessoa.',
        "it": "Grazie per averci avvisato. Il codice non è più valido e nessuno può usarlo. "
        'Scrivi "operatore" per parlare con una persona.',
    },
    "code_too_soon": {
        "en": "I have only just sent you a code. Please write it here, or ask for a new one in $seconds s.",
        "de": "Ich habe gerade erst einen Code geschickt. Bitte schreiben Sie ihn hier; "
        "einen neuen gibt es in $seconds Sek.",
        "es": "Acabo de enviarle un código. Escríbalo aquí, o pida uno nuevo dentro de $seconds s.",
        "fr": "Je viens de vous envoyer un code. Écrivez-le ici, ou demandez-en un nouveau dans $seconds s.",
        "pt": "Acabei de enviar um código. Escreva-o aqui, ou peça um novo em $seconds s.",
        "it": "Ti ho appena mandato un codice. Scrivilo qui, o chiedine uno nuovo tra $seconds s.",
    },
}

COUNTED: dict[str, dict[str, dict[str, str]]] = {
    "code_wrong": {
        "en": {
            "one": "That is not the code. You can try once more.",
            "other": "That is not the code. You can try $count more times.",
        },
        "de": {
            "one": "Das ist nicht der Code. Sie haben noch einen Versuch.",
            "other": "Das ist nicht der Code. Sie haben noch $count Versuche.",
        },
        "es": {
            "one": "Ese no es el código. Le queda un intento.",
            "other": "Ese no es el código. Le quedan $count intentos.",
        },
        "fr": {
            "one": "Ce n'est pas le code. Il vous reste $count essai.",
            "other": "Ce n'est pas le code. Il vous reste $count essais.",
        },
        "pt": {
            "one": "Esse não é o código. Resta $count tentativa.",
            "other": "Esse não é o código. Restam $count tentativas.",
        },
        "it": {
            "one": "Non è il codice. Ti rimane un tentativo.",
            "other": "Non è il codice. Ti rimangono $count tentativi.",
        },
    },
}
"""Sentences with a count before a noun, in the forms that the language's numbers take."""

LANGUAGES = ("en", "de", "es", "fr", "pt", "it")


def language(locale: str) -> str:
    """Give the primary part of a language tag: ``pt`` of ``pt-BR`` or ``pt_BR``."""
    return locale.replace("_", "-").split("-")[0].lower()


def pick(by_locale: Mapping[str, str], *locales: str) -> str | None:
    """The text for the first of *locales* that has one (as written, or its language), else English, else any."""
    for locale in (*locales, "en"):
        for key in (locale, language(locale)):
            if key in by_locale:
                return by_locale[key]
    return next(iter(by_locale.values()), None)


def counted_sentence(key: str, count: int, *locales: str) -> str:
    """A sentence of :data:`COUNTED` in the form that *count* takes, in the language of :func:`sentence`."""
    spoken = pick({tag: tag for tag in COUNTED[key]}, *locales) or "en"
    return Template(plural(count, COUNTED[key][spoken], spoken)).substitute(count=str(count))


def sentence(key: str, *locales: str, **values: str) -> str:
    """A sentence of :data:`SENTENCES` in the first of *locales* that Dragoman speaks, else in English."""
    text = pick(SENTENCES[key], *locales)
    assert text is not None, key  # noqa: S101 - every sentence stands there in English; a test looks
    return Template(text).substitute(values)
