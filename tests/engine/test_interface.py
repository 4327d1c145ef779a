"""Which versions and previews of the interface a request may ask for."""

from __future__ import annotations

import pytest
from asking import AZURE, CATALOGUE, HEADER, RESPONSES, TODAY, body, door, policy, tool
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Forward
from imagegate.engine.interface import choosing, version_told, versions_of
from imagegate.engine.request import Request

LISTS = """
interface:
  api_versions: [v1]
  previews: [responses_multi_agent=v1, beta=true, x-ms-oai-new]
"""
BETA = "openai-beta"
FOUNDRY = "foundry-features"


def decide(
    rules: str = "",
    *,
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
    at: str = AZURE,
) -> Decision:
    match = door(at)
    bodiless = at.startswith(("GET", "WEBSOCKET"))
    return Decider(policy(rules), CATALOGUE).decide(
        Request(
            match=match,
            date=TODAY,
            body=None if bodiless else body({"input": "x"}, match),
            headers=headers,
            query=query,
        )
    )


def rules_of(decision: Decision) -> list[str]:
    if not isinstance(decision, Block):
        return []
    return [violation.by.rule for violation in decision.violations]


@pytest.mark.parametrize("version", CATALOGUE.interface.api_versions)
def test_the_versions_of_the_catalogue_pass_where_a_policy_is_silent(
    version: str,
) -> None:
    """They are those in which the tool is what the catalogue says."""
    assert rules_of(decide(query=f"api-version={version}")) == []


@pytest.mark.parametrize(
    ("rules", "query", "headers"),
    [
        ("", "api-version=2027-01-01", ()),
        ("", "api-version=", ()),
        ("", "api-version=V1", ()),
        ("", "api-version=v1%00", ()),
        ("", "api%2Dversion=2027-01-01", ()),
        (LISTS, "api-version=preview", ()),
        ("", "", (("api-version", "2027-01-01"),)),
        ("", "api-version=v1", (("api_version", "next"),)),
        ("interface: { api_versions: refuse }", "api-version=v1", ()),
    ],
)
def test_another_version_is_refused(
    rules: str, query: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """In the query, and in the header that samples send."""
    decision = decide(rules, query=query, headers=headers)

    assert rules_of(decision) == ["interface.api_versions"]


def test_a_refusal_says_what_to_add() -> None:
    """A version is shown; what is no version may be a key."""
    dated = decide(query="api-version=2027-01-01-preview")
    other = decide(query="api-version=sk-secret")

    assert isinstance(dated, Block)
    assert dated.violations[0].before == "2027-01-01-preview"
    assert "`2027-01-01-preview` added to `interface.api_v" in dated.violations[0].fix
    assert isinstance(other, Block)
    assert "sk-secret" not in repr(other)
    assert "have it added to `interface.api_versions`" in other.violations[0].fix


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", ((BETA, "responses_multi_agent=v1"),)),
        ("", ((BETA, "responses_websockets=2026-02-06, agents=v1"),)),
        ("", ((BETA, "responses=experimental"), (BETA, "assistants=v2"))),
        ("", (("openai_beta", "x"),)),
        ("beta=true", ()),
        ("beta=false", ()),
        ("", ((FOUNDRY, "Skills=V1Preview"),)),
        ("", ((FOUNDRY, "a=b,,responses=experimental"),)),
        ("", (("x-ms-oai-new", "1"),)),
        ("", (("x_ms_oai_image_generation_deployment", "1"),)),
        ("", (("x-ms-enable-preview", "true"),)),
    ],
)
@pytest.mark.parametrize(
    "at", [AZURE, RESPONSES, "GET /v1/responses/r", "WEBSOCKET /v1/responses"]
)
def test_a_preview_that_is_not_usual_is_refused(
    query: str, headers: tuple[tuple[str, str], ...], at: str
) -> None:
    """At every door that is judged, with a body or without."""
    assert rules_of(decide(query=query, headers=headers, at=at)) == [
        "interface.previews"
    ]


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("api-version=v1", ()),
        ("beta=true", ((BETA, "responses_multi_agent=v1"),)),
        ("", (("x-ms-oai-new", "anything"), ("x-codex-beta-features", "a"))),
        ("", ((HEADER, "gpt-image-2"), ("x-ms-client-request-id", "1"))),
        ("include[]=a&include[]=b&limit=3&order=asc&after=x&before=y", ()),
        ("include%5B%5D=a&stream=true&starting_after=3&include_obfuscation=true", ()),
    ],
)
def test_what_is_listed_passes(
    query: str, headers: tuple[tuple[str, str], ...]
) -> None:
    """And what chooses nothing."""
    assert rules_of(decide(LISTS, query=query, headers=headers)) == []


