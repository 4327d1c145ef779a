from __future__ import annotations

import datetime

import pytest

from imagegate import shipped
from imagegate.engine.errors import PolicyError
from imagegate.engine.policy import (
    SETTINGS,
    STANCES,
    Line,
    Policy,
    Principal,
    Use,
    digest,
    resolve,
)
from imagegate.engine.sizes import Size
from imagegate.policyfile import check_policy, load_policy
from imagegate.policyfile.rules import words_of

HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"
TODAY = datetime.date(2026, 12, 1)


def load(text: str) -> Policy:
    return load_policy(
        text.encode(), file="policy.yaml", catalogue=shipped.catalogue(), today=TODAY
    )


def policy(text: str) -> Policy:
    return load(HEAD + text)


def line(found: Policy, id_: str) -> Line:
    layers = [
        found.lines,
        *(team.lines for team in found.teams),
        *(item.lines for item in found.exceptions),
    ]
    return next(each for lines in layers for each in lines if each.id == id_)


def member(team: str, *, verified: bool = True) -> Principal:
    return Principal(id="someone", attributes={"team": (team,)}, verified=verified)


def test_the_head_is_kept_as_it_was_said() -> None:
    found = load(
        "version: 1\nname: p-1\nowner: >\n  the platform\n  team\nmode: observe\n"
    )

    assert (found.version, found.name, found.owner, found.mode) == (
        1,
        "p-1",
        "the platform team",
        "observe",
    )


def test_a_file_with_errors_raises_all_of_its_problems() -> None:
    with pytest.raises(PolicyError) as raised:
        policy("tool: blok\nlocked: []\n")

    assert raised.value.file == "policy.yaml"
    assert [each.id for each in raised.value.problems] == ["unknown-word", "empty-list"]


def test_an_error_names_the_first_problems_for_whoever_sees_only_a_traceback() -> None:
    with pytest.raises(PolicyError) as raised:
        policy("tool: blok\nlocked: []\n")

    first, *others = str(raised.value).splitlines()
    word, empty = (each.message for each in raised.value.problems)
    assert first == "policy.yaml cannot be used"
    assert others == [
        f"policy.yaml:5:7: error [unknown-word] tool: found 'blok': {word}",
        f"policy.yaml:6:9: error [empty-list] locked: {empty}",
    ]


def test_an_error_is_no_longer_than_anybody_reads() -> None:
    wrong = "".join(f"{'x' * 190}{number}: 1\n" for number in range(40))

    with pytest.raises(PolicyError) as raised:
        policy(wrong)

    first, *told, last = str(raised.value).splitlines()
    assert (first, len(told)) == ("policy.yaml cannot be used", 5)
    assert max(map(len, told)) == 400
    assert last == f"and {len(raised.value.problems) - 5} more"


def test_a_file_with_warnings_gives_a_policy_and_the_warnings() -> None:
    text = HEAD + "models: { gpt-image-1: {}, default: gpt-image-1 }\n"

    checked = check_policy(text.encode(), catalogue=shipped.catalogue(), today=TODAY)

    assert checked.policy is not None
    assert checked.errors == ()
    assert [each.severity for each in checked.problems] == ["warning"]


def test_every_kind_of_line_is_read() -> None:
    found = policy(
        "tool: { do: strip, reason: not yet }\n"
        "settings:\n"
        "  quality: { max: high, min: low, allow: [low, high], default: low,\n"
        "    allow_auto: true, otherwise: clamp }\n"
        "  size: { allow: [1536x1024, 1024x1024], default: 1024x1024 }\n"
        "  frame_count: { max: 8, default: 4, otherwise: { use: 6 } }\n"
        "  input_image_mask: strip\n"
        "limits: { tools: 2, images_api_n: { max: 2, reason: x },\n"
        "  max_tool_calls: { max: 3, otherwise: lower } }\n"
        "state: { agents: [b, a], prompt: [], conversation: seen }\n"
    )

    said = {
        each.path: (each.kind, each.value, each.otherwise)
        for each in found.lines
        if each.reason != "not said in the file"
    }
    square, wide = Size(width=1024, height=1024), Size(width=1536, height=1024)
    assert said == {
        "tool": ("do", "strip", "block"),
        "settings.quality.allow": ("allow", ("high", "low"), "clamp"),
        "settings.quality.max": ("max", "high", "clamp"),
        "settings.quality.min": ("min", "low", "clamp"),
        "settings.quality.default": ("default", "low", "clamp"),
        "settings.quality.allow_auto": ("allow_auto", True, "clamp"),
        "settings.size.allow": ("allow", (square, wide), "block"),
        "settings.size.default": ("default", square, "block"),
        "settings.frame_count.max": ("max", 8, Use(value=6)),
        "settings.frame_count.default": ("default", 4, Use(value=6)),
        "settings.input_image_mask": ("do", "strip", "block"),
        "limits.tools.max": ("max", 2, "block"),
        "limits.images_api_n.max": ("max", 2, "block"),
        "limits.max_tool_calls.max": ("max", 3, "lower"),
        "state.agents": ("do", ("a", "b"), "block"),
        "state.prompt": ("do", "refuse", "block"),
        "state.conversation": ("do", "seen", "block"),
    }


