"""A request on paper: what would become of it, without sending anything.

The shells of the gateway do the same with a request on the wire; here a body, a
door and a principal are simply said.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from imagegate.engine.batch import PURPOSE, Staged
from imagegate.engine.body import RESPONSES, Body, finished, read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.fare import Fares
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.prices import Prices
from imagegate.engine.quota import Standing
from imagegate.engine.request import Request
from imagegate.engine.surface import DOORS, FAMILIES, Door, Lost, Match, find_door

Provider = Literal["openai", "azure"]
Outcome: TypeAlias = Decision | MalformedRequest | Lost
Said: TypeAlias = Mapping[str, str | tuple[str, ...]]


_UPLOAD = read_body_now(
    msgspec.json.encode({"purpose": PURPOSE, "file": {"file": True}}), places=()
)
"""What the form stands for by which a batch file is uploaded."""


class UnknownDoorError(ValueError):
    """No door has this name, or its path has to be said."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A request that nobody sends.

    Attributes:
        data: The body's bytes; where files are uploaded, the lines of a batch file.
        door: The door's name; where nothing is said, responses are created.
        provider: Whose spelling of the door is meant.
        path: Method and raw path instead: `POST /v1/responses`.
    """

    data: bytes
    date: datetime.date
    door: str = ""
    provider: Provider | None = None
    path: str = ""
    principal: Principal = ANONYMOUS
    headers: tuple[tuple[str, str], ...] = ()
    seen: frozenset[str] = frozenset()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of it.

    Attributes:
        door: The door that was found.
        sent: The body, or the batch file, that goes on; None when nothing does.
    """

    outcome: Outcome
    door: Match | None = None
    sent: bytes | None = None


def ask(
    decider: Decider, question: Question, *, prices: Prices | None = None
) -> Answer:
    """Decide on a request as the gateway would, but that nothing is counted.

    Args:
        decider: The policy.
        question: The request.
        prices: What images cost: a quota of cost refuses what no price is known of.

    Raises:
        UnknownDoorError: When the question names no door.
    """
    door = _door_of(question)
    if isinstance(door, Lost):
        return Answer(outcome=door)
    try:
        stages = door.door.reading == "file" and decider.stance(door.door) == "enforce"
        body = _UPLOAD if stages else _body_of(question.data, door.door)
        request = Request(
            match=door,
            date=question.date,
            body=body,
            headers=question.headers,
            query=question.path.partition("?")[2],
            principal=question.principal,
            seen=question.seen,
        )
        if stages:
            return _ask_of_lines(decider, request, question.data)
        if prices is not None:
            claim = Fares(decider, prices).claim(request, decider.decide)
            standing = Standing(price=claim.price)
            request = msgspec.structs.replace(request, standing=standing)
        outcome = decider.decide(request)
    except MalformedRequest as refusal:
        return Answer(outcome=refusal, door=door)
    if isinstance(outcome, Block):
        return Answer(outcome=outcome, door=door)
    edits = outcome.edits if isinstance(outcome, Rewrite) else ()
    sent = question.data if body is None else bytes(body.rewritten(edits))
    return Answer(outcome=outcome, door=door, sent=sent)


def _ask_of_lines(decider: Decider, request: Request, data: bytes) -> Answer:
    """Decide on the upload of a batch file, line by line."""
    staged = Staged(data=memoryview(data), match=request.match)
    judged = finished(staged.judged(request, decider.decide))
    whole = msgspec.structs.replace(request, staged=judged.decision)
    outcome = decider.decide(whole)
    if isinstance(outcome, Block):
        return Answer(outcome=outcome, door=request.match)
    sent = b"".join(map(bytes, judged.content))
    return Answer(outcome=outcome, door=request.match, sent=sent)


def principal_of(said: Said, *, verified: bool) -> Principal:
    """Describe who asks; `id` is the name in records, the rest is matched on."""
    if not said:
        return ANONYMOUS
    attributes = {
        name: (value,) if isinstance(value, str) else tuple(value)
        for name, value in said.items()
    }
    return Principal(
        id=attributes.get("id", ("someone",))[0],
        attributes=attributes,
        verified=verified,
        source="said",
    )


def headers_of(said: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Spell headers as the engine takes them."""
    return tuple((name.strip().lower(), value.strip()) for name, value in said)


def _door_of(question: Question) -> Match | Lost:
    if not question.path:
        door = question.door or "responses.create"
        return _named(door, question.provider or "openai")
    if question.door:
        raise UnknownDoorError("a door and a path say the same; give one of them")
    method, space, path = question.path.partition(" ")
    if not (space and path.startswith("/")):
        raise UnknownDoorError(
            f"{question.path!r} is no method and path, such as 'POST /v1/responses'"
        )
    found = find_door(method, path.partition("?")[0])
    provider = question.provider
    if isinstance(found, Match) and provider not in {None, found.family.provider}:
        raise UnknownDoorError(f"this path is one of {found.family.provider}")
    return found


def _named(name: str, provider: Provider) -> Match:
    for door in DOORS:
        if door.name == name:
            return _spelled(door, provider)
    known = ", ".join(door.name for door in DOORS if door.reading != "none")
    raise UnknownDoorError(f"no door is called {name!r}; there are {known}")


def _spelled(door: Door, provider: Provider) -> Match:
    families = [FAMILIES[name] for name in door.families]
    for family in families:
        if family.provider == provider and "{" not in family.base + door.route:
            return Match(door=door, family=family)
    raise UnknownDoorError(
        f"the path of {door.name!r} says more at {provider}; give it with its method"
    )


def _body_of(data: bytes, door: Door) -> Body | None:
    """Read a body as the gateway does; doors without one take an empty one.

    A file is read nowhere but where it is judged.
    """
    if door.reading == "file" or (door.reading == "none" and not data.strip()):
        return None
    places: Sequence[str] = RESPONSES if door.reading == "none" else door.places
    return read_body_now(data, places=places)
