"""What is decided about a request, as values: three decisions and their reasons."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from imagegate.engine.policy import LayerName, Mode
from imagegate.engine.sizes import Size, parse_size
from imagegate.engine.value import Edit

Shown: TypeAlias = str | int | None
"""A value fit for records and messages; None stands for 'not said'."""

_HASH_LENGTH = 16
DATED = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9](?:-preview)?")
"""How versions of an interface are named."""
_SAFE = 1 << 53  # what every JSON reader keeps exact


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Which line of the policy speaks.

    Attributes:
        rule: The line's id, or that of what always holds (`catalogue.…`).
        layer: The layer it came from.
        mode: An observed line acts on nothing.
    """

    rule: str
    layer: LayerName | Literal["builtin"] = "builtin"
    mode: Mode = "enforce"
    reason: str = ""
    owner: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that is changed in the request.

    Attributes:
        pointer: JSON pointer into the body as it came; a header's name has none.
        field: The setting, or what else it is.
        before: What was there, as fit for a record.
        after: What is put there; None when it goes.
        message: One sentence for a developer.
    """

    pointer: str
    field: str
    before: Shown
    after: Shown
    by: Reason
    message: str


class Violation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that is refused.

    Attributes:
        fix: The smallest change that would pass; empty when there is none.
        allowed: What could stand there instead.
        retry_after: Seconds after which it may be otherwise, if it may.
    """

    pointer: str
    field: str
    before: Shown
    by: Reason
    message: str
    fix: str = ""
    allowed: tuple[Shown, ...] = ()
    code: str = "image_policy_violation"
    status: int = 403
    retry_after: int | None = None


class JudgedTool(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One image tool: what was asked for, what that meant, and what holds.

    Attributes:
        pointer: Where it is in the body as it came.
        carrier: What kind of place that is.
        requested: The settings as they were written.
        effective: With the provider's defaults, where they are known.
        enforced: As they are sent.
        sent: Whether it is sent at all, and not taken out or in a strange place.
        deprecated: The deprecated members it came with.
        unknown: How many members it came with that nobody knows.
        mask: Whether it came with a mask.
        unverified: The ruled settings that were left out of it, because nobody
            says whether its model has them.
    """

    pointer: str
    carrier: str
    requested: Mapping[str, Shown]
    effective: Mapping[str, Shown]
    enforced: Mapping[str, Shown]
    sent: bool = True
    deprecated: tuple[str, ...] = ()
    unknown: int = 0
    mask: bool = False
    unverified: tuple[str, ...] = ()


class _Decided(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision"):
    """What every decision says.

    Attributes:
        observed: What observed lines would have changed or refused.
    """

    tools: tuple[JudgedTool, ...] = ()
    observed: tuple[Change | Violation, ...] = ()


class Forward(_Decided, frozen=True, kw_only=True, tag="forward"):
    """The request goes on as it came.

    Attributes:
        inspected: False for a door that the operator opened unseen.
    """

    inspected: bool = True


class Rewrite(_Decided, frozen=True, kw_only=True, tag="rewrite"):
    """The request goes on with these changes, all of them.

    Attributes:
        edits: The changes of the body, for `Body.rewritten`.
        headers: The headers that are set; one that is None goes.
    """

    changes: tuple[Change, ...]
    edits: tuple[Edit, ...] = ()
    headers: Mapping[str, str | None] = msgspec.field(default_factory=dict)


class Block(_Decided, frozen=True, kw_only=True, tag="block"):
    """The request is refused; nothing of it goes on."""

    violations: tuple[Violation, ...]

    @property
    def status(self) -> int:
        """The HTTP status of the answer: that of the first violation."""
        return self.violations[0].status


Decision: TypeAlias = Forward | Rewrite | Block


class Together:
    """Makes one decision of several: as within each, any refusal beats all changes."""

    def __init__(self, *decisions: Decision) -> None:
        self._tools: list[JudgedTool] = []
        self._observed: list[Change | Violation] = []
        self._violations: list[Violation] = []
        self._changes: list[Change] = []
        self._edits: list[Edit] = []
        self._headers: dict[str, str | None] = {}
        for each in decisions:
            self.add(each)

    def add(self, decision: Decision) -> None:
        """Take one more."""
        self._tools += decision.tools
        self._observed += decision.observed
        if isinstance(decision, Block):
            self._violations += decision.violations
        elif isinstance(decision, Rewrite):
            self._changes += decision.changes
            self._edits += decision.edits
            self._headers |= decision.headers

    @property
    def told(self) -> int:
        """How much there is to be told of it."""
        reasons = len(self._changes) + len(self._violations) + len(self._observed)
        return len(self._tools) + reasons

    @property
    def refused(self) -> int:
        """How much of it is refused."""
        return len(self._violations)

    def decision(self) -> Decision:
        """Return the one."""
        tools, observed = tuple(self._tools), tuple(self._observed)
        if self._violations:
            violations = tuple(self._violations)
            return Block(violations=violations, tools=tools, observed=observed)
        if not self._changes:
            return Forward(tools=tools, observed=observed)
        return Rewrite(
            changes=tuple(self._changes),
            edits=tuple(self._edits),
            headers=self._headers,
            tools=tools,
            observed=observed,
        )


def shown(value: object, words: frozenset[str], key: bytes = b"") -> Shown:
    """Make a value fit to be shown.

    Words of the catalogue, numbers and sizes are shown as they are. Anything else
    may be a secret that somebody pasted into the wrong place: its type and length
    are shown, and with a key a keyed hash by which equal values can be found.
    """
    match value:
        case None | bool() | int():
            found = _shown_plain(value)
        case Size():
            found = value.text
        case str():
            plain = value in words or parse_size(value) or DATED.fullmatch(value)
            said = f"a string of {len(value)} characters{_digest(value, key)}"
            found = value if plain else said
        case Mapping():
            found = f"an object of {len(value)} members"
        case list():
            found = f"an array of {len(value)} elements"
        case _:
            found = "a number that is not whole"
    return found


def _shown_plain(value: bool | int | None) -> Shown:  # noqa: FBT001 - a JSON value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or abs(value) < _SAFE else "a very large number"


def _digest(value: str, key: bytes) -> str:
    if not key:
        return ""
    spelled = value.encode("utf-8", "surrogatepass")
    digest = hmac.new(key, spelled, hashlib.sha256).hexdigest()
    return f" (hmac {digest[:_HASH_LENGTH]})"
