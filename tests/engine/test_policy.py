"""What holds for whom: merging layers, and the name of what was merged."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.policy import (
    ANONYMOUS,
    LISTED,
    SETTINGS,
    SILENT,
    STANCES,
    Exemption,
    Kind,
    LayerName,
    Layers,
    Line,
    Policy,
    Principal,
    Rules,
    Team,
    Value,
    canonical,
    digest,
    matches,
    merge,
    most_particular,
    resolve,
)
from imagegate.engine.settle import satisfies

TODAY = datetime.date(2026, 12, 1)
YESTERDAY = TODAY - datetime.timedelta(days=1)
DESIGN = {"team": ("design",)}


def line(
    path: str,
    value: Value,
    *,
    layer: LayerName = "baseline",
    prefix: str = "",
    loosens: bool = False,
) -> Line:
    """Make a line as reading a file does."""
    scope, _, rest = path.partition(".")
    subject, _, word = rest.rpartition(".")
    kinds: dict[str, Kind] = {"max": "max", "min": "min", "allow": "allow"}
    model = None
    if scope == "models" and subject:
        model, _, subject = subject.rpartition(".")
    return Line(
        id=prefix + path,
        path=path,
        layer=layer,
        kind="do" if path in STANCES else kinds.get(word, "default"),
        subject=path if path in STANCES else subject,
        value=value,
        model=model,
        loosens=loosens or layer == "exception",
    )


def team(
    name: str,
    said: Mapping[str, Value],
    *,
    loosens: bool = False,
    match: Mapping[str, tuple[str, ...]] | None = None,
) -> Team:
    lines = (
        line(path, value, layer="team", prefix=f"teams.{name}.", loosens=loosens)
        for path, value in said.items()
    )
    return Team(name=name, match=match or DESIGN, lines=tuple(lines))


def exemption(
    name: str, said: Mapping[str, Value], until: datetime.date = TODAY
) -> Exemption:
    lines = (
        line(path, value, layer="exception", prefix=f"exceptions.{name}.")
        for path, value in said.items()
    )
    return Exemption(
        id=name, match=DESIGN, until=until, approved_by="j.doe", lines=tuple(lines)
    )


def policy(
    said: Mapping[str, Value],
    teams: tuple[Team, ...] = (),
    exceptions: tuple[Exemption, ...] = (),
) -> Policy:
    return Policy(
        name="p",
        owner="o",
        mode="enforce",
        lines=tuple(line(path, value) for path, value in said.items()),
        teams=teams,
        exceptions=exceptions,
    )


def designer(*, verified: bool = True) -> Principal:
    return Principal(id="d", attributes=DESIGN, verified=verified)


def values(rules: Rules, path: str) -> list[Value]:
    return [each.value for each in rules.at(path)]


CAP = "settings.quality.max"


def test_the_baseline_holds_for_everyone() -> None:
    """Where no layer matches, the baseline's lines are in force."""
    rules = resolve(policy({CAP: "low"}, (team("a", {CAP: "high"}),)), ANONYMOUS, TODAY)

    assert values(rules, CAP) == ["low"]
    assert rules.at("settings.size.max") == ()
    assert rules.layers == ()


def test_what_is_said_twice_holds_together() -> None:
    """A team's line that does not loosen is one more line to keep to."""
    rules = resolve(
        policy({CAP: "high"}, (team("a", {CAP: "low"}),)), designer(), TODAY
    )

    assert values(rules, CAP) == ["high", "low"]
    assert rules.layers == ("teams.a",)


def test_a_line_that_loosens_takes_the_place_of_the_baselines() -> None:
    """But other teams' lines at the path go on holding."""
    teams = (team("a", {CAP: "high"}, loosens=True), team("b", {CAP: "medium"}))

    rules = resolve(policy({CAP: "low"}, teams), designer(), TODAY)

    assert values(rules, CAP) == ["high", "medium"]
    assert rules.layers == ("teams.a", "teams.b")


