"""Asking the engine: a policy in YAML, a request in JSON, and what is sent.

What the tests of the decision have in common. A policy is written without its
head; a body is anything that `json.dumps` takes, or the bytes themselves.
"""

from __future__ import annotations

import datetime
import json
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from imagegate.engine.body import Body, read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Change, Decision, Rewrite, Violation
from imagegate.engine.policy import ANONYMOUS, Policy, Principal
from imagegate.engine.request import Request
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, Match, find_door
from imagegate.policyfile import load_policy
from imagegate.shipped import catalogue

CATALOGUE = catalogue()
TODAY = datetime.date(2026, 11, 21)
HEADER = IMAGE_DEPLOYMENT_HEADER
RESPONSES = "POST /v1/responses"
AZURE = "POST /openai/v1/responses"
IMAGES = "POST /v1/images/generations"
DESIGN = Principal(
    id="d", attributes={"team": ("design",)}, verified=True, source="key"
)
HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"


def policy(text: str = "", *, head: str = HEAD) -> Policy:
    """Read a policy; the head may be left out."""
    data = (head + textwrap.dedent(text)).encode()
    return load_policy(data, file="p.yaml", catalogue=CATALOGUE, today=TODAY)


def door(target: str = RESPONSES) -> Match:
    """Find a door that is known to be there."""
    found = find_door(*target.split(" "))
    assert isinstance(found, Match), target
    return found


def body(value: object, match: Match | None = None) -> Body:
    """Read a body as the gateway does."""
    found = match or door()
    return read_body_now(encode(value), places=found.door.places)


def encode(value: object) -> bytes:
    """Write JSON as openai-python does."""
    if isinstance(value, bytes):
        return value
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def tool(**settings: object) -> dict[str, Any]:
    """Write an image tool."""
    return {"type": "image_generation", **settings}


def request(*tools: object, **members: object) -> dict[str, Any]:
    """Write a request with these tools."""
    return {"model": "gpt-5", "input": "hi", "tools": list(tools), **members}


def carried(kind: str, *tools: object) -> dict[str, Any]:
    """Write a request with these tools in an item."""
    return {"model": "gpt-5", "input": [{"type": kind, "tools": list(tools)}]}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, and the bytes that would be sent."""

    decision: Decision
    data: bytes | None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def json(self) -> Any:
        """Decode what would be sent."""
        assert self.data is not None, self.violations
        return json.loads(self.data)

    @property
    def tool(self) -> dict[str, Any]:
        """Return the first tool that would be sent."""
        found: dict[str, Any] = self.json["tools"][0]
        return found

    @property
    def word(self) -> str:
        """Say which of the three decisions it is."""
        return type(self.decision).__name__.lower()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Return what is changed."""
        return self.decision.changes if isinstance(self.decision, Rewrite) else ()

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Return what is refused."""
        return self.decision.violations if isinstance(self.decision, Block) else ()

    @property
    def said(self) -> list[Change | Violation]:
        """Return all that is changed or refused, in order."""
        return [*self.changes, *self.violations]

    @property
    def rules(self) -> list[str]:
        """Return the ids of the rules that were cited, in order."""
        return [item.by.rule for item in self.said]

    @property
    def pointers(self) -> list[str]:
        """Return where something is changed or refused."""
        return [item.pointer for item in self.said]


def ask(  # noqa: PLR0913 - what a request has
    rules: Policy | Decider | str,
    value: object,
    *,
    at: str = RESPONSES,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    principal: Principal = ANONYMOUS,
    date: datetime.date = TODAY,
    seen: Iterable[str] = (),
) -> Answer:
    """Decide on a request, and make the changes."""
    if isinstance(rules, str):
        rules = policy(rules)
    decider = rules if isinstance(rules, Decider) else Decider(rules, CATALOGUE)
    match = door(at)
    came = tuple(headers.items() if isinstance(headers, Mapping) else headers)
    read = None if value is None else body(value, match)
    decision = decider.decide(
        Request(
            match=match,
            date=date,
            body=read,
            headers=came,
            principal=principal,
            seen=frozenset(seen),
        )
    )
    if isinstance(decision, Block) or read is None:
        return Answer(decision=decision, data=None, headers=came)
    edits = decision.edits if isinstance(decision, Rewrite) else ()
    written = decision.headers if isinstance(decision, Rewrite) else {}
    kept = tuple(item for item in came if item[0] not in written)
    return Answer(
        decision=decision,
        data=bytes(read.rewritten(edits)),
        headers=(*kept, *((k, v) for k, v in written.items() if v is not None)),
    )
