"""On Azure a header, or the path, names the image model, whatever the body says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagegate.engine.body import Body
from imagegate.engine.judge import Verdict
from imagegate.engine.models import choose_model, listed_models
from imagegate.engine.notes import Notes
from imagegate.engine.policy import Line
from imagegate.engine.request import Request
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER as HEADER

_WITH_TOOLS: Final = frozenset({"responses", "items", "images"})
"""How bodies are read whose tools a header may speak of."""


def header_of(notes: Notes, request: Request) -> str | None:
    """Return the deployment that a header names where it means one: one, or none."""
    if not _has_meaning(request):
        return None
    values = [value for key, value in request.headers if key == HEADER]
    if len(values) > 1:
        said = f"the header {HEADER} comes twice"
        notes.refuse_always("", HEADER, "header", said, status=400, unreadable=True)
    return values[0] if values else None


def drop_header(notes: Notes, request: Request) -> None:
    """Leave the header out where it has no meaning that anybody could judge.

    An agent is stored: what calls it later brings a header of its own. The lines of a
    batch were judged without one, and what has no body has no tools. And what comes by
    the paths of another provider may still be sent to Azure.
    """
    asked = next((value for key, value in request.headers if key == HEADER), None)
    if asked is not None and not _has_meaning(request):
        notes.change_header(HEADER, None, None, asked)


def _has_meaning(request: Request) -> bool:
    match = request.match
    return match.family.provider == "azure" and match.door.reading in _WITH_TOOLS


def judge_header(notes: Notes, asked: str | None, verdicts: Sequence[Verdict]) -> None:
    """Make the header say the same as the tools."""
    # A tool that names none was judged by what the header says as it came.
    # One whose model is no text is refused for that.
    texts = (verdict.model for verdict in verdicts)
    names = {(text if isinstance(text, str) else None) or asked for text in texts}
    if len(names) > 1:
        said = "tools with different image models cannot share one request"
        notes.refuse_always("", HEADER, "deployment", said)
        return
    written = next(iter(names), None)
    if not verdicts and asked is not None:
        written = _judge_lone(notes, asked)
    needed = asked is not None or bool(notes.scene.deployments)
    if written is None or written == asked or not needed:
        return
    line = next((v.choice.by for v in verdicts if v.choice.by), None)
    notes.change_header(HEADER, written, line, asked)


def _judge_lone(notes: Notes, asked: str) -> str | None:
    """Judge a header that serves a tool which the provider keeps."""
    choice, by = choose_model(notes.scene, asked), None
    if choice.outcome in ("kept", "written"):
        return choice.written or asked
    if choice.outcome == "unknown":
        word, by = notes.scene.book.unknown_values
        if word == "pass":
            return asked
    said, fix = "this image deployment is not allowed", _instead(notes)
    notes.refuse("", HEADER, choice.by or by, said, fix=fix, was=asked)
    return None


def _instead(notes: Notes) -> str:
    """Say which deployment would pass, if the policy lists any."""
    allowed = listed_models(notes.scene)
    return f"use the deployment {allowed[0]}" if allowed else ""


def judge_idle(notes: Notes, asked: str | None, word: str, line: Line | None) -> None:
    """Judge a header where the policy has no image tools.

    It may serve a tool that the provider keeps, or one that an agent has.
    """
    if asked is None:
        return
    if word == "strip":
        notes.change_header(HEADER, None, line, asked)
    else:
        fix = f"leave out the header {HEADER}"
        said = "image generation is not allowed"
        notes.refuse("", HEADER, line, said, fix=fix, was=asked)


def judge_path(notes: Notes, deployment: str, body: Body) -> bool:
    """Judge the deployment in a path, which no rewriting of the body moves."""
    choice = choose_model(notes.scene, deployment)
    named = body.get("model")
    if named is not None and named.plain() not in (None, deployment):
        said = "the body names another deployment than the path"
        notes.refuse_always("/model", "model", "deployment", said)
    elif choice.outcome not in ("kept", "unknown"):
        said, fix = "the image deployment in the path is not allowed", _instead(notes)
        notes.refuse("", "deployment", choice.by, said, fix=fix, was=deployment)
    else:
        return True
    return False