def test_an_exception_takes_the_place_of_all_other_lines() -> None:
    """A dated, approved exception beats the teams too; two of them hold together."""
    teams = (team("a", {CAP: "low"}),)
    exceptions = (exemption("E1", {CAP: "high"}), exemption("E2", {CAP: "max"}))

    rules = resolve(policy({CAP: "low"}, teams, exceptions), designer(), TODAY)

    assert values(rules, CAP) == ["high", "max"]
    assert rules.layers == ("teams.a", "exceptions.E1", "exceptions.E2")


def test_an_expired_exception_is_inert() -> None:
    """It holds on its last day, and then leaves no trace in what is in force."""
    said = policy({CAP: "low"}, exceptions=(exemption("E", {CAP: "high"}),))
    without = policy({CAP: "low"})
    tomorrow = TODAY + datetime.timedelta(days=1)

    assert values(resolve(said, designer(), TODAY), CAP) == ["high"]
    assert resolve(said, designer(), tomorrow) == resolve(without, designer(), tomorrow)


def test_who_is_not_verified_gets_no_exception_and_nothing_looser() -> None:
    """A claimed team may tighten, since who lies about it gains nothing."""
    said = policy(
        {CAP: "medium", "tool": "allow"},
        (
            team("a", {CAP: "high"}, loosens=True),
            team("b", {"tool": "block"}),
        ),
        (exemption("E", {CAP: "max"}),),
    )

    rules = resolve(said, designer(verified=False), TODAY)

    assert values(rules, CAP) == ["medium"]
    assert rules.stance("tool")[0] == "block"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"team": ("design",), "site": ("wien",)}, True, id="both"),
        pytest.param({"team": ("sales", "design"), "site": ("bonn",)}, True, id="any"),
        pytest.param({"team": ("design",)}, False, id="one-is-missing"),
        pytest.param({"team": ("Design",), "site": ("wien",)}, False, id="other-case"),
        pytest.param({}, False, id="nothing-is-known"),
    ],
)
def test_a_match_wants_one_value_of_every_attribute(
    attributes: dict[str, tuple[str, ...]], *, expected: bool
) -> None:
    """Attributes are and, values are or; nothing is folded or guessed."""
    wanted = {"team": ("design",), "site": ("wien", "bonn")}

    assert matches(wanted, Principal(attributes=attributes)) is expected


def observed(item: Line) -> Line:
    return msgspec.structs.replace(item, mode="observe")


def test_observed_lines_do_not_act() -> None:
    """What acts is the same rules without them; the path stays, empty."""
    lines = (observed(line(CAP, "low")), line("tool", "block"))
    said = msgspec.structs.replace(policy({}), lines=lines)

    assert merge(said, Layers(), acting=True) == Rules(
        lines={CAP: (), "tool": lines[1:]}
    )
    assert merge(said, Layers()).at(CAP) == lines[:1]


def test_an_observed_line_loosens_nothing_that_acts() -> None:
    """A team tries a looser cap out; the baseline's goes on acting."""
    trial = team("a", {CAP: "high"}, loosens=True)
    trial = msgspec.structs.replace(trial, lines=tuple(map(observed, trial.lines)))
    said = policy({CAP: "low"}, (trial,))
    layers = Layers(teams=(trial,), loosening=True)

    assert values(merge(said, layers, acting=True), CAP) == ["low"]
    assert values(merge(said, layers), CAP) == ["high"]


@pytest.mark.parametrize("acting", [False, True])
def test_an_exception_acts_as_what_it_stands_for(*, acting: bool) -> None:
    """Under a baseline that is only observed, a team's line may act."""
    baseline = msgspec.structs.replace(
        policy({}), lines=(observed(line(CAP, "medium")),)
    )
    relief = exemption("E", {CAP: "high"})
    relief = msgspec.structs.replace(relief, lines=tuple(map(observed, relief.lines)))
    strict = team("a", {CAP: "low"})
    alone = Layers(exceptions=(relief,), loosening=True)
    both = Layers(teams=(strict,), exceptions=(relief,), loosening=True)

    (found,) = merge(baseline, both, acting=acting).at(CAP)

    assert (found.value, found.mode) == ("high", "enforce")
    assert merge(baseline, alone, acting=True).at(CAP) == ()
    assert merge(baseline, alone).at(CAP) == relief.lines


