"""A policy laid out for exchanges."""

from __future__ import annotations

import datetime
from typing import Any

import asking
import msgspec
import pytest

from imagegate import shipped
from imagegate.engine import gate as module
from imagegate.engine.batch import Staged
from imagegate.engine.body import read_body_now
from imagegate.engine.decision import Block, JudgedTool
from imagegate.engine.fingerprint import Fingerprints
from imagegate.engine.gate import Context, Gate, tells_of_images
from imagegate.engine.policy import ANONYMOUS, Policy, Principal, digest
from imagegate.engine.records import Record
from imagegate.engine.request import Request
from imagegate.engine.surface import Lost, Match, find_door
from imagegate.policyfile import check_policy

TODAY = datetime.date(2026, 11, 20)
CATALOGUE = shipped.catalogue()
TEXT = """
version: 1
name: gate
owner: o@example.com
mode: enforce
deployments: { img: gpt-image-1-mini }
settings: { quality: { max: medium, default: low } }
teams:
  design:
    match: { team: design }
    settings: { size: { max: 1024x1024, default: 1024x1024, mode: observe } }
"""
ANNA = Principal(
    id="anna\n", attributes={"team": ("design",)}, verified=True, source="key"
)


def policy() -> Policy:
    """Read the policy of these tests."""
    found = check_policy(TEXT.encode(), catalogue=CATALOGUE, today=TODAY)
    assert found.policy is not None, found.problems
    return found.policy


def door(path: str = "/v1/responses", method: str = "POST") -> Match:
    """Find a door that is there."""
    found = find_door(method, path)
    assert isinstance(found, Match)
    return found


def test_records_begin_with_who_and_what_and_where() -> None:
    """Names are cleaned, and the id goes as the client gets it."""
    gate = Gate(policy(), CATALOGUE)
    context = Context(
        decision_id="d-1 ",
        door=door("/v1/responses/resp_1", "GET"),
        date=TODAY,
        principal=ANNA,
        trace_id="0af7",
        span_id="b7ad",
    )

    assert gate.base(context) == Record(
        decision_id="d-1",
        policy="gate",
        policy_digest=digest(policy()),
        policy_mode="enforce",
        principal_id="anna",
        principal_team=("design",),
        principal_source="key",
        principal_verified=True,
        provider="openai",
        door="responses.retrieve",
        family="openai",
        transport="http",
        replay=True,
        trace_id="0af7",
        span_id="b7ad",
    )


def test_where_there_is_no_door_there_is_no_provider() -> None:
    """And nobody who asked may still be somebody."""
    lost = find_door("POST", "/v1/nothing")
    assert isinstance(lost, Lost)
    context = Context(decision_id="d-1", door=lost, date=TODAY)

    base = Gate(policy(), CATALOGUE).base(context)

    assert (context.match, base.provider, base.door) == (None, None, None)
    assert (base.family, base.replay, base.principal_id) == (None, False, "anonymous")


def test_layers_are_those_of_the_principal() -> None:
    """As the decision saw them."""
    gate = Gate(policy(), CATALOGUE)
    anna = Context(decision_id="d", door=door(), date=TODAY, principal=ANNA)
    somebody = Context(decision_id="d", door=door(), date=TODAY)

    told = [gate.decide(each.asks(door())).pattern.layers for each in (anna, somebody)]

    assert told == [("teams.design",), ()]


def test_answers_are_measured_by_what_acts_and_by_what_is_watched() -> None:
    """The second only where a rule is observed."""
    gate = Gate(policy(), CATALOGUE, hash_key=b"key")
    anna = Context(decision_id="d", door=door(), date=TODAY, principal=ANNA)
    somebody = Context(decision_id="d", door=door(), date=TODAY)

    acting, watched = gate.yardsticks(anna, door(), ())
    again, nothing = gate.yardsticks(somebody, door(), ())

    assert watched is not None
    assert nothing is None
    assert not acting.scene.book.rules.constraints("size")
    assert watched.scene.book.rules.constraints("size")
    assert again.scene is gate.yardsticks(somebody, door(), ())[0].scene
    assert acting.scene.hash_key == b"key"


