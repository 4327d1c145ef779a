"""Quotas: what a request claims of them, and when that is too much."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from asking import (
    AZURE,
    CATALOGUE,
    DESIGN,
    IMAGES,
    RESPONSES,
    TODAY,
    body,
    carried,
    door,
    policy,
    request,
    tool,
)
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.allowance import (
    Claim,
    claim_of,
    counts_images,
    quota_records,
)
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Forward, Rewrite, Violation
from imagegate.engine.exchange import Exchange, Ruling
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.quota import QUOTAS, Count, Counter, Outage, Quota, Standing
from imagegate.engine.records import MAX_ENTRIES, QuotaRecord
from imagegate.engine.replay import decide_again
from imagegate.engine.request import Request

ANN = Principal(id="ann", verified=True, source="key")
BOTH = Principal(
    id="bo", attributes={"team": ("press", "design")}, verified=True, source="jwt"
)
DAY = QUOTAS["images.principal.day"]
MINUTE = QUOTAS["requests.principal.minute"]
TEAM = QUOTAS["images.team.month"]
IMAGE = tool()
CONVERSATIONS = "POST /v1/conversations"
ONE = "quotas: { images: { principal: { day: 10 } } }\n"
STRIP = "quotas: { images: { principal: { day: { max: 10, otherwise: strip } } } }\n"
STATE = "state: { conversation: allow, previous_response: seen, prompt: allow }\n"


def anns(quota: Quota) -> Counter:
    return Counter(quota, who="ann", source="key")


def asked(value: Any, at: str = RESPONSES, **more: Any) -> Request:
    match = door(at)
    read = None if value is None else body(value, match)
    more = {"principal": ANN, **more}
    return Request(match=match, date=TODAY, body=read, **more)


def claim(rules: str, value: Any, at: str = RESPONSES, **more: Any) -> Claim:
    inherits = more.pop("inherits", None)
    book = Decider(policy(rules), CATALOGUE).book
    return claim_of(book, asked(value, at, **more), inherits=inherits)


def counted(  # noqa: PLR0913 - what can be said of counters
    used: int | None,
    held: int = 0,
    *,
    who: Principal = ANN,
    resets_in: int = 3_600,
    outage: Outage = "refuse",
    inherits: bool | None = None,
) -> Standing:
    """Put every counter of somebody at the same number."""
    count = Count(used=used, held=held, since="2026-11-21", resets_in=resets_in)
    counters: list[Counter] = []
    for quota in QUOTAS.values():
        names: tuple[str, ...] = ("",)
        if quota.by == "principal":
            counters.append(Counter(quota, who.id, who.verified, who.source))
            continue
        if quota.by == "team":
            names = who.attributes.get("team", ("",))
        counters += [
            Counter(quota, name, quota.by == "everyone" or who.verified)
            for name in names
        ]
    return Standing(
        counts=dict.fromkeys(counters, count), outage=outage, inherits=inherits
    )


def decide(
    rules: str, value: Any, standing: Standing, at: str = RESPONSES, **more: Any
) -> Decision:
    decider = Decider(policy(rules), CATALOGUE)
    return decider.decide(asked(value, at, standing=standing, **more))


def refused(decision: Decision) -> list[tuple[str, str, int]]:
    assert isinstance(decision, Block), decision
    return [(each.by.rule, each.code, each.status) for each in decision.violations]


# -- what is claimed ----------------------------------------------------------------


def test_a_policy_without_quotas_asks_for_no_count() -> None:
    assert claim("tool: allow\n", request(IMAGE)) == Claim()


def test_a_request_that_may_make_an_image_claims_one() -> None:
    expected = Claim(counters=(anns(DAY),), images=1)

    assert claim(ONE, request(IMAGE)) == expected
    assert claim(ONE, carried("additional_tools", IMAGE)) == expected
    chosen = request(tool_choice={"type": "image_generation"})
    assert claim(ONE, chosen) == expected


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (request(), RESPONSES),
        (request({"type": "web_search"}), RESPONSES),
        (request(IMAGE, tool_choice="none"), RESPONSES),
        (request(IMAGE), "POST /v1/responses/input_tokens"),
        ({"items": carried("additional_tools", IMAGE)["input"]}, CONVERSATIONS),
        (None, "GET /v1/responses/resp_1"),
        (b'{"input":"x","conversation":{"id":"a","id":"b"}}', RESPONSES),
    ],
    ids=["text", "other-tool", "none", "no-answer", "kept", "read", "malformed"],
)  # fmt: skip
def test_what_makes_no_image_claims_none(value: Any, at: str) -> None:
    """Codex attaches the tool to every turn; `none` is how a client says no."""
    assert claim(ONE, value, at) == Claim()


@pytest.mark.parametrize("word", ["strip", "block"])
def test_a_tool_that_is_not_sent_claims_nothing(word: str) -> None:
    assert claim(f"tool: {word}\n{ONE}", request(IMAGE)) == Claim()


@pytest.mark.parametrize(
    ("n", "images"),
    [(None, 1), (3, 3), (10, 10), (99, 10), (0, 1), (True, 10), ("4", 10), (4.0, 10)],
)
def test_a_call_of_the_images_api_claims_what_it_asks_for(n: Any, images: int) -> None:
    """What is no number may be one to somebody, and is held for as much as can be."""
    value = {"prompt": "x", "model": "gpt-image-2", "n": n}

    assert claim(ONE, value, IMAGES).images == images


@pytest.mark.parametrize(
    ("value", "seen", "inherits", "images"),
    [
        (request(conversation="conv_1"), (), None, 1),
        (request(prompt={"id": "pmpt_1"}), (), None, 1),
        (request(previous_response_id="resp_1"), ("resp_1",), None, 1),
        (request(previous_response_id="resp_1"), ("resp_1",), False, 0),
        (request(previous_response_id="resp_1"), ("resp_1",), True, 1),
        (request(previous_response_id="resp_1"), (), False, 1),
        (request(structured_inputs={}), (), None, 0),
        (request(conversation="conv_1", tool_choice="none"), (), None, 0),
    ],
)
def test_what_earlier_turns_may_hold_is_claimed_unless_it_is_known(
    value: Any,
    seen: tuple[str, ...],
    inherits: bool | None,  # noqa: FBT001 - a table
    images: int,
) -> None:
    found = claim(ONE + STATE, value, seen=frozenset(seen), inherits=inherits)

    assert found.images == images


def test_requests_are_claimed_by_whatever_is_judged() -> None:
    rules = "quotas: { requests: { principal: { minute: 5 } } }\n"
    expected = Claim(counters=(anns(MINUTE),))

    assert claim(rules, request()) == expected
    assert claim(rules, {"items": []}, "POST /v1/conversations") == expected
    assert claim(rules, None, "GET /v1/responses/resp_1") == Claim()


def test_each_team_counts_and_those_of_none_count_together() -> None:
    rules = "quotas: { images: { team: { month: 5 }, everyone: { day: 50 } } }\n"

    def names(who: Principal) -> list[tuple[str, bool]]:
        found = claim(rules, request(IMAGE), principal=who).counters
        return [(each.who, each.verified) for each in found if each.quota == TEAM]

    assert names(BOTH) == [("design", True), ("press", True)]
    assert names(ANN) == [("", True)]
    assert names(ANONYMOUS) == [("", False)]
    claimed = Principal(id="ann", attributes={"team": ("design",)})
    assert names(claimed) == [("design", False)]
    found = claim(rules, request(IMAGE), principal=ANN).counters
    assert Counter(QUOTAS["images.everyone.day"]) in found


def test_the_counters_of_images_are_those_of_whoever_asks() -> None:
    rules = f"{ONE.rstrip()[:-2]}, requests: {{ team: {{ day: 9 }} }} }}\n"
    book = Decider(policy(rules), CATALOGUE).book

    found = counts_images(book, asked(None, "GET /v1/responses/resp_1"))

    assert found == (anns(DAY),)


# -- deciding -----------------------------------------------------------------------


@given(
    used=st.integers(0, 20),
    held=st.integers(0, 20),
    most=st.integers(1, 20),
    n=st.integers(1, 10),
)
def test_what_is_used_and_held_and_asked_for_fits_or_is_refused(
    used: int, held: int, most: int, n: int
) -> None:
    """The whole rule."""
    rules = f"quotas: {{ images: {{ principal: {{ day: {most} }} }} }}\n"
    value = {"prompt": "x", "model": "gpt-image-2", "n": n}

    decision = decide(rules, value, counted(used, held), IMAGES)

    assert isinstance(decision, Block) == (used + held + n > most)


def test_a_request_without_an_image_goes_on_when_images_are_used_up() -> None:
    assert isinstance(decide(ONE, request(), counted(10)), Forward)
    none = request(IMAGE, tool_choice="none")
    assert isinstance(decide(ONE, none, counted(10)), Forward)


def test_a_used_up_quota_says_what_is_used_and_when_there_is_more() -> None:
    decision = decide(ONE, request(IMAGE), counted(10, 2))

    assert isinstance(decision, Block)
    (found,) = decision.violations
    assert found == Violation(
        pointer="/tools/0",
        field="images",
        before=10,
        by=found.by,
        message="10 of 10 images of this day are used (yours), 2 held by requests "
        "under way",
        fix="wait 60 minutes, or set `tool_choice` to `none` for an answer without "
        "images",
        code="insufficient_quota",
        status=429,
        retry_after=3_600,
    )
    assert found.by.rule == "quotas.images.principal.day.max"


def test_places_that_are_only_held_are_free_again_soon() -> None:
    decision = decide(ONE, request(IMAGE), counted(9, 1))

    assert isinstance(decision, Block)
    (found,) = decision.violations
    assert (found.code, found.retry_after) == ("rate_limit_exceeded", 5)


def test_requests_are_refused_for_the_rest_of_the_minute() -> None:
    rules = "quotas: { requests: { principal: { minute: 5 } } }\n"

    assert isinstance(decide(rules, request(), counted(4)), Forward)
    decision = decide(rules, request(), counted(5, resets_in=20))
    assert refused(decision) == [
        ("quotas.requests.principal.minute.max", "rate_limit_exceeded", 429)
    ]
    assert isinstance(decision, Block)
    assert decision.violations[0].fix == "wait 20 seconds"


def test_what_is_refused_for_good_is_said_first() -> None:
    """Or an SDK would wait, and ask again for nothing."""
    rules = (
        "settings: { quality: { max: low, default: low } }\n"
        "quotas: { requests: { principal: { minute: 5 } }, "
        "images: { principal: { day: 5 } } }\n"
    )

    decision = decide(rules, request(tool(quality="high")), counted(9))

    assert [rule for rule, _, _ in refused(decision)] == [
        "settings.quality.max",
        "quotas.images.principal.day.max",
        "quotas.requests.principal.minute.max",
    ]
    assert isinstance(decision, Block)
    assert decision.status == 403


def test_the_quota_that_lasts_longest_is_said_first() -> None:
    rules = "quotas: { images: { principal: { minute: 5, day: 50 } } }\n"
    day, minute = (anns(QUOTAS[f"images.principal.{x}"]) for x in ("day", "minute"))
    standing = Standing(
        counts={
            minute: Count(used=5, resets_in=20),
            day: Count(used=50, resets_in=900),
        }
    )

    decision = decide(rules, request(IMAGE), standing)

    assert [rule.split(".")[3] for rule, _, _ in refused(decision)] == ["day", "minute"]


@pytest.mark.parametrize(
    "value",
    [
        request(IMAGE, {"type": "web_search"}),
        request(IMAGE, tool_choice="auto"),
        carried("additional_tools", IMAGE),
    ],
)
def test_the_tool_can_be_taken_out_instead(value: Any) -> None:
    decision = decide(STRIP, value, counted(10))

    assert isinstance(decision, Rewrite)
    assert [each.by.rule for each in decision.changes] == [
        "quotas.images.principal.day.max"
    ]
    assert not any(each.sent for each in decision.tools)


def test_the_choice_is_repaired_as_for_any_tool_that_goes() -> None:
    decision = decide(STRIP, request(IMAGE, tool_choice="required"), counted(10))

    assert isinstance(decision, Rewrite)
    assert [each.field for each in decision.changes] == ["tool", "tool_choice"]


@pytest.mark.parametrize(
    "value",
    [
        request(IMAGE, tool_choice={"type": "image_generation"}),
        request(conversation="conv_1"),
        request(IMAGE, conversation="conv_1"),
    ],
    ids=["forced", "unseen", "both"],
)
def test_an_image_that_is_all_that_is_asked_for_is_refused(value: Any) -> None:
    """Taking the tool out would answer another question, or change nothing."""
    decision = decide(STRIP + STATE, value, counted(10))

    assert refused(decision) == [
        ("quotas.images.principal.day.max", "insufficient_quota", 429)
    ]


def test_of_two_quotas_the_one_that_blocks_beats_the_one_that_strips() -> None:
    rules = (
        "quotas: { images: { principal: { day: { max: 5, otherwise: strip } }, "
        "team: { month: 50 } } }\n"
    )

    decision = decide(rules, request(IMAGE), counted(50))

    lines = [rule.split(".")[2] for rule, _, _ in refused(decision)]
    assert sorted(lines) == ["principal", "team"]


def test_a_tool_that_goes_anyway_is_no_matter_of_quotas() -> None:
    decision = decide(f"tool: strip\n{ONE}", request(IMAGE), counted(10))

    assert isinstance(decision, Rewrite)
    assert [each.by.rule for each in decision.changes] == ["tool"]


def test_one_team_that_has_nothing_left_is_enough() -> None:
    rules = "quotas: { images: { team: { month: 5 } } }\n"
    press, design = (Counter(TEAM, who=x) for x in ("press", "design"))

    def standing(one: int, other: int) -> Standing:
        return Standing(counts={press: Count(used=one), design: Count(used=other)})

    asks = request(IMAGE)
    assert isinstance(decide(rules, asks, standing(4, 4), principal=BOTH), Forward)
    assert isinstance(decide(rules, asks, standing(4, 5), principal=BOTH), Block)


def test_nobody_is_in_so_many_teams_that_one_of_them_does_not_count() -> None:
    """Anybody can have new ones, of names that come before all others."""
    rules = "quotas: { images: { team: { month: 5 } } }\n"
    names = (*(f"a{number:03}" for number in range(100)), "design")
    who = Principal(id="ann", attributes={"team": names}, verified=True)
    counts = {Counter(TEAM, who=name): Count(used=0) for name in names}
    full = {**counts, Counter(TEAM, who="design"): Count(used=5)}

    assert len(claim(rules, request(IMAGE), principal=who).counters) == len(names)
    fine = decide(rules, request(IMAGE), Standing(counts=counts), principal=who)
    assert isinstance(fine, Forward)
    over = Standing(counts=full)
    assert isinstance(decide(rules, request(IMAGE), over, principal=who), Block)
    asks = asked(request(IMAGE), principal=who, standing=over)
    book = Decider(policy(rules), CATALOGUE).book.page(who, TODAY).acting
    told = quota_records(book, asks)
    assert (len(told), told[0].team, told[0].used) == (MAX_ENTRIES, "design", 5)


def test_a_team_may_have_more_where_that_is_said_and_proved() -> None:
    rules = ONE + (
        "teams:\n  design:\n    match: { team: design }\n    quotas: { images: "
        "{ principal: { day: { max: 20, loosens: true } } } }\n"
    )
    claimed = Principal(id="d", attributes={"team": ("design",)})

    def at(number: int, who: Principal) -> Decision:
        standing = counted(number, who=who)
        return decide(rules, request(IMAGE), standing, principal=who)

    assert isinstance(at(19, DESIGN), Forward)
    assert isinstance(at(20, DESIGN), Block)
    assert isinstance(at(10, claimed), Block)


# -- what is not known --------------------------------------------------------------


def test_where_nobody_can_be_asked_images_are_refused_and_text_goes_on() -> None:
    decision = decide(ONE, request(IMAGE), counted(None))

    assert refused(decision) == [
        ("quotas.images.principal.day.max", "quota_unknown", 503)
    ]
    assert isinstance(decide(ONE, request(), counted(None)), Forward)
    assert isinstance(decide(STRIP, request(IMAGE), counted(None)), Rewrite)


def test_where_the_operator_says_so_what_is_not_known_is_allowed() -> None:
    open_ = counted(None, outage="allow")

    assert isinstance(decide(ONE, request(IMAGE), open_), Forward)


def test_without_counts_quotas_hold_nobody_up() -> None:
    """As in the cases of a policy, and when a decision is explained."""
    assert isinstance(decide(ONE, request(IMAGE), Standing()), Forward)


# -- observing ----------------------------------------------------------------------


@pytest.mark.parametrize("word", ["block", "strip"])
def test_a_quota_that_is_observed_is_recorded_and_stops_nobody(word: str) -> None:
    rules = (
        "quotas: { images: { principal: { day: "
        f"{{ max: 10, mode: observe, otherwise: {word} }} }} }} }}\n"
    )

    assert claim(rules, request(IMAGE)).images == 1
    decision = decide(rules, request(IMAGE), counted(10))

    assert isinstance(decision, Forward)
    (found,) = decision.observed
    assert found.by.rule == "quotas.images.principal.day.max"
    assert isinstance(found, Violation) == (word == "block")


# -- records ------------------------------------------------------------------------


def ruled(rules: str, value: Any, standing: Standing, **more: Any) -> Ruling:
    context = Context(
        decision_id="d", door=door(), date=TODAY, principal=more.pop("principal", ANN)
    )
    exchange = Exchange(Gate(policy(rules), CATALOGUE), context)
    return exchange.request(body(value), standing=standing, **more)


def test_the_record_says_where_the_counters_stood() -> None:
    rules = "quotas: { images: { principal: { day: 10 }, team: { month: 9 } } }\n"
    standing = counted(10, 2, who=DESIGN)

    ruling = ruled(rules, request(IMAGE), standing, principal=DESIGN)

    count: Mapping[str, Any] = {"since": "2026-11-21", "used": 10, "held": 2}
    assert ruling.record.quotas == (
        QuotaRecord(quota="images.principal.day", max=10, **count),
        QuotaRecord(quota="images.team.month", team="design", max=9, **count),
    )
    assert ruling.record.violations[0].field == "images"
    assert ruling.record.violations[0].code == "insufficient_quota"
    assert ruling.record.principal_matched == {"team": ("design",)}


def test_the_refusal_raises_in_sdks_and_says_whether_to_ask_again() -> None:
    ruling = ruled(ONE, request(IMAGE), counted(10))

    assert ruling.refusal is not None
    headers = dict(ruling.refusal.headers)
    assert ruling.refusal.status == 429
    assert ruling.refusal.error["type"] == "insufficient_quota"
    assert ruling.refusal.error["retry_after"] == 3_600
    assert (headers["retry-after"], headers["x-should-retry"]) == ("3600", "false")

    soon = ruled(ONE, request(IMAGE), counted(9, 1)).refusal
    assert soon is not None
    headers = dict(soon.headers)
    assert (headers["retry-after"], headers["x-should-retry"]) == ("5", "true")


@pytest.mark.parametrize(
    "rules",
    [
        ONE,
        STRIP,
        "quotas: { images: { team: { month: 9 } } }\n",
        "quotas: { images: { everyone: { hour: 9 } } }\n",
        "quotas: { requests: { principal: { minute: 9 } } }\n",
    ],
)
@pytest.mark.parametrize("who", [ANN, ANONYMOUS, BOTH])
@pytest.mark.parametrize(
    "value",
    [
        request(IMAGE),
        request(IMAGE, tool_choice="none"),
        request(),
        request(previous_response_id="resp_1"),
    ],
)
def test_a_record_is_decided_again_as_it_was(
    rules: str, who: Principal, value: Any
) -> None:
    rules += STATE
    for used in (0, 9, 10):
        standing = counted(used, who=who, inherits=used == 10)
        seen = frozenset({"resp_1"})
        ruling = ruled(rules, value, standing, principal=who, seen=seen)
        decider = Decider(policy(rules), CATALOGUE)

        again = decide_again(decider, ruling.record, TODAY)

        assert type(again) is type(ruling.decision)


def test_azure_loses_the_header_of_the_deployment_with_the_tool() -> None:
    rules = "deployments: { img: gpt-image-1-mini }\n" + STRIP
    headers = (("x-ms-oai-image-generation-deployment", "img"),)

    decision = decide(rules, request(IMAGE), counted(10), AZURE, headers=headers)

    assert isinstance(decision, Rewrite)
    assert decision.headers == {"x-ms-oai-image-generation-deployment": None}


def test_dates_of_windows_are_no_business_of_the_decision() -> None:
    """It has no clock: the same counts are the same decision on another day."""
    decider = Decider(policy(ONE), CATALOGUE)
    one = asked(request(IMAGE), standing=counted(10))
    later = Request(
        match=one.match,
        date=TODAY + datetime.timedelta(days=1),
        body=one.body,
        principal=ANN,
        standing=counted(10),
    )

    assert decider.decide(one) == decider.decide(later)