def test_a_model_is_held_to_its_own_lines_and_to_the_general_ones() -> None:
    """Its own lines do not stand in the place of the general ones."""
    own = "models.gpt-image-2.quality.max"
    rules = resolve(
        policy({CAP: "medium", own: "low", "settings.quality.allow": ("low",)}),
        ANONYMOUS,
        TODAY,
    )

    assert [x.path for x in rules.constraints("quality")] == [
        "settings.quality.allow",
        CAP,
    ]
    assert [x.path for x in rules.constraints("quality", "gpt-image-2")] == [
        "settings.quality.allow",
        CAP,
        own,
    ]
    assert rules.constraints("quality", "gpt-image-1-mini") == rules.constraints(
        "quality"
    )


def test_the_most_particular_default_speaks() -> None:
    """An exception before a team, a team before the baseline, a model before all."""
    general, own = "settings.quality.default", "models.m.quality.default"
    base = {general: "low", own: "medium"}
    teams = (team("a", {general: "high"}),)
    exceptions = (exemption("E", {general: "max"}),)

    plain = resolve(policy(base), ANONYMOUS, TODAY)
    with_team = resolve(policy(base, teams), designer(), TODAY)
    with_exception = resolve(policy(base, teams, exceptions), designer(), TODAY)

    found = [
        rules.default("quality", model)
        for rules in (plain, with_team, with_exception)
        for model in (None, "m")
    ]
    assert [each.value for each in found if each] == [
        "low",
        "medium",
        "high",
        "high",
        "max",
        "max",
    ]
    assert plain.default("size") is None
    assert most_particular([]) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param((), "allow", id="silence"),
        pytest.param(("allow",), "allow", id="one-word"),
        pytest.param(("allow", "refuse"), "refuse", id="the-strictest-word"),
        pytest.param((("a", "b"),), ("a", "b"), id="a-list"),
        pytest.param((("a", "b"), ("b", "c")), ("b",), id="lists-intersect"),
        pytest.param((("a",), ("b",)), (), id="lists-apart-allow-nothing"),
        pytest.param((("a",), "allow"), ("a",), id="a-list-is-stricter-than-allow"),
        pytest.param((("a",), "refuse"), "refuse", id="a-refusal-is-stricter"),
    ],
)
def test_the_strictest_stance_holds(
    said: tuple[Value, ...], expected: str | tuple[str, ...]
) -> None:
    """Words by their order; a list of ids stands between `allow` and a refusal."""
    lines = tuple(line("state.agents", value) for value in said)
    rules = Rules(lines={"state.agents": lines})

    word, by = rules.stance("state.agents")

    assert word == expected
    assert (by is None) == (not said)


def test_what_silence_means_is_a_word_of_each_stance() -> None:
    """The tables agree; what may be a list can be refused as well."""
    assert all(word in STANCES[path] for path, word in SILENT.items())
    assert all(STANCES[path][-1] == "refuse" for path in LISTED)
    assert all(
        setting.order for setting in SETTINGS.values() if setting.kind == "ordered"
    )


PATHS = (
    CAP,
    "settings.quality.min",
    "settings.quality.allow",
    "models.m.quality.max",
    "tool",
    "state.agents",
)
WORDS = st.sampled_from(SETTINGS["quality"].order)


