"""Files that are uploaded, and the batches that run them.

A batch names a file, and nobody sees what is in it then: it may be one that was
judged here as it was uploaded, and no other.
"""

from __future__ import annotations

from typing import Final

from imagegate.engine.batch import PURPOSE
from imagegate.engine.body import Body
from imagegate.engine.decision import Decision
from imagegate.engine.notes import Notes
from imagegate.engine.request import Request
from imagegate.engine.state import staged_file
from imagegate.engine.surface import BATCH_KEYS, FILE_KEYS

_HARMLESS: Final = frozenset({"assistants", "fine-tune", "user_data", "vision"})
"""What nobody runs a model on without asking for it by another route."""


def judge_upload(notes: Notes, request: Request, body: Body) -> None:
    """Judge the upload of a file by what it is for."""
    value = body.get("purpose")
    purpose = None if value is None else value.text()
    staged = request.staged
    if purpose == PURPOSE and staged is not None:
        _refuse_strange(notes, body, FILE_KEYS)
        _refuse_uncounted(notes, staged)
    elif purpose not in _HARMLESS:
        said = "files for this purpose are not read here"
        notes.refuse_always("/purpose", "purpose", "purpose", said, unreadable=True)


def _refuse_strange(notes: Notes, body: Body, known: frozenset[str]) -> None:
    for key in sorted(body.names - known):
        said = "this may name lines that nobody here has read"
        notes.refuse_always(f"/{key}", "member", "batch", said, unreadable=True)


def _refuse_uncounted(notes: Notes, staged: Decision) -> None:
    """Refuse to stage what a quota counts: a batch runs when nobody counts."""
    for quota, line in notes.scene.book.quotas.items():
        if not quota.holds or staged.tools:
            said = f"a batch cannot be held to a quota of {quota.what}"
            fix = "send its requests one by one"
            notes.refuse("/file", quota.what, line, said, fix=fix)


def judge_batch(notes: Notes, request: Request, body: Body) -> None:
    """Judge a request for a batch: it names a file that was judged here."""
    _refuse_strange(notes, body, BATCH_KEYS)
    if staged_file(body) not in request.seen:
        said = (
            "this file was not uploaded through this gateway by you under the rules "
            "that hold now, or its lines are for another `endpoint`; upload it again"
        )
        place = "/input_file_id"
        notes.refuse_always(place, "input_file_id", "batch", said, unreadable=True)
