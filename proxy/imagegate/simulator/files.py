"""The routes under `/files`: what was uploaded, and what batches came to.

Nothing expires here: the time at which it would is only told.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter, derived, time_of
from imagegate.simulator.fields import Kind, Table, Whole, Words
from imagegate.simulator.forms import Upload
from imagegate.simulator.items import page_of
from imagegate.simulator.refusal import (
    Refusal,
    invalid_type,
    missing_parameter,
    refusal,
    unknown_parameter,
)
from imagegate.simulator.wire import Answer, json_answer

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_NOT_DOWNLOADED = ("assistants", "user_data")
_FIELDS = ("file", "purpose", "expires_after")
_DAY = 86_400
_EXPIRY: dict[str, Kind] = {
    "anchor": Words(("created_at",)),
    "seconds": Whole(3600, 30 * _DAY),
}
# Of one file, as documented, and of all that are kept, as a laptop bears it.
_MOST = 512 * 1024 * 1024
_PAGE = 10_000


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file, and what was said of it."""

    id: str
    created_at: int
    purpose: str
    filename: str
    content: bytes
    seconds: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the File object."""
        expires = None if self.seconds is None else self.created_at + self.seconds
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "expires_at": expires,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class Files:
    """What is kept of them, and what can be done with it."""

    def __init__(self, counter: Counter, *, keep: int, most: int = _MOST) -> None:
        self._counter = counter
        self._keep = keep
        self._most = most
        self._files: dict[str, File] = {}

    def find(self, ident: str) -> File | None:
        """Return a file; None if there is none, or none any more."""
        return self._files.get(ident)

    def add(
        self, content: bytes, *, filename: str, purpose: str, seconds: int | None
    ) -> File:
        """Keep a file, and forget the oldest where there is no room for it."""
        number = self._counter.next()
        ident = f"file-{derived(self._counter.ident('file', number))}"
        file = self._files[ident] = File(
            id=ident,
            created_at=time_of(number),
            purpose=purpose,
            filename=filename,
            content=content,
            seconds=seconds,
        )
        while len(self._files) > self._keep or self._size() > self._most:
            del self._files[next(iter(self._files))]
        return file

    def create(self, call: Call) -> Answer:
        """Take a file."""
        upload, purpose = _checked(call.body)
        if len(upload.content) > self._most:
            raise refusal("File is too large.", status=413, param="file")
        if purpose == "batch":
            _check_batch_file(upload)
        usual = 30 * _DAY if purpose == "batch" else None
        seconds = lifetime(call.body, "expires_after")
        file = self.add(
            upload.content,
            filename=upload.filename,
            purpose=purpose,
            seconds=usual if seconds is None else seconds,
        )
        return json_answer(file.as_json())

    def list(self, call: Call) -> Answer:
        """List the files, of all purposes or of one."""
        purpose = call.query("purpose")
        listed = [
            file.as_json()
            for file in self._files.values()
            if purpose in {None, file.purpose}
        ]
        return page_of(call, listed, usual=_PAGE)

    def retrieve(self, call: Call) -> Answer:
        """Show what is known of a file."""
        return json_answer(self._found(call).as_json())

    def delete(self, call: Call) -> Answer:
        """Forget a file; a batch that has begun with it goes on."""
        file = self._found(call)
        del self._files[file.id]
        return json_answer({"id": file.id, "object": "file", "deleted": True})

    def content(self, call: Call) -> Answer:
        """Answer the bytes of a file."""
        file = self._found(call)
        if file.purpose in _NOT_DOWNLOADED:
            message = f"Not allowed to download files of purpose: {file.purpose}"
            raise refusal(message)
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": f'attachment; filename="{quote(file.filename)}"',
            "content-length": str(len(file.content)),
        }
        return Answer(headers=headers, pieces=[file.content])

    def _found(self, call: Call) -> File:
        file = self.find(call.ident)
        if file is None:
            raise no_such_file(call.ident)
        return file

    def _size(self) -> int:
        return sum(len(file.content) for file in self._files.values())


def lifetime(body: dict[str, Any], param: str) -> int | None:
    """Return after how many seconds a file is to expire, if that was said."""
    value = body.get(param)
    if value is None:
        return None
    Table(_EXPIRY).check(value, param)
    for key in _EXPIRY:
        if key not in value:
            raise missing_parameter(f"{param}.{key}")
    seconds: int = value["seconds"]
    return seconds


def no_such_file(ident: str, *, status: int = 404, param: str = "id") -> Refusal:
    """A file that is not there."""
    return refusal(f"No such File object: {ident}", status=status, param=param)


def _checked(body: dict[str, Any]) -> tuple[Upload, str]:
    for key in body:
        if key not in _FIELDS:
            raise unknown_parameter(key)
    for key in _FIELDS[:2]:
        if key not in body:
            raise missing_parameter(key)
    file, purpose = body["file"], body["purpose"]
    if not isinstance(file, Upload):
        raise invalid_type("file", file, expected="a file")
    Words(_PURPOSES).check(purpose, "purpose")
    return file, purpose


def _check_batch_file(upload: Upload) -> None:
    """Raise at what is seen without reading the lines."""
    if not upload.filename.endswith(".jsonl"):
        raise refusal("Invalid file format for Batch API. Must be .jsonl")
    try:
        upload.content.decode()
    except UnicodeDecodeError as error:
        raise refusal("Invalid file for Batch API. Must be utf-8 encoded") from error
