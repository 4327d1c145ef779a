"""Whose a message of the provider's is, on a connection with many exchanges."""

from __future__ import annotations

from typing import Any

import pytest
from asking import CATALOGUE, TODAY, door, policy

from imagegate.engine.exchange import Exchange
from imagegate.engine.frames import Told
from imagegate.engine.gate import Context, Gate
from imagegate.engine.lanes import Kind, Lanes, Turn
from imagegate.engine.records import CompletionRecord

GATE = Gate(policy(), CATALOGUE)
SOCKET = door("WEBSOCKET /v1/responses")


def exchange() -> Exchange:
    """Begin one, of which nothing is known."""
    return Exchange(
        GATE,
        Context(decision_id="d", door=SOCKET, date=TODAY, transport="websocket"),
    )


class Table:
    """Lanes, and exchanges by names."""

    def __init__(self) -> None:
        self.own = exchange()
        self.lanes = Lanes(self.own)
        self.names = {self.own: "own"}

    def add(
        self,
        name: str,
        lane: str | None = None,
        kind: Kind = "response.create",
        target: str | None = None,
    ) -> Exchange:
        """Send a message."""
        found = exchange()
        self.names[found] = name
        self.lanes.add(Turn(found, lane=lane, kind=kind, target=target))
        return found

    def hear(self, kind: str | None, **told: Any) -> list[str | None]:
        """Name whose a message is, and then those that are over."""
        belongs = self.lanes.place(Told(type=kind, **told))
        mine = None if belongs.exchange is None else self.names[belongs.exchange]
        return [mine, *(self.names[each] for each in belongs.over)]

    @property
    def open(self) -> list[str]:
        """Name what is open."""
        assert len(self.lanes) == len([*self.lanes])
        return [self.names[each] for each in self.lanes]


def outcome(of: Exchange) -> str:
    """Return how an exchange ended."""
    record = of.close("ended").records[-1]
    assert isinstance(record, CompletionRecord)
    return record.outcome


def test_a_lane_is_served_first_in_first_out() -> None:
    """Until a response ends, what comes is its own."""
    table = Table()
    table.add("a")
    table.add("b")

    assert table.hear("response.created", response_id="1") == ["a"]
    assert table.hear("response.output_item.added") == ["a"]
    assert table.hear("response.incomplete", response_id="1") == ["a", "a"]
    assert table.hear("response.failed", response_id="2") == ["b", "b"]
    assert table.open == []
    assert table.lanes.names == frozenset()


def test_what_names_no_lane_is_of_the_only_one() -> None:
    """A provider may leave the name out."""
    table = Table()
    table.add("a", "x")

    assert table.hear("response.queued") == ["a"]
    table.add("b", "y")
    assert table.hear("response.queued") == ["own"]
    assert table.hear("response.queued", stream_id="z") == ["own"]
    assert table.hear("response.queued", stream_id="y") == ["b"]


def test_a_response_is_known_by_its_name_before_its_lane() -> None:
    """Wherever it is said to be."""
    table = Table()
    table.add("a", "x")
    table.add("b", "y")
    table.hear("response.created", response_id="1", stream_id="x")

    assert table.hear("response.in_progress", response_id="1", stream_id="y") == ["a"]


def test_one_that_does_not_say_that_it_is_over_ends_with_the_next() -> None:
    """Else all that follows would be told to the wrong ones."""
    table = Table()
    table.add("a")
    table.add("b")
    table.hear("response.created", response_id="1")

    assert table.hear("response.created", response_id="2") == ["b", "a"]
    assert table.hear("response.created", response_id="3") == ["own", "b"]


def test_a_response_without_a_name_is_taken_as_it_comes() -> None:
    """There is nothing to remember it by."""
    table = Table()
    table.add("a")

    assert table.hear("response.created") == ["a"]
    assert table.lanes.made == {}
    assert table.hear("response.completed") == ["a", "a"]


def test_an_error_ends_what_has_not_begun() -> None:
    """It was not taken."""
    table = Table()
    table.add("a")
    table.add("b")

    assert table.hear("error") == ["a", "a"]
    assert table.hear("response.created", response_id="1") == ["b"]
    assert table.hear("error") == ["b", "b"]
    assert table.hear("response.failed", response_id="1") == [None]
    assert table.hear("error") == ["own"]


@pytest.mark.parametrize(
    ("end", "over", "left"),
    [("completed", ["a", "a", "b"], ["c"]), ("failed", ["a", "a"], ["b", "c"])],
)
def test_an_error_while_others_wait_may_be_about_one_of_them(
    end: str, over: list[str], left: list[str]
) -> None:
    """How the response ends that was being made tells whose it was."""
    table = Table()
    table.add("a")
    later = table.add("b")
    table.add("c")
    table.hear("response.created", response_id="1")

    assert table.hear("error") == ["a"]
    assert table.hear(f"response.{end}", response_id="1") == over
    assert table.open == left
    if end == "completed":
        assert outcome(later) == "failed"


def test_responses_are_remembered_within_bounds() -> None:
    """A connection lasts an hour."""
    table = Table()
    for number in range(1_001):
        table.add("a")
        table.hear("response.created", response_id=str(number))
        table.hear("response.completed", response_id=str(number))

    assert len(table.lanes.made) == 1_000
    assert "0" not in table.lanes.made
    made = table.lanes.made["1000"]
    assert (made.lane, made.rules, made.tools) == (None, GATE.digest, ())