def test_the_same_tools_are_measured_by_the_same_yardstick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other tools, another door or a header by another; and few are remembered."""
    monkeypatch.setattr(module, "MAX_YARDSTICKS", 3)
    gate = Gate(policy(), CATALOGUE)
    context = Context(decision_id="d", door=door(), date=TODAY)
    one, two = (
        JudgedTool(pointer="", carrier="tools", requested={}, effective={}, enforced={})
        for _ in range(2)
    )
    gone = msgspec.structs.replace(one, sent=False)
    first = gate.yardsticks(context, door(), (one,))

    assert gate.yardsticks(context, door(), (one, gone)) is first
    assert gate.yardsticks(context, door(), (two,)) is not first
    assert gate.yardsticks(context, door("/openai/v1/responses"), (one,)) is not first
    assert gate.yardsticks(context, door(), (one,), by_header=True) is not first
    assert gate.yardsticks(context, door(), (one,)) is not first
    assert len(gate._yardsticks) <= 3


def test_what_was_decided_before_is_told_anew() -> None:
    """Of whoever asks now; another policy has decided nothing yet."""
    gate = Gate(policy(), CATALOGUE)
    body = b'{"input":"x","tools":[{"type":"image_generation","quality":"high"}]}'
    asked = Request(match=door(), date=TODAY, body=read_body_now(body))
    again = msgspec.structs.replace(asked, body=read_body_now(body))

    assert gate.decide(again) is gate.decide(asked)
    assert Gate(policy(), CATALOGUE).decide(asked) is not gate.decide(asked)


def test_deployments_are_names_on_azure_only() -> None:
    """And the Images API has fields of its own."""
    gate = Gate(policy(), CATALOGUE)
    context = Context(decision_id="d", door=door(), date=TODAY)

    openai, _ = gate.yardsticks(context, door("/v1/images/generations"), ())
    azure, _ = gate.yardsticks(context, door("/openai/v1/responses"), ())

    assert (openai.deployments, openai.scene.images_api) == ({}, True)
    assert azure.deployments == {"img": "gpt-image-1-mini"}
    assert not azure.scene.images_api


@pytest.mark.parametrize(
    ("method", "path", "tells"),
    [
        ("POST", "/v1/responses", True),
        ("GET", "/v1/responses/resp_1", True),
        ("POST", "/v1/images/generations", True),
        ("GET", "/v1/models", False),
        ("POST", "/v1/conversations", False),
        ("GET", "/v1/conversations/conv_1", False),
        ("GET", "/v1/conversations/conv_1/items", True),
        ("GET", "/v1/conversations/conv_1/items/ig_1", True),
        ("POST", "/v1/conversations/conv_1/items", True),
        ("POST", "/v1/conversations/conv_1", False),
        ("POST", "/v1/responses/compact", True),
        ("POST", "/api/projects/p/agents/a/versions", False),
        (
            "GET",
            "/api/projects/p/agents/a/endpoint/protocols/openai/responses/r",
            True,
        ),
    ],
)
def test_some_doors_lead_to_images(method: str, path: str, *, tells: bool) -> None:
    """Answers at the others are not read."""
    assert tells_of_images(door(path, method).door) is tells


def test_the_account_of_a_request_names_its_route_and_who_matched() -> None:
    """Without any identifier of the path, or an attribute that no layer asks for."""
    gate = Gate(policy(), CATALOGUE)
    who = msgspec.structs.replace(
        ANNA, attributes={"team": ("design", "x\n"), "mail": ("a@example.com",)}
    )
    context = Context(
        decision_id="d",
        door=door("/openai/v1/responses/resp_1", "GET"),
        date=TODAY,
        principal=who,
        query="api-version=2026-10-01-preview",
    )

    assert gate.account(context) == {
        "api_version": "2026-10-01-preview",
        "principal_matched": {"team": ("design", "x")},
        "method": "GET",
        "route": "/openai/v1/responses/{response_id}",
    }


def test_the_account_says_by_what_it_is_known_who_asks() -> None:
    """A name that people gave may be in it."""
    who = msgspec.structs.replace(ANNA, proof="key k1\n")
    context = Context(decision_id="d", door=door(), date=TODAY, principal=who)

    assert Gate(policy(), CATALOGUE).account(context)["principal_proof"] == "key k1"


def test_the_account_of_a_request_that_was_read_tells_more() -> None:
    """What `account_of` tells; of a route that is not there, next to nothing."""
    gate = Gate(policy(), CATALOGUE)
    context = Context(decision_id="d", door=door(), date=TODAY)
    body = read_body_now(b'{"input":"x","stream":true}')
    lost = Context(decision_id="d", door=find_door("POST", "/x"), date=TODAY)

    told = gate.decide(context.asks(door(), body)).pattern

    assert (told.stream, told.route) == (True, "/v1/responses")
    assert gate.account(lost) == {"api_version": None, "principal_matched": {}}


def test_what_is_asked_is_what_is_known_of_the_request() -> None:
    """Whichever policy it is asked of."""
    match, body = door(), read_body_now(b"{}")
    context = Context(
        decision_id="d", door=match, date=TODAY, principal=ANNA, query="a=b"
    )

    asked = context.asks(match, body, (("a", "b"),), frozenset({"resp_1"}))

    assert asked == Request(
        match=match,
        date=TODAY,
        body=body,
        headers=(("a", "b"),),
        query="a=b",
        principal=ANNA,
        decision_id="d",
        seen=frozenset({"resp_1"}),
    )


def test_prompts_are_hashed_with_a_key_and_at_a_door_alone() -> None:
    """Without either nothing is."""
    body = read_body_now(b'{"input":"x","user":"u"}')
    here = Context(decision_id="d", door=door(), date=TODAY)
    lost = Context(decision_id="d", door=find_door("POST", "/x"), date=TODAY)
    keyed, plain = (Gate(policy(), CATALOGUE, hash_key=key) for key in (b"k", b""))

    def hashed(gate: Gate, context: Context) -> Fingerprints:
        working = gate.fingerprint(context, body)
        with pytest.raises(StopIteration) as end:
            next(working)
        found: Fingerprints = end.value.value
        return found

    assert hashed(keyed, here).user is not None
    assert hashed(keyed, here).prompt is not None
    assert hashed(plain, here) == hashed(keyed, lost) == Fingerprints()


def test_rules_have_the_name_of_the_policy_and_of_what_holds_above_it() -> None:
    """An exception that has ended is no reason for another digest."""
    text = """
