"""Everything the engine raises on purpose.

    ImagegateError
     ├── CatalogueError     the catalogue file cannot be read (our fault)
     ├── PricesError        a table of prices cannot be used (the operator's)
     ├── PolicyError        a policy file cannot be used (the operator's)
     └── MalformedRequest   a request cannot be judged (the client's)
          └── Unidentified  nobody is known to have sent it

A refusal by policy is not an error: it is a `Block`, a value.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Severity = Literal["error", "warning"]


class ImagegateError(Exception):
    """The root of the tree.

    All of them can be copied and sent to other processes: a pool whose worker raises
    what cannot be read again is broken for good.
    """

    def __reduce__(self) -> tuple[object, ...]:
        return _raised_again, (type(self), self.args, self.__dict__)


def _raised_again(
    kind: type[ImagegateError], args: tuple[object, ...], said: dict[str, object]
) -> ImagegateError:
    """Make an error anew, whatever its own `__init__` takes."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(said)
    return error


class CatalogueError(ImagegateError):
    """The catalogue file is not what the program expects."""


class PricesError(ImagegateError):
    """A price table is not what the program expects.

    Attributes:
        problems: Everything that is wrong with it, each with its place.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a policy file, and what would be right.

    Attributes:
        id: Stable, for tests and for searching: `unknown-key`.
        path: Where in the document: `settings.size.max`; empty for the file.
        message: One sentence: what is wrong and what would be right.
        text: The offending text as written, cut to a line.
        line: 1-based; 0 when the problem has no place in the file.
        column: 1-based; 0 likewise.
        severity: A warning fails only a strict check.
    """

    id: str
    path: str
    message: str
    text: str = ""
    line: int = 0
    column: int = 0
    severity: Severity = "error"

    def told(self, file: str) -> str:
        """Say it on one line: where, what, and what would be right."""
        place = f":{self.line}:{self.column}" if self.line else ""
        quoted = f"found {self.text!r}: " if self.text else ""
        what = f"{self.severity} [{self.id}] {self.path}".rstrip()
        return f"{file}{place}: {what}: {quoted}{self.message}"


_TOLD: Final = 5
"""Problems that an exception names; its attribute has all of them."""
_WIDEST: Final = 400


class PolicyError(ImagegateError):
    """A policy file has at least one problem of severity `error`.

    As a text it names the first errors, because a traceback may be all that is seen.

    Attributes:
        file: The name the problems speak of.
        problems: Every problem found, warnings too, in document order.
    """

    def __init__(self, file: str, problems: tuple[Problem, ...]) -> None:
        errors = [each for each in problems if each.severity == "error"]
        lines = [each.told(file)[:_WIDEST] for each in errors[:_TOLD]]
        more = [f"and {len(errors) - _TOLD} more"] if len(errors) > _TOLD else []
        super().__init__("\n".join([f"{file} cannot be used", *lines, *more]))
        self.file = file
        self.problems = problems


class MalformedRequest(ImagegateError):  # noqa: N818 - the word of the design
    """A request that cannot be read as the one document both sides would see.

    Attributes:
        code: Stable: `duplicate_key`, `not_utf8`, `too_deep`, ...
        status: The HTTP status to answer with.
        pointer: JSON pointer to the place, or `byte N` where there is none.
        message: One sentence without any value taken from the request.
    """

    def __init__(
        self, code: str, message: str, *, pointer: str = "", status: int = 400
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.pointer = pointer
        self.status = status

    def again(self) -> MalformedRequest:
        """Return one that says the same, to be raised or kept.

        What was raised holds on to its traceback, and by that to what was at hand.
        """
        return MalformedRequest(
            self.code, self.message, pointer=self.pointer, status=self.status
        )


class Unidentified(MalformedRequest):
    """A request of which nobody is known to have sent it.

    Attributes:
        principal_id: Whom its credential named, though it is not taken any more; a
            name fit for records.
        proof: Which credential that was, by a name fit for records.
    """

    def __init__(
        self, code: str, message: str, *, principal_id: str = "", proof: str = ""
    ) -> None:
        super().__init__(code, message, status=401)
        self.principal_id = principal_id
        self.proof = proof