def test_what_codex_sends_passes_everywhere() -> None:
    """With each request, and with each connection."""
    headers = (
        (BETA, "responses=experimental"),
        (BETA, "responses_websockets=2026-02-06"),
    )

    assert decide(headers=headers, at=RESPONSES) == Forward()


def test_a_policy_can_allow_all() -> None:
    """By a word."""
    rules = "interface: { api_versions: allow, previews: allow }"

    assert not rules_of(decide(rules, query="api-version=x&beta=1"))


@pytest.mark.parametrize(
    "query",
    [
        "api-key=sk-secret",
        "API-Version=v1",
        "api-version=v1&api-version=v1",
        "api-version=v1;x",
        "beta=true&beta=true",
        "code=1",
        "x",
        "limit=1&limit=2",
    ],
)
def test_a_parameter_that_nobody_knows_is_refused(query: str) -> None:
    """A credential first of all; and one that servers could read in two ways."""
    decision = decide(LISTS, query=query)

    assert isinstance(decision, Block)
    assert decision.violations[0].by.rule == "always.query"
    assert decision.status == 400
    assert "sk-secret" not in repr(decision)


def test_where_nothing_acts_it_is_only_observed() -> None:
    """A new parameter must not stop a trial."""
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    asked = Request(
        match=door(AZURE),
        date=TODAY,
        body=body({"input": "x"}),
        query="api-version=new&x=1",
    )
    decision = Decider(policy(head=head), CATALOGUE).decide(asked)

    assert isinstance(decision, Forward)
    assert {each.by.rule for each in decision.observed} == {
        "always.query",
        "interface.api_versions",
    }


def test_teams_narrow_the_lists_and_exceptions_widen_them() -> None:
    """They are lines like all others."""
    team = "{ match: { team: a }, interface: { previews: refuse } }"
    rules = f"{LISTS}teams: {{ a: {team} }}"

    found = policy(rules)

    assert found.teams[0].lines[0].id == "teams.a.interface.previews"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", None),
        ("api-version=v1", "v1"),
        ("api-version=2099-01-01-preview", "2099-01-01-preview"),
        ("api-version=sk-secret", "other"),
        ("api-version=v1&api-version=v1", None),
    ],
)
def test_a_record_tells_of_one_version(query: str, told: str | None) -> None:
    """By its name, if it has the look of one."""
    assert version_told(query, {"v1"}) == told


@given(st.text(max_size=40))
def test_any_query_can_be_read(query: str) -> None:
    """And decided on."""
    versions_of(query)

    assert decide(query=query).observed == ()


def test_a_tool_is_judged_beside_it() -> None:
    """Everything that is wrong is said at once."""
    match = door(AZURE)
    decision = Decider(policy("tool: block"), CATALOGUE).decide(
        Request(
            match=match,
            date=TODAY,
            body=body({"input": "x", "tools": [tool()]}, match),
            query="api-version=x",
        )
    )

    assert rules_of(decision) == ["interface.api_versions", "tool"]


def test_headers_that_choose_something_are_told_from_others() -> None:
    """Also in the spelling of a careless server; a credential is none of them."""
    chosen = (
        ("openai-beta", "a=v1"),
        ("api_version", "preview"),
        ("foundry-features", "x"),
        ("x-ms-enable-preview", "true"),
        (HEADER, "img"),
    )
    others = (("api-key", "k"), ("openai-organization", "o"), ("x-ms-client", "c"))

    assert choosing((*others, *chosen)) == chosen
