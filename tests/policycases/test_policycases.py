from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from imagegate import shipped
from imagegate.policycases import Suite, find_suites, run_suite

TODAY = datetime.date(2026, 11, 21)
POLICY = """\
version: 1
name: small
owner: me@example.com
mode: enforce
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  size: { max: 1024x1024, default: 1024x1024, otherwise: lower, mode: observe }
teams:
  design:
    match: { team: design }
    settings: { quality: { max: high, loosens: true } }
exceptions:
  - id: EXC-1
    for: { team: print }
    set: { settings.quality.max: high }
    until: 2027-01-31
    approved_by: j.doe
"""
TEXT = {"about": "text", "request": {"model": "gpt-5", "input": "hi"}}


def tool(**settings: Any) -> dict[str, Any]:
    tools = [{"type": "image_generation", "size": "1024x1024", **settings}]
    return {"model": "gpt-5", "input": "hi", "tools": tools}


HIGH = tool(quality="high")


def suite_of(folder: Path, cases: Mapping[str, Any], policy: str = POLICY) -> Suite:
    """Lay out a policy with its cases (`rewrite_high`) and try them."""
    (folder / "policy.yaml").write_text(policy)
    for name, case in cases.items():
        word, _, stem = name.partition("_")
        file = folder / "cases" / word / f"{stem}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(case if isinstance(case, str) else json.dumps(case, indent=2))
    return run_suite(folder, catalogue=shipped.catalogue(), today=TODAY)


def differences(folder: Path, word: str, **case: Any) -> tuple[str, ...]:
    suite = suite_of(folder, {f"{word}_it": {"about": "it", **case}})
    assert suite.problems == ()
    assert suite.results[0].problem is None
    return suite.results[0].differences


def problem(folder: Path, case: Any, word: str = "forward") -> tuple[str, str]:
    found = suite_of(folder, {f"{word}_it": case}).results[0].problem
    assert found is not None
    return found.path, found.message


# -- what is expected -----------------------------------------------------------


@pytest.mark.parametrize(
    "expect",
    [
        {"changes": {"tools[0].quality": "medium"}},
        {"rules": ["settings.quality.max"]},
        {"sent": tool(quality="medium")},
        {"rules": ["settings.quality.max"], "observed": []},
    ],
    ids="+".join,
)
def test_what_comes_out_as_expected_is_no_difference(
    tmp_path: Path, expect: Any
) -> None:
    assert differences(tmp_path, "rewrite", request=HIGH, expect=expect) == ()


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (
            {"changes": {"tools[0].quality": "low", "tools[0].size": None}},
            (
                'tools[0].quality: expected "low", got "medium"',
                "tools[0].size: expected it to go, got no change",
            ),
        ),
        ({"changes": {}}, ('tools[0].quality: expected no change, got "medium"',)),
        ({"rules": []}, ("rules: expected none, got settings.quality.max",)),
        (
            {"changes": {"tools[0].quality": "medium"}, "observed": ["x", "a"]},
            ("observed: expected a, x, got none",),
        ),
    ],
)
def test_every_difference_is_a_sentence(
    tmp_path: Path, expect: Any, said: tuple[str, ...]
) -> None:
    assert differences(tmp_path, "rewrite", request=HIGH, expect=expect) == said


def test_another_body_is_shown_from_where_it_differs(tmp_path: Path) -> None:
    expect = {"sent": tool(quality="low")}
    (said,) = differences(tmp_path, "rewrite", request=HIGH, expect=expect)

    assert said.startswith("sent, from byte 96: expected …")
    assert 'quality":"low"' in said
    assert 'quality":"medium"' in said


def test_another_decision_says_why(tmp_path: Path) -> None:
    expect = {"rules": ["settings.quality.max"]}

    assert differences(tmp_path, "block", request=HIGH, expect=expect) == (
        (
            "expected block, got rewrite: `quality` becomes medium: at most medium "
            "(settings.quality.max)"
        ),
    )


def test_what_a_policy_only_observes_is_said(tmp_path: Path) -> None:
    """A policy that is rolled out changes nothing, whatever its cases expect."""
    request = tool(quality="low", size="2048x2048")

    [said] = differences(tmp_path, "rewrite", request=request, expect={"rules": []})

    assert said.startswith("expected rewrite, got forward: it is only observed: `size`")
    assert said.endswith("(settings.size.max)")


def test_a_forwarded_body_is_the_compact_request(tmp_path: Path) -> None:
    request = '{"model": "gpt-5",\n "temperature": 1.10, "big": 12345678901234567890}'
    case = f'{{"about": "a", "request": {request}}}'

    assert suite_of(tmp_path, {"forward_it": case}).results[0].passed


def test_a_literal_body_that_is_not_compact_is_a_difference(tmp_path: Path) -> None:
    (said,) = differences(tmp_path, "forward", body='{ "model":"gpt-5"}')

    assert said.startswith("changed on the way, from byte 1: expected …")


