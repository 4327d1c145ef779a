from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from imagegate import shipped
from imagegate.engine.catalogue import Catalogue
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Forward
from imagegate.engine.policy import ANONYMOUS, Policy
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER as HEADER
from imagegate.policycases.question import Answer, Provider, ask, principal_of
from imagegate.policydiff import Comparison, Finding, Way, compare, enforced
from imagegate.policydiff.audiences import MOST, audiences
from imagegate.policydiff.outright import outright
from imagegate.policydiff.told import Difference, differences, meant_by
from imagegate.policyfile import check_policy

TODAY = datetime.date(2026, 11, 22)
MODELS = ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini")
BASE = """\
version: 1
name: base
owner: me@example.com
mode: enforce
models:
  gpt-image-1-mini: {}
  gpt-image-2: { quality: { max: low } }
  default: gpt-image-1-mini
  otherwise: block
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  moderation: { allow: [auto], otherwise: block }
limits: { max_tool_calls: { max: 8, otherwise: lower }, images_api_n: 1 }
state: { conversation: seen, agents: [painter] }
"""
TEAM = """\
teams:
  design:
    match: { team: design }
    settings: { quality: { max: high, otherwise: lower, loosens: true } }
  press:
    match: { team: press }
    limits: { max_tool_calls: { max: 2, otherwise: lower } }
"""


def few_models() -> Catalogue:
    """Return the catalogue with so few models that all of it is tried in no time."""
    whole = shipped.catalogue()
    replace = msgspec.structs.replace
    providers = {
        name: replace(
            provider, models={model: provider.models[model] for model in MODELS}
        )
        for name, provider in whole.providers.items()
    }
    return replace(whole, providers=providers)


def read(text: str) -> Policy:
    checked = check_policy(text.encode(), catalogue=shipped.catalogue(), today=TODAY)
    assert checked.policy is not None, checked.errors
    return checked.policy


CATALOGUE = few_models()


def compared(
    old: str | Policy, new: str | Policy, *, providers: Sequence[Provider] = ("openai",)
) -> Comparison:
    return compare(
        old if isinstance(old, Policy) else read(old),
        new if isinstance(new, Policy) else read(new),
        CATALOGUE,
        date=TODAY,
        providers=providers,
    )


def changed(was: str, now: str, *, within: str = BASE) -> Comparison:
    assert was in within
    return compared(within, within.replace(was, now))


def rows(found: Comparison) -> set[tuple[Any, ...]]:
    said = [each.difference for each in found.findings]
    return {(x.way, x.place, x.asked, x.before, x.now) for x in said}


def about(found: Comparison, place: str, asked: object = None) -> Finding:
    (finding,) = (
        each
        for each in found.findings
        if (each.difference.place, each.difference.asked) == (place, asked)
    )
    return finding


# -- what is found ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["standard", "azure-foundry"])
def test_a_policy_is_no_other_than_itself(name: str) -> None:
    text = (shipped.find_policy(name)).read_text()
    # The order of lines and the words around them say nothing.
    assert compared(text, f"# read again\n{text}").findings == ()


CHANGES = [
    (
        "quality: { max: low }",
        "quality: { max: medium }",
        ("looser", "quality", "high", "low", "medium"),
    ),
    (
        "max: 1536x1024",
        "max: 1024x1024",
        ("tighter", "size", "1536x1024", "1536x1024", "1024x1024"),
    ),
    (
        "default: medium",
        "default: low",
        ("tighter", "quality", None, "medium", "low"),
    ),
    (
        "  gpt-image-1-mini: {}\n",
        "  gpt-image-1-mini: {}\n  gpt-image-1.5: {}\n",
        ("looser", "model", "gpt-image-1.5", "refused", "goes on"),
    ),
    (
        "allow: [auto], otherwise: block",
        "allow: [auto, low], default: auto, otherwise: block",
        ("looser", "moderation", "low", "refused", "goes on"),
    ),
    (
        "max: 8, otherwise: lower",
        "max: 9, otherwise: lower",
        ("looser", "max_tool_calls", 9, 8, 9),
    ),
    (
        "images_api_n: 1",
        "images_api_n: 2",
        ("looser", "n", 2, "refused", "goes on"),
    ),
    (
        "conversation: seen",
        "conversation: allow",
        ("looser", "conversation", "conv_1", "refused", "goes on"),
    ),
    (
        "agents: [painter]",
        "agents: []",
        (
            "tighter",
            "agent_reference",
            '{"type":"agent_reference","name":"painter"}',
            "goes on",
            "refused",
        ),
    ),
]