def some_value(path: str) -> st.SearchStrategy[Value]:
    if path == "state.agents":
        ids = st.sets(st.sampled_from("abc"), min_size=1)
        return st.sampled_from(STANCES[path]) | ids.map(lambda x: tuple(sorted(x)))
    if path in STANCES:
        return st.sampled_from(STANCES[path])
    if path.endswith("allow"):
        return st.sets(WORDS, min_size=1).map(lambda x: tuple(sorted(x)))
    return WORDS


SAID = st.sets(st.sampled_from(PATHS)).flatmap(
    lambda paths: st.fixed_dictionaries({path: some_value(path) for path in paths})
)


WHO = st.sampled_from([designer(), designer(verified=False), ANONYMOUS])
MATCHES: st.SearchStrategy[Mapping[str, tuple[str, ...]]] = st.sampled_from(
    [DESIGN, {"team": ("sales", "design")}, {"team": ("x",)}]
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy with some layers, some of which match a designer."""
    teams = [
        team(f"t{n}", said, loosens=draw(st.booleans()), match=draw(MATCHES))
        for n, said in enumerate(draw(st.lists(SAID, max_size=3)))
    ]
    dates = st.sampled_from([YESTERDAY, TODAY])
    exceptions = [
        exemption(f"E{n}", said, draw(dates))
        for n, said in enumerate(draw(st.lists(SAID, max_size=2)))
    ]
    return policy(draw(SAID), tuple(teams), tuple(exceptions))


def shuffled(said: Policy, seed: random.Random) -> Policy:
    """Turn a policy around as its file could be."""

    def mixed(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        return tuple(seed.sample(lines, len(lines)))

    replace = msgspec.structs.replace
    teams = [replace(each, lines=mixed(each.lines)) for each in said.teams]
    exceptions = [replace(each, lines=mixed(each.lines)) for each in said.exceptions]
    return replace(
        said,
        lines=mixed(said.lines),
        locked=tuple(seed.sample(said.locked, len(said.locked))),
        teams=tuple(seed.sample(teams, len(teams))),
        exceptions=tuple(seed.sample(exceptions, len(exceptions))),
    )


@given(policies(), st.randoms(use_true_random=False), WHO)
def test_the_order_of_a_file_never_matters(
    said: Policy, seed: random.Random, who: Principal
) -> None:
    """The same lines are in force, and the digest is the same."""
    said = msgspec.structs.replace(said, locked=("tool", CAP))
    other = shuffled(said, seed)

    assert resolve(said, who, TODAY).lines == resolve(other, who, TODAY).lines
    assert digest(said) == digest(other)


@given(policies())
def test_the_unverified_never_loosen(said: Policy) -> None:
    """Every line of the baseline goes on holding, whoever they say they are."""
    rules = resolve(said, designer(verified=False), TODAY)

    assert set(said.lines) <= {each for lines in rules.lines.values() for each in lines}
    for word in SETTINGS["quality"].order:
        if all(satisfies(each, word) for each in rules.constraints("quality", "m")):
            base = resolve(said, ANONYMOUS, TODAY)
            assert all(satisfies(x, word) for x in base.constraints("quality", "m"))


@given(policies(), WHO)
def test_expired_exceptions_change_nothing(said: Policy, who: Principal) -> None:
    """The rules are those of the policy without them."""
    still = tuple(each for each in said.exceptions if each.until >= TODAY)
    without = msgspec.structs.replace(said, exceptions=still)

    assert resolve(said, who, TODAY) == resolve(without, who, TODAY)


@given(policies(), st.sampled_from(PATHS), st.data())
def test_a_digest_names_one_content(
    said: Policy, path: str, data: st.DataObject
) -> None:
    """Another value, another digest; the canonical form is the content."""
    value = data.draw(some_value(path))
    kept = tuple(each for each in said.lines if each.path != path)
    other = msgspec.structs.replace(said, lines=(*kept, line(path, value)))

    same = canonical(said) == canonical(other)
    assert (digest(said) == digest(other)) == same
    assert same == (line(path, value) in said.lines)
    assert len(digest(said)) == 64