def test_what_is_not_said_is_written_out_in_the_mode_of_the_file() -> None:
    found = load("version: 1\nname: p\nowner: o\nmode: observe\n")

    assert {(each.path, each.value, each.mode) for each in found.lines} == {
        ("tool", "allow", "observe"),
        ("settings.input_image_mask", "allow", "observe"),
        ("fields.deprecated", "strip", "observe"),
        ("fields.unknown", "block", "observe"),
        ("fields.unknown_values", "block", "observe"),
        *((path, "refuse", "observe") for path in STANCES if path.startswith("state")),
        (
            "interface.api_versions",
            tuple(sorted(shipped.catalogue().interface.api_versions)),
            "observe",
        ),
        (
            "interface.previews",
            tuple(sorted(shipped.catalogue().interface.usual)),
            "observe",
        ),
    }


def test_a_rule_for_one_model_reacts_as_the_general_one_does() -> None:
    found = policy(
        "models: { gpt-image-2: { quality: { max: low } }, default: gpt-image-2 }\n"
        "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
    )

    assert line(found, "models.gpt-image-2.quality.max").otherwise == "lower"


def test_a_rule_that_says_otherwise_inherits_nothing() -> None:
    found = policy(
        "models:\n"
        "  default: gpt-image-2\n"
        "  gpt-image-2: { quality: { max: low, otherwise: block } }\n"
        "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
    )

    assert line(found, "models.gpt-image-2.quality.max").otherwise == "block"


def test_a_team_inherits_its_own_general_rule_before_the_baseline() -> None:
    found = policy(
        "settings: { quality: { max: high, default: low, otherwise: lower } }\n"
        "teams:\n"
        "  a:\n"
        "    match: { team: a }\n"
        "    models:\n"
        "      gpt-image-2: { quality: { max: low } }\n"
        "      default: gpt-image-2\n"
        "    settings: { quality: { max: medium, otherwise: block } }\n"
        "  b:\n"
        "    match: { team: b }\n"
        "    settings: { quality: { max: medium } }\n"
    )

    assert line(found, "teams.a.models.gpt-image-2.quality.max").otherwise == "block"
    assert line(found, "teams.b.settings.quality.max").otherwise == "lower"


def test_an_exception_acts_as_the_rule_whose_place_it_takes() -> None:
    found = policy(
        "settings:\n"
        "  quality: { max: low, default: low, otherwise: lower, mode: observe }\n"
        "exceptions:\n"
        "  - id: E\n"
        "    for: { team: a }\n"
        "    set: { settings.quality.max: high, limits.tools.max: 3, tool: allow }\n"
        "    until: 2027-01-01\n"
        "    approved_by: j.doe\n"
        "    reason: a campaign\n"
        "    owner: studio\n"
        "limits: { tools: 1 }\n"
    )
    cap = line(found, "exceptions.E.settings.quality.max")

    assert (cap.otherwise, cap.mode, cap.loosens) == ("lower", "observe", True)
    assert (cap.reason, cap.owner) == ("a campaign", "studio")
    assert line(found, "exceptions.E.limits.tools.max").mode == "enforce"
    assert found.exceptions[0].approved_by == "j.doe"


def test_a_rule_is_observed_where_the_file_is_enforced_and_the_reverse() -> None:
    rule = (
        "settings:\n"
        "  quality: {{ max: low, default: low, mode: {} }}\n"
        "  size: {{ default: 1024x1024 }}\n"
    )
    observed = policy(rule.format("observe"))
    enforced = load(
        HEAD.replace("enforce", "observe") + rule.format("enforce"),
    )

    assert line(observed, "settings.quality.max").mode == "observe"
    assert line(observed, "settings.size.default").mode == "enforce"
    assert line(enforced, "settings.quality.max").mode == "enforce"
    assert line(enforced, "settings.size.default").mode == "observe"


def test_a_team_without_loosening_narrows_the_list_of_models() -> None:
    found = policy(
        "models: { gpt-image-2: {}, gpt-image-1-mini: {}, default: gpt-image-2 }\n"
        "teams: { a: { match: { team: a }, models: { gpt-image-2: {} } } }\n"
    )
    rules = resolve(found, member("a"), TODAY)

    assert [each.value for each in rules.at("models")] == [
        ("gpt-image-1-mini", "gpt-image-2"),
        ("gpt-image-2",),
    ]