@functools.cache
def all_changed() -> Comparison:
    text = BASE
    for was, now, _ in CHANGES:
        assert was in text
        text = text.replace(was, now)
    return compared(BASE, text)


@pytest.mark.parametrize("row", [row for _, _, row in CHANGES])
def test_a_changed_line_is_found_where_it_acts(row: tuple[Any, ...]) -> None:
    assert row in rows(all_changed())


def test_a_dropped_section_is_found() -> None:
    without = BASE.replace("  moderation: { allow: [auto], otherwise: block }\n", "")
    found = compared(BASE, without)
    assert rows(found) == {
        ("looser", "moderation", "low", "refused", "goes on"),
        ("different", "moderation", None, "auto", "left out"),
    }


def test_what_is_looser_one_way_is_tighter_the_other() -> None:
    turned: Mapping[Way, Way] = {
        "looser": "tighter",
        "tighter": "looser",
        "different": "different",
    }
    new = BASE.replace("max: medium, default", "max: high, default")
    there, back = compared(BASE, new), compared(new, BASE)
    assert there.findings
    assert {(turned[w], p, a, now, was) for w, p, a, was, now in rows(there)} == rows(
        back
    )


def test_each_finding_has_a_request_of_which_it_is_true() -> None:
    names = ("standard", "regulated")
    old, new = (read(shipped.find_policy(name).read_text()) for name in names)
    deciders = [Decider(policy, CATALOGUE) for policy in (old, new)]
    found = compared(old, new)
    assert len(found.findings) > 20
    for each in found.findings:
        if each.witness is None:
            assert each.difference.place.startswith("surface.")
            continue
        question = each.witness.question(ANONYMOUS, TODAY)
        was, now = (ask(decider, question) for decider in deciders)
        meant = meant_by(CATALOGUE.provider("openai"))
        told = differences(each.witness.asked, was, now, meant)
        assert each.difference in [difference for difference, _ in told]


def test_the_smallest_request_is_told() -> None:
    found = about(
        changed("quality: { max: low }", "quality: { max: high }"), "quality", "high"
    )
    assert found.witness is not None
    assert found.witness.body["tools"] == [
        {"type": "image_generation", "model": "gpt-image-2", "quality": "high"}
    ]
    assert found.models == ("gpt-image-2",)


def test_doors_and_quotas_are_told_outright() -> None:
    quotas = "quotas: { images: { team: { month: 500 }, principal: { day: 10 } } }\n"
    old = BASE + quotas + "surface: { websocket: enforce, embeddings: pass }\n"
    new = (
        BASE
        + quotas.replace("500", "600").replace("principal: { day", "principal: { hour")
        + "surface: { websocket: refuse, embeddings: pass, files: pass }\n"
    )
    assert rows(compared(old, new)) == {
        ("looser", "quotas.images.team.month", None, 500, 600),
        ("looser", "quotas.images.principal.day", None, 10, "no quota"),
        ("tighter", "quotas.images.principal.hour", None, "no quota", 10),
        ("tighter", "surface.websocket", None, "enforce", "refuse"),
        ("looser", "surface.files", None, "refuse", "pass"),
    }


def test_amounts_are_told_as_their_files_have_them() -> None:
    budget = "quotas: { cost: { team: { month: 200.50 } } }\n"
    found = rows(compared(BASE + budget, BASE + budget.replace("200.50", "90")))
    assert found == {("tighter", "quotas.cost.team.month", None, "200.5", "90")}


def test_a_door_that_is_only_observed_to_be_closed_is_no_closed_one() -> None:
    closed = "surface: { images_api: refuse, files: refuse, audio: refuse }\n"
    acting, watching = (
        BASE.replace("mode: enforce", f"mode: {mode}") + closed
        for mode in ("enforce", "observe")
    )
    doors = {x for x in rows(compared(acting, watching)) if x[1].startswith("surface")}
    assert ("looser", "surface.images_api", None, "refuse", "enforce") in doors
    assert "surface.audio" not in {place for _, place, *_ in doors}


