from __future__ import annotations

import pytest
from carriers import BASES, all_carriers, open_carriers

from imagegate.cli.doors.carriers import Carrier

KNOWN = {
    ("POST", "/v1/responses", "/tools/*"),
    ("POST", "/v1/responses", "/input/*/tools/*"),
    ("POST", "/v1/responses", "/tool_choice"),
    ("WEBSOCKET", "/v1/responses", "/tools/*"),
    ("WEBSOCKET", "/v1/responses", "/input/*/tools/*"),
    ("POST", "/v1/responses/compact", "/input/*/tools/*"),
    ("POST", "/v1/responses/input_tokens", "/tools/*"),
    ("POST", "/v1/conversations", "/items/*/tools/*"),
    ("POST", "/v1/conversations/x/items", "/items/*/tools/*"),
    ("POST", "/v1/evals/x/runs", "/data_source/sampling_params/tools/*"),
    ("POST", "/v1/live/sessions", "/session/delegation/responses/tools/*"),
    ("WEBSOCKET", "/v1/live/sessions", "/item/tools/*"),
    ("POST", "/v1/images/generations", ""),
    ("POST", "/v1/images/edits", ""),
    ("POST", "/api/projects/p/agents/x/versions", "/definition/tools/*"),
}


@pytest.fixture(scope="module")
def carriers() -> frozenset[Carrier]:
    return all_carriers()


def test_the_walk_finds_what_is_known_to_be_there(
    carriers: frozenset[Carrier],
) -> None:
    assert {Carrier(*each) for each in KNOWN} <= carriers
    for base in BASES:
        assert Carrier("POST", f"{base}/responses", "/tools/*") in carriers


def test_no_carrier_that_the_sdks_know_is_open(carriers: frozenset[Carrier]) -> None:
    assert open_carriers(carriers) == []


@pytest.mark.parametrize(
    ("carrier", "said"),
    [
        (Carrier("POST", "/v1/responses", "/extra/*/tools/*"), "NOT LOOKED AT"),
        (Carrier("POST", "/v1/responses", ""), "NOT LOOKED AT"),
        (Carrier("POST", "/v1/conversations", "/tools/*"), "NOT LOOKED AT"),
        (Carrier("POST", "/v1/chat/completions", "/tools/*"), "PASSES UNSEEN"),
    ],
)
def test_a_carrier_that_the_table_does_not_know_is_named(
    carrier: Carrier, said: str
) -> None:
    [line] = open_carriers([carrier])

    assert said in line
    assert carrier.path in line


def test_what_is_closed_is_not_open() -> None:
    closed = [
        Carrier("POST", "/v1/batches", "/tools/*"),
        Carrier("POST", "/v1/nowhere", "/tools/*"),
    ]

    assert open_carriers(closed) == []