def test_a_team_that_loosens_adds_to_the_list_of_models() -> None:
    found = policy(
        "models: { gpt-image-2: {}, gpt-image-1-mini: {}, default: gpt-image-2 }\n"
        "teams:\n"
        "  a:\n"
        "    match: { team: a }\n"
        "    models:\n"
        "      gpt-image-1.5: { loosens: true }\n"
        "      gpt-image-2: { quality: { max: low, default: low } }\n"
    )

    assert line(found, "teams.a.models").value == (
        "gpt-image-1-mini",
        "gpt-image-1.5",
        "gpt-image-2",
    )
    assert [each.layer for each in resolve(found, member("a"), TODAY).at("models")] == [
        "team"
    ]
    unverified = resolve(found, member("a", verified=False), TODAY)
    assert [each.layer for each in unverified.at("models")] == ["baseline"]


def test_an_exception_adds_to_the_list_of_models() -> None:
    found = policy(
        "models: { gpt-image-2: {}, default: gpt-image-2 }\n"
        "exceptions:\n"
        "  - { id: E, for: { team: [b, a] }, set: { models: [gpt-image-1.5] },\n"
        "      until: 2027-01-01, approved_by: x }\n"
    )

    assert line(found, "exceptions.E.models").value == ("gpt-image-1.5", "gpt-image-2")
    assert found.exceptions[0].match == {"team": ("a", "b")}


def test_an_exception_can_be_for_one_model() -> None:
    found = policy(
        "models:\n"
        "  default: gpt-image-2\n"
        "  gpt-image-2: { svg.reasoning.effort: { max: low, default: low } }\n"
        "exceptions:\n"
        "  - id: E\n"
        "    for: { team: a }\n"
        "    set: { models.gpt-image-2.svg.reasoning.effort.max: high }\n"
        "    until: 2027-01-01\n"
        "    approved_by: x\n"
    )
    path = "models.gpt-image-2.svg.reasoning.effort.max"

    assert line(found, f"exceptions.E.{path}").model == "gpt-image-2"
    assert [each.value for each in resolve(found, member("a"), TODAY).at(path)] == [
        "high"
    ]


def test_an_expired_exception_is_inert_however_wrong_it_has_become() -> None:
    text = (
        HEAD + "tool: block\nlocked: [tool]\n"
        "exceptions:\n"
        "  - { id: E, for: { team: a }, set: { tool: allow }, until: 2026-11-30,\n"
        "      approved_by: x }\n"
    )

    checked = check_policy(text.encode(), catalogue=shipped.catalogue(), today=TODAY)

    assert [each.id for each in checked.problems] == ["exception-expired"]
    assert checked.policy is not None
    assert resolve(checked.policy, member("a"), TODAY).stance("tool")[0] == "block"


def test_an_exception_holds_on_its_last_day_without_a_warning() -> None:
    text = (
        HEAD + "tool: block\n"
        "exceptions:\n"
        "  - { id: E, for: { team: a }, set: { tool: allow }, until: 2026-12-01,\n"
        "      approved_by: x }\n"
    )

    checked = check_policy(text.encode(), catalogue=shipped.catalogue(), today=TODAY)

    assert checked.problems == ()
    assert checked.policy is not None
    assert resolve(checked.policy, member("a"), TODAY).stance("tool")[0] == "allow"


def test_locks_surface_and_deployments_are_kept() -> None:
    found = policy(
        "locked: [settings.quality, tool]\n"
        "surface: { batches: pass, websocket: refuse }\n"
        "deployments: { img: gpt-image-2 }\n"
    )

    assert found.locked == ("settings.quality", "tool")
    assert found.surface == {"batches": "pass", "websocket": "refuse"}
    assert found.deployments == {"img": "gpt-image-2"}