def test_what_a_spent_quota_does_is_told() -> None:
    limit = (
        "quotas: {{ images: {{ everyone: {{ day: {{ max: 5, otherwise: {} }} }} }} }}\n"
    )
    lines = [limit.format(word) for word in ("block", "strip")]
    was, now = (read(BASE + each) for each in lines)
    spoken = {told.place: told for told, _ in outright(was, now, ANONYMOUS, TODAY)}
    said = spoken["quotas.images.everyone.day.otherwise"]
    assert (said.way, said.before, said.now) == ("different", "block", "strip")


def test_azure_is_asked_by_its_deployments() -> None:
    deployments = "deployments: { img-mini: gpt-image-1-mini, img-two: gpt-image-2 }\n"
    found = compared(
        BASE + deployments,
        BASE.replace("max: low", "max: medium") + deployments,
        providers=["openai", "azure"],
    )
    named = {model for each in found.findings for model in each.models}
    assert "img-two" in named
    assert not named & {"img-mini", "gpt-image-1-mini"}


def test_what_is_only_observed_is_compared_when_it_is_asked_for() -> None:
    new = BASE.replace("max: 1536x1024", "mode: observe, max: 1024x1024")
    plain = compared(BASE, new)
    assert "looser" in plain.ways()  # the line that acted acts no more
    acting = compared(enforced(read(BASE)), enforced(read(new)))
    row = ("tighter", "size", "1536x1024", "1536x1024", "1024x1024")
    assert row in rows(acting) - rows(plain)


# -- for whom -----------------------------------------------------------------------


def test_a_team_is_told_from_everybody_else() -> None:
    found = compared(BASE, BASE + TEAM)
    both = "team design and press"
    assert set(found.who) == {"anybody else", "team design", "team press", both}
    quality = about(found, "quality", "high")
    assert quality.difference.way == "looser"
    assert quality.who == ("team design", both)
    calls = about(found, "max_tool_calls")
    assert calls.who == ("team press", both)


def test_who_only_claims_to_be_in_a_team_is_somebody_else() -> None:
    (else_, *others) = audiences([read(BASE + TEAM)], TODAY).found
    assert else_.name == "anybody else"
    assert all(each.principal.verified for each in others)
    tightened = BASE + TEAM.replace(", loosens: true", "").replace(
        "max: high", "max: low"
    )
    names = [each.name for each in audiences([read(tightened)], TODAY).found]
    assert "team design, only claimed" not in names  # it holds for who claims it too


def test_an_exception_is_somebody_until_it_ends() -> None:
    exception = """\
exceptions:
  - id: EXC-1
    for: { user: amy }
    set: { settings.quality.max: high }
    until: 2026-12-31
    approved_by: j.doe
"""
    old, new = read(BASE), read(BASE + exception)
    assert [x.name for x in audiences([old, new], TODAY).found][1:] == ["user amy"]
    longer = read(BASE + exception.replace("2026-12-31", "2027-02-28"))
    (_, held, more) = audiences([new, longer], TODAY).found
    assert (held.name, held.held[0]) == ("user amy", held.held[1])
    assert (more.name, more.date) == (
        "user amy, from 2027-01-01",
        datetime.date(2027, 1, 1),
    )
    later = datetime.date(2027, 1, 1)
    assert len(audiences([old, new], later).found) == 1


def test_who_is_let_in_beside_others_is_somebody() -> None:
    was = "{ team: [design, print], role: chief }"
    now = "{ team: [design, print, web, shop], role: chief }"
    old = BASE + TEAM.replace("{ team: design }", was)
    new = BASE + TEAM.replace("{ team: design }", now)
    names = [x.name for x in audiences([read(old), read(new)], TODAY).found]
    assert "team shop, role chief" in names
    assert not any("print" in name or "web" in name for name in names)


def test_too_many_pairs_are_told_as_left_out() -> None:
    teams = "".join(
        f"  t{n}: {{ match: {{ team: t{n} }}, limits: {{ tools: {n + 1} }} }}\n"
        for n in range(20)
    )
    found = audiences([read(f"{BASE}teams:\n{teams}")], TODAY)
    assert found.left_out == 20 * 19 // 2 - (MOST - 20)
    who = principal_of({"team": ("t3", "t7")}, verified=True).attributes
    assert len(found.found) <= MOST + 1
    assert who["team"] == ("t3", "t7")