def test_one_whose_message_did_not_go_is_forgotten() -> None:
    """Wherever it would have been."""
    table = Table()
    found = [
        table.add("a"),
        table.add("s", kind="response.steer", target="1"),
    ]

    for each in found:
        table.lanes.remove(each)
    table.lanes.remove(exchange())

    assert table.open == []


# -- what adds to a response ------------------------------------------------------


def steered(*names: str, lane: str | None = "x") -> tuple[Table, list[Exchange]]:
    """Begin a response, with one behind it, and steer it."""
    table = Table()
    table.add("a", lane)
    table.add("b", lane)
    table.hear("response.created", response_id="1", stream_id=lane)
    kind: Kind = "response.steer"
    return table, [table.add(name, lane, kind, "1") for name in names]


def test_a_successor_comes_before_what_waits() -> None:
    """It follows its predecessor by itself."""
    table, _ = steered("s")
    told = {"steer_id": "x1", "target": "1"}

    assert table.hear("response.steer.accepted", **told) == ["s"]
    assert table.hear("response.incomplete", response_id="1") == ["a", "a"]
    assert table.hear("response.created", response_id="2", stream_id="x") == ["s"]
    assert table.hear("response.completed", response_id="2") == ["s", "s"]
    assert table.hear("response.created", response_id="3", stream_id="x") == ["b"]


def test_several_that_steer_one_response_have_one_successor() -> None:
    """The first of them tells of it."""
    table, (_, second) = steered("s", "t")
    table.add("i", "x", "response.inject", "1")

    table.hear("response.completed", response_id="1")
    assert table.hear("response.created", response_id="2", stream_id="x") == ["s", "t"]
    assert outcome(second) == "accepted"
    assert table.hear("response.steer.unheard_of", target="1") == ["own"]


def test_one_that_fails_is_found_by_its_name() -> None:
    """Or, without a name, in order."""
    table, (first, second) = steered("s", "t")

    table.hear("response.steer.accepted", steer_id="x1", target="1")
    assert table.hear("response.steer.failed", steer_id="x2", target="1") == ["t", "t"]
    assert table.hear("response.steer.failed", steer_id="x1", target="1") == ["s", "s"]
    assert [outcome(each) for each in (first, second)] == ["failed", "failed"]
    assert table.hear("response.steer.failed", steer_id="x1", target="1") == ["own"]


def test_one_that_fails_behind_its_predecessor_gives_its_place_up() -> None:
    """It was next on the lane."""
    table, _ = steered("s")
    table.hear("response.completed", response_id="1")

    assert table.hear("response.steer.failed", target="1") == ["s", "s"]
    assert table.hear("response.created", response_id="2", stream_id="x") == ["b"]


def test_what_waits_for_the_client_goes_into_its_next_request() -> None:
    """And so ends here."""
    table, (first, _) = steered("s", "t")
    table.hear("response.completed", response_id="1")

    assert table.hear("response.steer.pending", target="1") == ["s", "s", "t"]
    assert outcome(first) == "accepted"
    assert table.open == ["b"]


@pytest.mark.parametrize("word", ["accepted", "revised", None])
@pytest.mark.parametrize("after", ["created", "failed"])
def test_what_steers_a_response_that_is_over_may_still_have_a_successor(
    word: str | None, after: str
) -> None:
    """The client had sent it when it heard of the end, or behind that."""
    table = Table()
    table.add("a")
    table.hear("response.created", response_id="1")
    table.hear("response.completed", response_id="1")
    table.add("s", None, "response.steer", "1")
    table.add("t", None, "response.steer", "1")
    if word:
        for _ in range(2):
            told = {"steer_id": "x1", "target": "1"}
            assert table.hear(f"response.steer.{word}", **told) == ["s"]

    if after == "failed":
        word = "response.steer.failed"
        assert table.hear(word, steer_id="x1", target="1") == ["s", "s"]
        assert table.hear(word, steer_id="x2", target="1") == ["t", "t"]
        return
    assert table.hear("response.created", response_id="2") == ["s", "t"]
    assert table.hear("response.completed", response_id="2") == ["s", "s"]
    assert not table.open


def test_one_that_is_accepted_late_comes_behind_what_waits() -> None:
    """It was sent last."""
    table, _ = steered()
    table.hear("response.completed", response_id="1")
    for name, ident in (("s", "x1"), ("t", "x2")):
        table.add(name, "x", "response.steer", "1")
        table.hear("response.steer.accepted", steer_id=ident, target="1")
    table.hear("response.created", response_id="2", stream_id="x")

    assert table.hear("response.completed", response_id="2") == ["b", "b"]
    assert table.hear("response.created", response_id="3", stream_id="x") == ["s", "t"]
    assert table.hear("response.completed", response_id="3") == ["s", "s"]


def test_a_word_on_steering_of_an_unknown_kind_ends_nothing() -> None:
    """New ones will come."""
    table, _ = steered("s")

    assert table.hear("response.steer.revised", target="1") == ["s"]


@pytest.mark.parametrize(
    ("word", "expected"), [("created", "completed"), ("failed", "failed")]
)
def test_what_is_injected_ends_with_its_acknowledgement(
    word: str, expected: str
) -> None:
    """The response that takes it tells the rest."""
    table = Table()
    table.add("a")
    table.add("s", None, "response.steer", "1")
    found = table.add("i", None, "response.inject", "1")

    assert table.hear(f"response.inject.{word}", response_id="2") == ["own"]
    assert table.hear(f"response.inject.{word}", response_id="1") == ["i", "i"]
    assert outcome(found) == expected
    assert table.open == ["a", "s"]