teams: { art: { match: { team: art }, limits: { tools: 1 } } }
exceptions:
- id: E-1
  for: { team: art }
  set: { settings.quality.max: high }
  until: 2026-11-20
  approved_by: b
settings: { quality: { max: low, default: low, otherwise: lower } }
"""
    gate = Gate(asking.policy(text), CATALOGUE)
    who = Principal(id="ann", attributes={"team": ("art",)}, verified=True)
    last, next_day = datetime.date(2026, 11, 20), datetime.date(2026, 11, 21)

    names = [gate.rules_for(who, day) for day in (last, next_day)]
    claimed = msgspec.structs.replace(who, verified=False)

    assert gate.rules_for(ANONYMOUS, last) == gate.digest
    assert gate.rules_for(claimed, last) not in {*names, gate.digest}
    assert names == [
        f"{gate.digest}\nteams.art\nexceptions.E-1",
        f"{gate.digest}\nteams.art",
    ]


def test_the_lines_of_a_file_are_decided_on_one_by_one() -> None:
    line = b'{"custom_id":"a","method":"POST","url":"/v1/responses","body":%b}\n'
    body = b'{"input":"x","tools":[{"type":"image_generation","quality":"%b"}]}'
    content = b"".join(line % (body % quality) for quality in (b"low", b"high"))
    match = door("/v1/files")
    context = Context(decision_id="d", door=match, date=TODAY)

    steps = Gate(policy(), CATALOGUE).judge_lines(
        context, Staged(data=memoryview(content), match=match)
    )
    found = ended(steps)

    assert isinstance(found.decision, Block)
    [violation] = found.decision.violations
    assert violation.pointer == "/file/2/body/tools/0/quality"
    assert found.url == "/v1/responses"


def ended(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