def test_nothing_goes_on_where_a_body_is_expected(tmp_path: Path) -> None:
    request = {"model": "gpt-5", "prompt": {"id": "p"}}
    expect = {"sent": request}

    assert differences(tmp_path, "block", request=request, expect=expect) == (
        "sent: nothing goes on",
    )


@pytest.mark.parametrize(
    "expected", [{"param": "prompt"}, {"rule": "state.prompt"}, {}], ids=str
)
def test_what_a_violation_leaves_unsaid_may_be_anything(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    request = {"model": "gpt-5", "prompt": {"id": "p"}}
    expect = {"violations": [expected]}

    assert differences(tmp_path, "block", request=request, expect=expect) == ()


def test_violations_missing_and_left_over_are_both_named(tmp_path: Path) -> None:
    request = {"model": "gpt-5", "prompt": {"id": "p"}}
    expect = {"violations": [{"param": "conversation"}]}

    assert differences(tmp_path, "block", request=request, expect=expect) == (
        'violations: {"param":"conversation"} is missing',
        (
            'violations: {"param":"prompt","rule":"state.prompt",'
            '"code":"image_policy_violation"} is not expected'
        ),
    )


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ({"body": '{"a":1,"a":2}'}, "duplicate_key"),
        ({"body": ""}, "empty_body"),
        ({"request": {}, "path": "POST /v1//responses"}, "path_not_canonical"),
        ({"request": {}, "path": "POST /v1/batches"}, "route_not_allowed"),
    ],
)
def test_what_cannot_be_judged_is_blocked(
    tmp_path: Path, case: dict[str, Any], code: str
) -> None:
    expect = {"violations": [{"code": code}]}

    assert differences(tmp_path, "block", **case, expect=expect) == ()


def test_observed_lines_are_compared(tmp_path: Path) -> None:
    request = tool(quality="low", size="1536x1024")
    expect = {"observed": ["settings.size.max"]}

    assert differences(tmp_path, "forward", request=request, expect=expect) == ()


# -- who asks, and when ---------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "decision"),
    [
        ({"as": {"team": "design"}}, "forward"),
        ({"as": {"team": ["sales", "design"], "id": "jane"}}, "forward"),
        ({"as": {"team": "print"}, "date": "2027-01-31"}, "forward"),
        ({"as": {"team": "design"}, "unverified": True}, "rewrite"),
        ({"as": {"team": "print"}, "date": "2027-02-01"}, "rewrite"),
        ({}, "rewrite"),
    ],
)
def test_a_case_says_who_asks_and_when(
    tmp_path: Path, said: dict[str, Any], decision: str
) -> None:
    expect: dict[str, list[str]] = {"observed": []}

    assert differences(tmp_path, decision, request=HIGH, **said, expect=expect) == ()


def test_a_case_says_what_was_seen(tmp_path: Path) -> None:
    policy = POLICY + "state: { previous_response: seen }\n"
    request = {"model": "gpt-5", "previous_response_id": "resp_1"}
    case = {"about": "it", "request": request, "seen": ["resp_1"]}

    assert suite_of(tmp_path, {"forward_it": case}, policy).results[0].passed


def test_headers_can_come_twice(tmp_path: Path) -> None:
    name = "X-MS-OAI-Image-Generation-Deployment"
    expect = {"violations": [{"rule": "always.header"}, {}]}
    case = {"provider": "azure", "headers": {name: ["a", "b"]}, "expect": expect}
    request = tool(quality="low", model="a")
    found = differences(tmp_path, "block", request=request, **case)

    assert not any("always.header" in said for said in found)


def test_a_door_is_named_or_spelled(tmp_path: Path) -> None:
    items = {"items": [{"type": "message", "role": "user", "content": "hi"}]}
    by_name = {"about": "a", "request": items, "door": "conversations.create"}
    path = "POST /v1/conversations?include[]=x"
    by_path = {"about": "a", "request": items, "path": path}
    bare = {"about": "a", "body": "", "path": "GET /v1/models"}
    cases = {"forward_a": by_name, "forward_b": by_path, "forward_c": bare}

    assert all(each.passed for each in suite_of(tmp_path, cases).results)


# -- what is wrong with a case --------------------------------------------------


