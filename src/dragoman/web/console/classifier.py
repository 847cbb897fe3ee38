"""The classifier: its live version with scores, phrases that wait, a trial of the next version, the threshold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.classify.scores import Scores
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.questions import OUT_OF_SCOPE
from dragoman.runtime import Runtime
from dragoman.services.catalogue import train_classifier
from dragoman.services.catalogue.read_classifier import read_classifier
from dragoman.services.catalogue.train_classifier import TRIED_DAYS
from dragoman.services.insights.answer_questions import remove_phrases
from dragoman.translations import deferred
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.classifier_trial import trial_for
from dragoman.web.console.page import render, said
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/skills/classifier"
MOST_ROWS = 25
"""How many intents the matrix has, those that are taken for others most often."""

CONFLICTS = 25

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]

_DONE = {
    "live": deferred("Published. The new version is used from now on."),
    "removed": deferred("Phrases removed. This takes effect with the next version."),
    "measured": deferred("Live version measured."),
    "threshold": deferred("Threshold changed. It applies from the next message."),
}


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """How often an intent was taken for another; ``heat`` from 0 (never) to 4, ``is_right`` on the diagonal."""

    count: int
    heat: int
    is_right: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """The confusion matrix: what was wanted in rows, what it was taken for in the same order across."""

    intents: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    left_out: int


def matrix_of(found: Scores) -> Matrix:
    """Make the matrix of the intents that are confused most; all of them where there are few."""
    wrong: dict[tuple[str, str], int] = {(one.wanted, one.given): one.count for one in found.confusions}
    trouble = {one.intent: sum(count for pair, count in wrong.items() if one.intent in pair) for one in found.intents}
    shown = sorted(trouble, key=lambda intent: (-trouble[intent], intent))[:MOST_ROWS]
    shown.sort(key=lambda intent: (intent == OUT_OF_SCOPE, intent))
    of = {one.intent: one for one in found.intents}
    rows = []
    for wanted in shown:
        right = round(of[wanted].examples * (of[wanted].recall or 0.0))
        counts = [right if given == wanted else wrong.get((wanted, given), 0) for given in shown]
        most = max(1, of[wanted].examples)
        cells = tuple(
            MatrixCell(count, min(4, -(-4 * count // most)), given == wanted)
            for given, count in zip(shown, counts, strict=True)
        )
        rows.append((wanted, cells))
    return Matrix(tuple(shown), tuple(rows), len(trouble) - len(shown))


@router.get(ADDRESS)
async def page(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the classifier; with ``try=1`` what its next version would change."""
    return await _show(request, runtime, identity, try_it=request.query_params.get("try") == "1")


async def _show(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    *,
    try_it: bool = False,
    mistake: str = "",
    status: int = 200,
) -> Response:
    state = await read_classifier(runtime, identity.tenant_id)
    trial = await trial_for(runtime, identity) if try_it else None
    return render(
        request,
        "skills/classifier.html",
        status_code=status,
        address=ADDRESS,
        state=state,
        measured=state.measured,
        matrix=None if state.measured is None else matrix_of(state.measured.scores),
        conflicts=() if state.measured is None else state.measured.conflicts[:CONFLICTS],
        waiting=[dataclasses.replace(one, text=identity.visibility.typed(one.text)) for one in state.waiting],
        trial=trial,
        tried_days=TRIED_DAYS,
        labels=state.labels,
        may_change=identity.may("communications.access:admin"),
        done=_DONE.get(request.query_params.get("done", "")),
        mistake=mistake,
    )


@router.post(f"{ADDRESS}/measure")
async def measure(runtime: RuntimeDependency, identity: Administrator) -> Response:
    """Measure the live version."""
    await train_classifier.measure_version(runtime, identity.tenant_id)
    return RedirectResponse(f"{ADDRESS}?done=measured", 303)


@router.post(f"{ADDRESS}/live")
async def put_live(
    request: Request,
    runtime: RuntimeDependency,
    identity: Administrator,
    version: Annotated[str, Form(max_length=40)] = "",
) -> Response:
    """Put the next version live, if it still is the one that was shown."""
    try:
        await train_classifier.put_live(runtime, identity.tenant_id, administrator_of(identity), version=version)
    except ChangeRefusedError as error:
        return await _show(request, runtime, identity, mistake=said(error), status=409)
    return RedirectResponse(f"{ADDRESS}?done=live", 303)


@router.post(f"{ADDRESS}/threshold")
async def set_threshold(
    request: Request, runtime: RuntimeDependency, identity: Administrator, share: Annotated[float, Form()]
) -> Response:
    """Set the threshold by the share of good questions that may be asked back."""
    try:
        await train_classifier.set_refusal_budget(runtime, identity.tenant_id, administrator_of(identity), share)
    except ChangeRefusedError as error:
        return await _show(request, runtime, identity, mistake=said(error), status=409)
    return RedirectResponse(f"{ADDRESS}?done=threshold", 303)


@router.post(f"{ADDRESS}/phrases/remove")
async def remove(
    runtime: RuntimeDependency,
    identity: Administrator,
    phrase_id: Annotated[list[UUID], Form(max_length=50)],
) -> Response:
    """Take added phrases out with the next version."""
    await remove_phrases(runtime, identity.tenant_id, administrator_of(identity), phrase_id)
    return RedirectResponse(f"{ADDRESS}?done=removed", 303)