@pytest.mark.parametrize(
    "models",
    [
        "gpt-image-1-mini: {}, otherwise: { do: block }, default: gpt-image-1-mini",
        "gpt-image-1-mini: {}, otherwise: block, default: gpt-image-1-mini",
    ],
)
def test_block_is_said_in_short_or_with_why(models: str) -> None:
    assert line(policy(f"models: {{ {models} }}\n"), "models").otherwise == "block"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "settings: { size: { max: 512x512, default: 512x512 }, "
            "output_format: { allow: [gif], default: gif } }\n",
            id="frames-are-small",
        ),
        pytest.param(
            "settings: { output_format: { allow: [png], otherwise: strip } }\n",
            id="strip-leaves-what-is-allowed",
        ),
        pytest.param(
            "settings: { background: { allow: [opaque], allow_auto: true, "
            "otherwise: strip } }\n",
            id="strip-leaves-auto-that-is-allowed",
        ),
        pytest.param(
            "settings: { svg.model: { allow: [a, b], default: a } }\n",
            id="any-name-will-do",
        ),
        pytest.param(
            "settings: { frame_duration_ms: { max: 10000, default: 200 } }\n",
            id="a-range-that-nobody-states",
        ),
        pytest.param(
            "settings: { size: { allow: [1024x1024, 1536x1024], max: 1536x1024, "
            "default: 1024x1024, otherwise: lower } }\n",
            id="a-list-under-a-cap",
        ),
        pytest.param(
            "state: { agents: [a, b] }\n"
            "teams: { t: { match: { team: t }, state: { agents: [a] } } }\n",
            id="a-team-narrows-a-list-of-ids",
        ),
        pytest.param(
            "state: { agents: [a, b] }\n"
            "teams: { t: { match: { team: t }, state: { agents: refuse } } }\n",
            id="a-team-refuses-what-was-listed",
        ),
        pytest.param(
            "settings: { quality: { max: low, default: low } }\n"
            "teams: { t: { match: { team: t }, settings: "
            "{ quality: { max: high, mode: observe, loosens: true } } } }\n",
            id="a-looser-cap-on-trial",
        ),
        pytest.param(
            "settings: { quality: { allow_auto: true } }\n"
            "teams: { t: { match: { team: t }, settings: "
            "{ quality: { allow_auto: true } } } }\n",
            id="the-same-is-not-looser",
        ),
        pytest.param(
            "settings:\n"
            "  partial_images: { min: 0, max: 2, default: 0, otherwise: { use: 0 } }\n"
            "exceptions:\n"
            "  - { id: E, for: { team: t }, set: { settings.partial_images.min: 1 },\n"
            "      until: 2027-01-01, approved_by: x }\n",
            id="an-exception-inherits-what-is-put-in",
        ),
        pytest.param(
            "models:\n"
            "  default: gpt-image-2\n"
            "  gpt-image-2: { quality: { max: low, otherwise: block } }\n"
            "settings: { quality: { max: high, default: medium } }\n",
            id="a-default-moves-under-a-tighter-cap",
        ),
    ],
)
def test_what_makes_sense_is_not_complained_about(text: str) -> None:
    checked = check_policy(
        (HEAD + text).encode(), catalogue=shipped.catalogue(), today=TODAY
    )

    assert checked.problems == ()


SPELLING = """\
settings:
  quality: { max: medium, default: low, otherwise: lower, reason: cost }
  output_format: { allow: [png, webp], otherwise: { use: png } }
teams:
  a: { match: { team: [x, y] }, settings: { quality: { max: low } } }
  b: { match: { team: z }, tool: block }
"""
ANOTHER_SPELLING = """\
# the same
teams:
  b:
    tool: { do: block }
    match: { "team": [z] }
  a:
    settings:
      quality:
        max: 'low'
    match:
      team:
        - y
        - x
settings:
  output_format:
    otherwise:
      use: png
    allow: [webp, png]   # either
  quality:
    reason: >
      cost
    otherwise: lower
    default: low
    max: medium
"""


def test_a_digest_is_of_the_meaning_and_not_of_the_spelling() -> None:
    assert digest(policy(SPELLING)) == digest(policy(ANOTHER_SPELLING))


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("max: medium", "max: high"),
        ("default: low", "default: medium"),
        ("otherwise: lower", "otherwise: block"),
        ("reason: cost", "reason: money"),
        ("use: png", "use: webp"),
        ("[png, webp]", "[png, webp, jpeg]"),
        ("[x, y]", "[x]"),
        ("tool: block", "tool: strip"),
        ("b: {", "c: {"),
    ],
)
def test_a_digest_changes_with_the_meaning(said: str, instead: str) -> None:
    assert said in SPELLING
    changed = SPELLING.replace(said, instead)

    assert digest(policy(SPELLING)) != digest(policy(changed))


@pytest.mark.parametrize("mode", ["observe", "enforce"])
def test_a_digest_changes_with_the_mode_of_the_file(mode: str) -> None:
    text = HEAD.replace("enforce", mode)

    assert (digest(load(text)) == digest(load(HEAD))) == (mode == "enforce")


@pytest.mark.parametrize(
    "setting", [each for each in SETTINGS.values() if each.order], ids=lambda x: x.name
)
def test_an_order_holds_every_word_of_the_catalogue(setting: object) -> None:
    found = SETTINGS[getattr(setting, "name", "")]
    words = set(words_of(shipped.catalogue(), found.name))

    assert words - {"auto"} == set(found.order) - {"auto"}


def test_a_default_alone_is_no_limit_that_leaves_nothing() -> None:
    found = policy("settings: { svg.model: { default: m2 } }\n")

    assert line(found, "settings.svg.model.default").value == "m2"