@pytest.mark.parametrize(
    ("case", "place", "message"),
    [
        (
            {**TEXT, "expekt": {}},
            "",
            "`expekt` is not a key here; did you mean `expect`?",
        ),
        (
            {**TEXT, "expect": {"rulez": []}},
            "expect",
            "`rulez` is not a key here; did you mean `rules`?",
        ),
        (TEXT["request"], "", "known here: `about`, `request`, `body`, `door`"),
        (
            {**TEXT, "expect": {"violations": [{"path": "tools"}]}},
            "expect.violations[0]",
            "`path` is not a key here; known here: `param`, `rule`, `code`",
        ),
        ({**TEXT, "expect": {"rules": "a"}}, "expect.rules", "Expected `array | null`"),
        ({"request": {}}, "", "missing required field `about`"),
        ({"about": "a"}, "", "one of `request` and `body`"),
        ({**TEXT, "body": "{}"}, "", "one of `request` and `body`"),
        ({**TEXT, "date": "soon"}, "date", "Invalid"),
        ({**TEXT, "door": "front"}, "door", "no door is called 'front'"),
        ({**TEXT, "door": "agents.responses"}, "door", "give it with its method"),
        ({**TEXT, "path": "/v1/responses"}, "door", "is no method and path"),
        (
            {**TEXT, "path": "POST /v1/responses", "door": "models"},
            "door",
            "give one of them",
        ),
        (
            {**TEXT, "path": "POST /v1/responses", "provider": "azure"},
            "door",
            "one of openai",
        ),
        ('{"about": "a", "about": "b"}', "about", "the same name"),
        (
            '{"about":"a","body":"","expect":{"rules":[],"rules":[]}}',
            "expect.rules",
            "the same name",
        ),
        (
            '{"about":"a","body":"","expect":{"changes":{"a":1,"a":2}}}',
            "expect.changes.a",
            "the same name",
        ),
        ("{", "", "truncated"),
        ("[]", "", "Expected `object`"),
        ({**TEXT, "expect": [1]}, "expect", "Expected `object`"),
        (
            {**TEXT, "expect": {"changes": [1]}},
            "expect.changes",
            "Expected `object | null`",
        ),
    ],
)
def test_a_case_that_is_none_says_where(
    tmp_path: Path, case: Any, place: str, message: str
) -> None:
    found = problem(tmp_path, case)

    assert found[0] == place
    assert message in found[1]


def test_a_case_is_text(tmp_path: Path) -> None:
    suite_of(tmp_path, {"forward_it": TEXT})
    (tmp_path / "cases/forward/it.json").write_bytes(b'{"about":"\xff"}')
    (result,) = run_suite(tmp_path, catalogue=shipped.catalogue(), today=TODAY).results

    assert result.problem is not None


@pytest.mark.parametrize("word", ["rewrite", "block"])
def test_only_a_forwarded_case_may_expect_nothing_but_its_folder(
    tmp_path: Path, word: str
) -> None:
    assert problem(tmp_path, TEXT, word)[0] == "expect"


def test_a_case_in_no_folder_of_a_decision_is_found(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, {"forward_it": TEXT, "blocked_it": TEXT})

    assert [each.problem.id for each in suite.results if each.problem] == ["stray-file"]
    assert not suite.valid


# -- the suite ------------------------------------------------------------------


def test_a_policy_without_cases_of_each_kind_fails(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, {"forward_it": TEXT})

    assert suite.valid
    assert not suite.passed
    assert suite.empty == ("rewrite", "block")


def test_lines_that_no_case_shows_are_named(tmp_path: Path) -> None:
    shown = {"about": "a", "request": HIGH, "expect": {"observed": []}}
    suite = suite_of(tmp_path, {"rewrite_it": shown})

    assert "settings.quality.max" not in suite.silent
    assert "settings.size.max" in suite.silent
    assert "teams.design.settings.quality.max" in suite.silent
    assert "exceptions.EXC-1.settings.quality.max" in suite.silent
    assert "state.prompt" not in suite.silent
    assert "state.prompt" in suite.unsaid
    assert "tool" not in suite.unsaid, "a line that allows everything says nothing"


def test_no_case_can_show_a_quota(tmp_path: Path) -> None:
    policy = POLICY + "quotas: { images: { principal: { day: 5 } } }\n"

    suite = suite_of(tmp_path, {"forward_text": TEXT}, policy)

    assert suite.problems == ()
    assert not [line for line in suite.silent if "quotas" in line]


def test_a_case_shows_that_a_model_has_no_price(tmp_path: Path) -> None:
    policy = (
        "version: 1\nname: p\nowner: o\nmode: enforce\n"
        "quotas: { cost: { principal: { day: 5 } } }\n"
    )
    asks = {"about": "a", "request": tool(model="gpt-image-1.5")}
    expected = {"code": "price_unknown", "rule": "quotas.cost.principal.day.max"}
    case = {**asks, "expect": {"violations": [expected]}}

    bare = suite_of(tmp_path, {"block_it": case}, policy)
    catalogue, prices = shipped.catalogue(), shipped.prices()
    priced = run_suite(tmp_path, catalogue=catalogue, today=TODAY, prices=prices)

    assert [each.passed for each in bare.results] == [False]
    assert [each.differences for each in priced.results] == [()]


def test_with_an_invalid_policy_no_case_is_tried(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, {"forward_it": TEXT}, "version: 2\n")

    assert suite.problems
    assert suite.results == ()
    assert not suite.valid
    assert not suite.passed


def test_policies_are_found_in_a_folder_and_beside_each_other(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").touch()

    assert find_suites(tmp_path) == (tmp_path / "a", tmp_path / "b")
    assert find_suites(tmp_path / "a") == (tmp_path / "a",)
    assert find_suites(tmp_path / "a" / "cases") == ()