# -- which way ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "before", "now", "way"),
    [
        ("quality", "low", "high", "looser"),
        ("quality", "auto", "high", "tighter"),
        ("moderation", "low", "auto", "tighter"),
        ("partial_images", 3, 1, "tighter"),
        ("size", "1024x1024", "1024x1536", "looser"),
        ("size", "1536x1024", "1024x1536", "different"),
        ("size", "2048x512", "1024x1024", "different"),
        ("output_format", "png", "webp", "different"),
        ("model", "gpt-image-1", "gpt-image-2", "different"),
        ("quality", "low", "left out", "looser"),
        ("size", "1024x1024", "auto", "looser"),
        ("size", "left out", "3840x2160", "tighter"),
        ("moderation", "left out", "low", "looser"),
        ("partial_images", 1, "left out", "tighter"),
        ("background", "auto", "opaque", "different"),
        ("svg.model", "left out", "one", "different"),
    ],
)
def test_which_of_two_values_lets_more_pass(
    place: str, before: str | int, now: str | int, way: Way
) -> None:
    def sent(value: str | int) -> Answer:
        tool = {"type": "image_generation"}
        body = {"tools": [tool if value == "left out" else {**tool, place: value}]}
        return Answer(outcome=_FORWARD, sent=msgspec.json.encode(body))

    meant = meant_by(CATALOGUE.provider("openai"))
    ((difference, _),) = differences({}, sent(before), sent(now), meant)
    assert difference == Difference(
        way=way, place=place, asked=None, before=before, now=now
    )


_FORWARD = Forward()


BROUGHT = BASE.replace(
    "  default: gpt-image-1-mini\n  otherwise: block\n",
    "  otherwise: { use: gpt-image-1-mini }\n",
).replace(
    "settings:\n",
    "settings:\n"
    "  output_format: { allow: [png], otherwise: { use: png } }\n"
    "  partial_images: { max: 1, default: 1 }\n",
)
"""What is too much is brought down, and nothing is refused for it."""

LETS = [
    (
        "allow: [png], ",
        "allow: [png, gif], ",
        ("looser", "output_format", "gif", "png", "gif"),
    ),
    (
        "default: 1 }",
        "default: 0 }",
        ("tighter", "partial_images", None, 1, 0),
    ),
    (
        "  gpt-image-2: {",
        "  gpt-image-1.5: {}\n  gpt-image-2: {",
        ("looser", "model", "gpt-image-1.5", "gpt-image-1-mini", "gpt-image-1.5"),
    ),
    (
        "fields: { unknown: strip }\n",
        "fields: { unknown: pass }\n",
        ("looser", "something-new", "a text", "left out", "a text"),
    ),
    (
        "max_tool_calls: { max: 8, otherwise: lower }, ",
        "",
        ("looser", "max_tool_calls", None, 8, "left out"),
    ),
    (
        "interface: { api_versions: [v1] }\n",
        "interface: { previews: allow, api_versions: [v1, v2] }\n",
        ("looser", "openai-beta", "something-new", "refused", "goes on"),
    ),
]


@functools.cache
def all_let() -> Comparison:
    old = (
        f"{BROUGHT}fields: {{ unknown: strip }}\ninterface: {{ api_versions: [v1] }}\n"
    )
    new = old
    for was, now, _ in LETS:
        assert was in new
        new = new.replace(was, now)
    return compared(old, new)


@pytest.mark.parametrize("row", [row for _, _, row in LETS])
def test_what_passes_as_it_was_asked_is_looser(row: tuple[Any, ...]) -> None:
    assert row in rows(all_let())


def test_the_version_that_is_asked_for_is_told() -> None:
    row = ("looser", "api-version", "v2", "refused", "goes on")
    assert row in rows(all_let())


# -- what is named elsewhere than in the tool -----------------------------------------


@functools.cache
def all_named() -> Comparison:
    old = f"{BASE}deployments: {{ mini: gpt-image-1-mini, two: gpt-image-2 }}\n"
    new = old.replace("two: gpt-image-2", "two: gpt-image-2, three: gpt-image-2")
    new = new.replace("agents: [", "prompt: [pmpt_7@2], agents: [")
    return compared(old, new, providers=["azure"])


@pytest.mark.parametrize(
    "row",
    [
        ("looser", HEADER, "three", "refused", "goes on"),
        ("looser", "deployment", "three", "refused", "goes on"),
        ("looser", "prompt", '{"id":"pmpt_7","version":"2"}', "refused", "goes on"),
    ],
)
def test_what_is_named_beside_the_tool_is_found(row: tuple[Any, ...]) -> None:
    assert row in rows(all_named())
