"""`imagegate explain`: what would become of a request, and by which rules."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import typer

from imagegate import shipped
from imagegate.cli.exits import Exit
from imagegate.cli.explanation import described, print_answer
from imagegate.cli.policies import usable_policy
from imagegate.cli.screen import complain, print_json
from imagegate.engine.decide import Decider
from imagegate.engine.policy import Principal
from imagegate.policycases.question import (
    Provider,
    Question,
    UnknownDoorError,
    ask,
    headers_of,
    principal_of,
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command was given besides a policy and a request."""

    provider: Provider | None = None
    door: str = ""
    path: str = ""
    who: Sequence[str] = ()
    verified: bool = True
    headers: Sequence[str] = ()
    date: datetime.date
    seen: Sequence[str] = ()


def run(policy_name: str, request: str, options: Options, *, as_json: bool) -> Exit:
    """Explain a decision and return the exit code."""
    policy = usable_policy(policy_name)
    question = Question(
        data=_read(request),
        date=options.date,
        provider=options.provider,
        door=options.door,
        path=options.path,
        principal=_principal(options),
        headers=headers_of(_pair(each, ":", "--header") for each in options.headers),
        seen=frozenset(options.seen),
    )
    try:
        decider, prices = Decider(policy, shipped.catalogue()), shipped.prices()
        answer = ask(decider, question, prices=prices)
    except UnknownDoorError as error:
        complain(str(error))
        return Exit.USAGE
    if as_json:
        print_json(described(policy, question, answer))
    else:
        print_answer(policy, question, answer)
    return Exit.FINE


def _read(request: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if request == "-" else Path(request).read_bytes()
    except OSError as error:
        complain(f"cannot read {request!r}: {error.strerror or error}")
        raise typer.Exit(Exit.USAGE) from None


def _principal(options: Options) -> Principal:
    said: dict[str, tuple[str, ...]] = {}
    for each in options.who:
        name, value = _pair(each, "=", "--as")
        said[name] = (*said.get(name, ()), value)
    return principal_of(said, verified=options.verified)


def _pair(text: str, sign: str, option: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not (found and name.strip()):
        complain(f"{option} {text!r}: write NAME{sign}VALUE")
        raise typer.Exit(Exit.USAGE)
    return name.strip(), value.strip()
