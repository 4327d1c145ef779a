"""Every case of every shipped policy, on every way that can carry it.

On paper a case says what is decided and sent; on the wire the same has to come of it,
and the same on each way: the decision, the bytes at the provider, the answer or the
error, and the records.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from messages_of import as_of_a_message, can_be_a_message, of_messages
from ways import Asked, Outcome, Way, differences

from imagegate import shipped
from imagegate.engine.surface import Match
from imagegate.gates import load_gate
from imagegate.policycases import case_files
from imagegate.policycases.case import Case, read_case
from imagegate.policycases.question import Answer, ask

TODAY = datetime.datetime.now(tz=datetime.UTC).date()
Reference = Callable[[str, Callable[[Way], Outcome]], Outcome]
Ways = Callable[[str], Way]


@functools.cache
def case_of(path: Path) -> Case:
    word: Any = path.parent.name
    found = read_case(path, word, today=TODAY)
    assert isinstance(found, Case), found
    return found


@functools.cache
def on_paper(policy: str, path: Path) -> Answer:
    return ask(load_gate(policy).decider, case_of(path).question)


def asked_in(policy: str, path: Path) -> Asked:
    """Write a case as it goes over the wire."""
    question = case_of(path).question
    door = on_paper(policy, path).door
    method, _, target = question.path.partition(" ")
    if not question.path:
        assert isinstance(door, Match)
        method, target = door.door.method, door.family.base + door.door.route
    return Asked(
        policy=policy,
        method=method,
        target=target,
        headers=question.headers,
        data=question.data,
        principal=question.principal,
        seen=question.seen,
        frame=method == "WEBSOCKET",
    )


def _carriable(asked: Asked, name: str) -> bool:
    if asked.frame:
        return name == "websocket"
    return name != "websocket" or can_be_a_message(asked)


FOUR = ("proxy", "embedded", "websocket", "transport")
CASES = [
    pytest.param(
        policy, path, name, id=f"{policy}/{path.parent.name}/{path.stem}-{name}"
    )
    for policy, folder in shipped.policies().items()
    for path, _ in case_files(folder)
    for name in FOUR
    if _carriable(asked_in(policy, path), name)
]


@pytest.mark.parametrize(("policy", "path", "name"), CASES)
def test_a_case_comes_to_the_same_on_each_way(
    policy: str, path: Path, name: str, ways: Ways, reference: Reference
) -> None:
    asked, paper = asked_in(policy, path), on_paper(policy, path)

    found = ways(name).ask(asked)

    [decision] = [each for each in of_messages(found["records"]) if _decides(each)]
    assert decision["decision"] == path.parent.name
    bodies = [each["body"].encode("latin-1") for each in found["sent"]]
    if name != "websocket" or asked.frame:
        expected = [] if paper.sent is None else [paper.sent]
        assert (bodies if asked.method != "GET" else [paper.sent]) == expected
    if not asked.frame:
        same = reference(f"{policy}/{path}", lambda way: way.ask(asked))
        if name == "websocket":
            found, same = as_of_a_message(found), as_of_a_message(same)
        assert differences(same, found) == []


def _decides(record: dict[str, Any]) -> bool:
    return "decision" in record
