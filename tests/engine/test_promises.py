"""The promises of the decision, over policies and requests that nobody thought of.

A policy is generated as what its author would write; a request as what an honest,
a careless or a hostile client would send. The oracle knows nothing of the engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from asking import CATALOGUE, DESIGN, HEADER, TODAY, Answer, ask, encode
from bodies import forgotten
from hypothesis import assume, example, given, note, settings, target
from hypothesis import strategies as st
from oracle import ORDERS, READERS, WORDS, Rules, faults

from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Forward, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import ANONYMOUS, Policy, Principal
from imagegate.engine.surface import Match, find_door
from imagegate.policyfile import check_policy

JSON = dict[str, Any]
CLAIMED = Principal(id="c", attributes={"team": ("design",)})
PEOPLE = {"nobody": ANONYMOUS, "claimed": CLAIMED, "design": DESIGN}
MODELS = ["gpt-image-1-mini", "gpt-image-2", "gpt-image-1.5", "gpt-image-2.5-flare"]
NAMES = [
    *MODELS, "gpt-image-2-2026-04-21", "gpt-image-2.6-sunburst", "chatgpt-image-latest",
]  # fmt: skip
SIZES = ["1024x1024", "1536x1024", "1024x1536", "2048x1152", "640x1024", "3072x1024"]
CANARY = "sk-CANARY-77"

maybe = st.booleans()
rarely = st.sampled_from([False] * 7 + [True])


# -- policies ----------------------------------------------------------------------


def _ordered(order: list[str], most: int) -> st.SearchStrategy[JSON]:
    """A cap with a default under it, or a list with a default in it."""

    def cap(top: int) -> st.SearchStrategy[JSON]:
        return st.builds(
            lambda default, otherwise: {
                "max": order[top],
                "default": order[default],
                "otherwise": {"use": order[default]}
                if otherwise == "use"
                else otherwise,
            },
            st.integers(0, top),
            st.sampled_from(["block", "lower", "use"]),
        )

    return st.integers(0, most).flatmap(cap) | _listed(order[: most + 1])


def _listed(words: list[str]) -> st.SearchStrategy[JSON]:
    def block(allowed: list[str], word: str) -> JSON:
        use = {"use": allowed[-1]} if word == "use" else word
        return {"allow": allowed, "default": allowed[0], "otherwise": use}

    lists = st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True)
    return st.builds(block, lists, st.sampled_from(["block", "use"]))


def _number(low: int, high: int) -> st.SearchStrategy[JSON]:
    return st.integers(low, high).flatmap(
        lambda top: st.builds(
            lambda default, word: {"max": top, "default": default, "otherwise": word},
            st.integers(low, top),
            st.sampled_from(["block", "lower"]),
        )
    )


SETTINGS: Mapping[str, st.SearchStrategy[JSON]] = {
    "quality": _ordered(ORDERS["quality"], 2),
    "moderation": st.sampled_from(
        [
            {"allow": ["auto"], "otherwise": {"use": "auto"}},
            {"allow": ["auto"], "otherwise": "strip"},
            {"allow": ["auto"]},
            {"min": "auto", "default": "auto", "otherwise": "raise"},
        ]
    ),
    "size": st.builds(
        lambda cap, word: {"max": cap, "default": "1024x1024", "otherwise": word},
        st.sampled_from(["1024x1024", "1536x1024", "2048x2048"]),
        st.sampled_from(["block", "lower"]),
    )
    | _listed(SIZES[:3]),
    "background": _listed(["opaque", "transparent"]),
    "output_format": _listed(["png", "webp", "jpeg", "gif", "svg"])
    | st.sampled_from([{"allow": ["png", "webp"], "otherwise": "strip"}]),
    "output_compression": _number(0, 100),
    "input_fidelity": _ordered(ORDERS["input_fidelity"], 1),
    "partial_images": _number(0, 3),
    "action": _listed(["generate", "edit"]),
    "complexity": _ordered(ORDERS["complexity"], 2),
    "frame_count": _number(2, 16),
    "frame_duration_ms": _number(10, 500),
    "svg.model": _listed(["gpt-5", "gpt-6"]),
    "svg.reasoning.effort": _ordered(ORDERS["svg.reasoning.effort"], 6),
    "input_image_mask": st.sampled_from(["allow", "strip", "block"]),
}
STANCES = {
    "deprecated": ["pass", "strip", "block"],
    "unknown": ["pass", "strip", "block"],
    "unknown_values": ["pass", "block"],
}
STATES = ["prompt", "conversation", "previous_response", "structured_inputs"]


@st.composite
def blocks(draw: st.DrawFn, *, most: int = 6) -> JSON:
    common = st.sampled_from([*list(SETTINGS)[:8], *SETTINGS])
    names = draw(st.lists(common, max_size=most, unique=True))
    found: JSON = {}
    for name in names:
        block = found[name] = draw(SETTINGS[name])
        if isinstance(block, dict):
            block = found[name] = dict(block)
            if draw(rarely):
                block["mode"] = "observe"
            if name in {"quality", "size", "background", "complexity"} and draw(rarely):
                block["allow_auto"] = True
    return found


@st.composite
def layers(draw: st.DrawFn) -> JSON:
    found: JSON = {}
    settings = draw(blocks())
    if settings:
        found["settings"] = settings
    if draw(maybe):
        names = draw(st.lists(st.sampled_from(NAMES[:5]), min_size=1, unique=True))
        own = st.sampled_from([{}, {"quality": {"max": "low", "default": "low"}}])
        found["models"] = {name: draw(own) for name in names}
        use = draw(maybe)
        found["models"]["otherwise"] = {"use": names[0]} if use else "block"
        found["models"]["default"] = names[-1]
    limits = {
        name: {"max": draw(st.integers(1, 3)), "otherwise": draw(word)}
        for name, word in {
            "tools": st.just("block"),
            "max_tool_calls": st.sampled_from(["block", "lower"]),
        }.items()
        if draw(maybe)
    }
    if limits:
        found["limits"] = limits
    if draw(rarely):
        found["tool"] = draw(st.sampled_from(["allow", "strip", "block"]))
    return found


@st.composite
def _team(draw: st.DrawFn, baseline: JSON) -> JSON:
    """A team, which may loosen a cap of the baseline."""
    team = {"match": {"team": "design"}, **draw(layers())}
    for name, block in baseline.get("settings", {}).items():
        if "max" in block and block["otherwise"] == "lower" and draw(maybe):
            most = ORDERS[name][-1] if name in ORDERS else "2048x2048"
            if name in ORDERS or name == "size":
                team.setdefault("settings", {})[name] = {"max": most, "loosens": True}
    return team


@st.composite
def documents(draw: st.DrawFn) -> JSON:
    """A policy as its author writes it."""
    found = draw(layers())
    words = {name: draw(st.sampled_from(said)) for name, said in STANCES.items()}
    found["fields"] = words if draw(maybe) else {"unknown": "strip"}
    found["state"] = {name: "allow" for name in STATES if draw(rarely)}
    teams = draw(st.sampled_from([(), ("design",), ("b", "a")]))
    if teams:
        found["teams"] = {name: draw(_team(found)) for name in teams}
    for key in ("fields", "state"):
        if not found[key]:
            del found[key]
    mode = "observe" if draw(rarely) else "enforce"
    return {"version": 1, "name": "p", "owner": "o", "mode": mode, **found}


def loaded(document: JSON) -> Policy | None:
    data = json.dumps(document).encode()  # JSON is YAML
    return check_policy(data, catalogue=CATALOGUE, today=TODAY).policy


def reading(**sections: Any) -> tuple[JSON, Policy]:
    """A policy with these sections, for examples."""
    document = {"version": 1, "name": "p", "owner": "o", "mode": "enforce", **sections}
    found = loaded(document)
    assert found is not None
    return document, found


@st.composite
def policies(draw: st.DrawFn) -> tuple[JSON, Policy]:
    """A policy that its reader takes; what does not fit together goes."""
    document = draw(documents())
    found = loaded(document)
    for key in ("teams", "models", "settings"):
        if found is None:
            document.pop(key, None)
            found = loaded(document)
    assume(found is not None)
    assert found is not None
    return document, found


# -- requests ----------------------------------------------------------------------

JUNK = st.sampled_from(
    [
        None, True, False, 0, 1, 2, 101, -1, 1.0, 1e0, 2**70, "", "auto", "LOW", "low",
        " low", "HIGH", "high\n", "1536X1024", "1024x１024", "١٠٢٤x1024", "0x10",
        "9999x1", "1024x1024x1024", ["low"], [], {}, {"a": 1}, {"model": "x"}, CANARY,
        "GPT-image-2", " gpt-image-2", "gpt-image-２", "image_generation",
    ]
)  # fmt: skip
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    **{
        name: st.sampled_from(words) for name, words in WORDS.items() if "." not in name
    },
    "quality": st.sampled_from([*ORDERS["quality"], "auto"]),
    "size": st.sampled_from([*SIZES, "auto", "2000x1120", "16x16", "99999x99999"]),
    "model": st.sampled_from(NAMES),
    "output_compression": st.integers(0, 100),
    "partial_images": st.integers(0, 3),
    "frame_count": st.integers(2, 16),
    "frame_duration_ms": st.integers(0, 1000),
    "svg": st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(["gpt-5", "gpt-6", "x"]) | JUNK,
            "reasoning": st.fixed_dictionaries(
                {}, optional={"effort": st.sampled_from(ORDERS["svg.reasoning.effort"])}
            )
            | JUNK,
            "seed": JUNK,
        },
    ),
    "input_image_mask": st.sampled_from(
        [{"file_id": CANARY}, {"image_url": CANARY}, {"file_id": "f", "zz": 1}, {}]
    ),
    "name": st.just(CANARY),
    "description": st.just("d"),
    "tool_configs": st.just({"a": {"pin": True}}),
    "svg.model": st.just("gpt-6"),
    "n": st.just(4),
    "style": st.just("vivid"),
    "zz-1": JUNK,
}


HONEST = [
    "model", "quality", "size", "moderation", "background", "output_format",
    "output_compression", "input_fidelity", "partial_images", "action", "complexity",
]  # fmt: skip
RARE = [name for name in VALUES if name not in HONEST]
BESIDE = {"frame_count": "gif", "frame_duration_ms": "gif", "svg": "svg"}


@st.composite
def tools(draw: st.DrawFn, *, hostile: bool = False) -> JSON:
    """An image tool with any of its fields; a hostile one has values of any kind."""
    found: JSON = {"type": "image_generation"}
    for name in draw(st.lists(st.sampled_from(HONEST), max_size=6, unique=True)):
        found[name] = draw(VALUES[name])
    if draw(rarely):
        rare = draw(st.sampled_from(RARE))
        found |= {"output_format": BESIDE[rare]} if rare in BESIDE else {}
        found[rare] = draw(VALUES[rare])
    if hostile:
        odd = draw(st.sampled_from([*found, *HONEST, "svg"]))
        if odd != "type":
            found[odd] = draw(JUNK)
    return found


OTHERS = st.sampled_from(
    [
        {"type": "web_search"},
        {"type": "Image_Generation"},
        {"type": "image_generation_preview"},
        {"type": "namespace", "name": "n", "tools": [{"type": "custom", "name": "c"}]},
    ]
)
CHOICES = st.sampled_from(
    [
        "auto", "none", "required", None, {"type": "image_generation"},
        {"type": "function", "name": "f"},
        *(
            {"type": "allowed_tools", "mode": "auto", "tools": entries}
            for entries in (
                [{"type": "image_generation"}, {"type": "function", "name": "f"}],
                [{"type": "image_generation"}],
                [{"type": "IMAGE generation"}],
            )
        ),
    ]
)  # fmt: skip
MEMBERS: Mapping[str, st.SearchStrategy[Any]] = {
    "tool_choice": CHOICES,
    "max_tool_calls": st.integers(0, 5),
    "prompt": st.sampled_from([None, {"id": CANARY}, CANARY]),
    "conversation": st.sampled_from([None, None, "conv_1", {"id": "conv_1"}]),
    "previous_response_id": st.sampled_from([None, None, "resp_1"]),
    "structured_inputs": st.sampled_from([None, {"a": 1}]),
    "multi_agent": st.sampled_from([None, {"enabled": True}]),
    "moderation": st.just({"model": "omni", "policy": {"input": {"mode": "low"}}}),
    "background": st.booleans(),
    "metadata": st.just({"tools": [{"type": "image_generation"}], "user": CANARY}),
    "temperature": st.just(1.0),
    "big": st.just(2**80),
    "nested": tools().map(lambda tool: {"a": [{"tools": [tool]}]}),
}


HOSTILE = ("multi_agent", "structured_inputs", "prompt", "nested", "nested")
KINDS = ("additional_tools", "tool_search_output", "message", "Additional_Tools")
FUNCTION = {"type": "function", "name": "f", "parameters": {"properties": {"tools": 1}}}


@st.composite
def requests(draw: st.DrawFn) -> JSON:
    """A request with tools in any of the places that can hold them.

    Most are what an application sends, so that they get past the first refusal.
    """
    hostile = draw(st.sampled_from([False, False, False, True]))
    one = tools() | OTHERS if hostile and draw(maybe) else tools(hostile=hostile)
    found: JSON = {"model": "gpt-5", "input": CANARY}
    found["tools"] = draw(st.lists(one, max_size=1 + draw(rarely)))
    if draw(maybe):
        found["tools"].append(FUNCTION)
    if draw(rarely):
        inner = [draw(one)] if hostile else [FUNCTION]
        found["tools"].append({"type": "namespace", "name": "n", "tools": inner})
    if not found["tools"] or draw(rarely):
        kind = draw(st.sampled_from(KINDS if hostile else KINDS[:2]))
        items = [{"type": "message", "role": "user", "content": CANARY}]
        more = {"type": kind, "tools": draw(st.lists(one, min_size=1, max_size=2))}
        found["input"] = [*items, more]
    names = [name for name in MEMBERS if name not in HOSTILE]
    names += HOSTILE if hostile else ()
    for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True)):
        found[name] = draw(MEMBERS[name])
    if hostile and draw(rarely):
        found["model"] = "gpt-image-2"
    return found


people = st.sampled_from(list(PEOPLE))


def asked(policy: Policy | Decider, value: object, who: str = "nobody") -> Answer:
    """Ask; what is malformed is no answer."""
    try:
        return ask(policy, value, principal=PEOPLE[who])
    except MalformedRequest:
        assume(False)  # noqa: FBT003 - how hypothesis is told
        raise


def rules_of(document: JSON, who: str) -> Rules:
    return Rules(document, team=who != "nobody", verified=who == "design")


FEW = settings(max_examples=settings().max_examples // 3)
"""Policies are read from text, which takes longer than deciding."""


# -- the promises ------------------------------------------------------------------


LOOSENED = reading(
    settings={"quality": {"max": "low", "default": "low", "otherwise": "lower"}},
    teams={
        "a": {
            "match": {"team": "design"},
            "settings": {"quality": {"max": "high", "loosens": True}},
        }
    },
)
TWO = [{"type": "image_generation", "quality": "high"}, {"type": "image_generation"}]


@FEW
@given(policies(), requests(), people)
@example(LOOSENED, {"tools": TWO}, "claimed")
@example(LOOSENED, {"tools": TWO}, "design")
@example(reading(tool="strip"), {"tools": TWO}, "nobody")
@example(
    reading(settings={"input_image_mask": "strip"}),
    {"tools": [{"type": "image_generation", "input_image_mask": {"file_id": "f"}}]},
    "nobody",
)
def test_nothing_forbidden_passes(
    pair: tuple[JSON, Policy], value: JSON, who: str
) -> None:
    """Whatever is sent, no reader of the bytes finds in it what is forbidden."""
    document, policy = pair
    answer = asked(policy, value, who)
    if answer.data is None:
        return
    note(answer.data.decode())
    target(float(len(answer.changes)))
    rules = rules_of(document, who)

    for name, read in READERS.items():
        assert faults(rules, read(answer.data)) == [], name


@FEW
@given(policies(), requests(), people)
@example(
    reading(settings={"output_format": {"allow": ["png"], "otherwise": "strip"}}),
    {"tools": [{"type": "image_generation", "output_format": "jpeg"}]},
    "nobody",
)
def test_deciding_on_what_was_rewritten_changes_nothing(
    pair: tuple[JSON, Policy], value: JSON, who: str
) -> None:
    """What goes on would go on as it is."""
    answer = asked(pair[1], value, who)
    if answer.data is None:
        return
    again = asked(pair[1], answer.data, who)

    assert isinstance(again.decision, Forward), again.violations or again.changes
    assert again.data == answer.data


@FEW
@given(policies(), requests())
def test_nothing_but_the_named_changes_moves(
    pair: tuple[JSON, Policy], value: JSON
) -> None:
    """Each difference stands at the pointer of a change, and is what it says."""
    answer = asked(pair[1], value)
    if answer.data is None:
        return
    said = {change.pointer for change in answer.changes}

    assert answer.word == ("rewrite" if said else "forward")
    gone = explained(value, answer.json, "", said)
    note(f"{gone}")
    assert gone <= said


def explained(before: Any, after: Any, at: str, said: set[str]) -> set[str]:
    """Collect the places at which two documents differ."""
    if at in said or encode(before) == encode(after):
        return {at} & said
    if isinstance(before, list) and isinstance(after, list):
        left = [x for i, x in enumerate(before) if f"{at}/{i}" not in said]
        assert len(left) == len(after), at
        kept = [i for i in range(len(before)) if f"{at}/{i}" not in said]
        places = zip(kept, left, after, strict=True)
        return set().union(*(explained(b, a, f"{at}/{i}", said) for i, b, a in places))
    if isinstance(before, dict | None) and isinstance(after, dict):
        keys = dict.fromkeys([*(before or {}), *after])
        lost = [k for k in before or {} if k in after]
        assert lost == [k for k in after if k in (before or {})], "order"
        found: set[str] = set()
        for key in keys:
            place = f"{at}/{key if key.isidentifier() else '?'}"
            missing = object()
            one = (before or {}).get(key, missing)
            two = after.get(key, missing)
            if one is missing and isinstance(two, dict) and place not in said:
                one = None
            if two is missing or one is missing:
                found.add(place)
            else:
                found |= explained(one, two, place, said)
        return found
    below = [place for place in said if place.startswith(f"{at}/")]
    assert below, (at, before, after)
    return set()


@FEW
@given(policies(), requests(), people)
def test_a_compact_body_that_needs_no_change_keeps_its_bytes(
    pair: tuple[JSON, Policy], value: JSON, who: str
) -> None:
    """Byte for byte, number spellings and escapes in values included."""
    data = encode(value).replace(b":1.0", b":1.50e-0")
    data = data.replace(b'"sk-', rb'"sk\u002d')
    answer = asked(pair[1], data, who)

    if isinstance(answer.decision, Forward):
        assert answer.data == data


@FEW
@given(policies(), requests(), people, st.data())
def test_order_means_nothing(
    pair: tuple[JSON, Policy], value: JSON, who: str, data: st.DataObject
) -> None:
    """Neither that of the lines in the file nor that of the tools in the request."""
    document, policy = pair
    keys = data.draw(st.permutations(list(document)))
    other = {key: document[key] for key in keys}
    for section in ("settings", "models", "teams"):
        if section in other:
            inner = data.draw(st.permutations(list(other[section])))
            other[section] = {key: other[section][key] for key in inner}
    shuffled = loaded(other)
    assert shuffled is not None
    turned = value | {"tools": list(reversed(value.get("tools", [])))}
    straight = value | {"tools": value.get("tools", [])}
    answer = asked(policy, straight, who)

    assert asked(shuffled, straight, who) == answer
    mirrored = asked(policy, turned, who)
    assert mirrored.word == answer.word
    assert sorted(mirrored.rules) == sorted(answer.rules)
    if answer.data is not None:
        wanted = answer.json | {"tools": answer.json["tools"][::-1]}
        assert encode(mirrored.json) == encode(wanted)


def unobserved(policy: Policy) -> Policy:
    """The same policy without what is only observed."""

    def acting(layer: Any) -> Any:
        lines = tuple(line for line in layer.lines if line.mode == "enforce")
        return msgspec.structs.replace(layer, lines=lines)

    teams = tuple(acting(team) for team in policy.teams)
    found: Policy = msgspec.structs.replace(acting(policy), teams=teams)
    return found


@FEW
@given(policies(), requests(), people)
def test_observed_lines_act_on_nothing(
    pair: tuple[JSON, Policy], value: JSON, who: str
) -> None:
    """The outcome is that of the policy without them, and their word is kept apart."""
    answer = asked(pair[1], value, who)
    without = asked(unobserved(pair[1]), value, who)

    assert answer.data == without.data
    assert answer.said == without.said
    assert all(item.by.mode == "enforce" for item in answer.said)
    assert all(item.by.mode == "observe" for item in answer.decision.observed)
    # What always holds has no line that could be left out.
    assert {item.by.layer for item in without.decision.observed} <= {"builtin"}


@FEW
@given(policies(), requests(), people)
def test_a_strangers_value_is_never_repeated(
    pair: tuple[JSON, Policy], value: JSON, who: str
) -> None:
    """A key pasted into a field reaches no record and no answer."""
    answer = asked(pair[1], value, who)
    decision = answer.decision
    said = [decision.tools, decision.observed, answer.said]

    assert "CANARY" not in repr(said)
    assert "CANARY" not in repr([change.after for change in answer.changes])


def exchanged(gate: Gate, data: bytes, who: str, image: JSON) -> list[object]:
    """Return all that comes of a request, and of an answer that echoes its tools."""
    door = find_door("POST", "/v1/responses")
    assert isinstance(door, Match)
    exchange = Exchange(
        gate,
        Context(decision_id="d", door=door, date=TODAY, principal=PEOPLE[who]),
    )
    try:
        body = read_body_now(data)
    except MalformedRequest:
        assume(False)  # noqa: FBT003 - how hypothesis is told
        raise
    ruling = exchange.request(body)
    edits = ruling.decision.edits if isinstance(ruling.decision, Rewrite) else ()
    sent = bytes(body.rewritten(edits))
    found: list[object] = [ruling, sent]
    if ruling.refusal is None:
        echo = [tool | image for tool in json.loads(sent).get("tools", [])]
        answer = {"object": "response", "status": "completed", "tools": echo}
        exchange.response(200, "application/json")
        found += [exchange.feed(json.dumps(answer).encode(), last=True)]
    return [*found, exchange.close()]


@FEW
@given(
    policies(),
    requests(),
    st.lists(st.fixed_dictionaries({}, optional=MEMBERS) | requests(), max_size=3),
    st.lists(people, min_size=4, max_size=4),
    tools(),
)
@example(
    reading(settings={"quality": {"max": "low", "default": "low"}}),
    {"tools": [{"type": "image_generation"}], "max_tool_calls": 1},
    [{"max_tool_calls": 1.0}, {"max_tool_calls": True}],
    ["nobody"] * 4,
    {"quality": True},
)
@example(
    reading(settings={"quality": {"max": "low", "default": "low"}}),
    {"tools": [{"type": "image_generation"}], "input": "x"},
    [
        {"input": [{"type": "function_call", "id": "fc_1", "arguments": "{}"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "compaction", "encrypted_content": "x"}]},
    ],
    ["nobody"] * 4,
    {"quality": "low"},
)
def test_what_was_decided_before_changes_nothing(
    pair: tuple[JSON, Policy],
    value: JSON,
    others: list[JSON],
    who: list[str],
    image: JSON,
) -> None:
    """Bytes, records and answers are those of a gate that never saw a request."""
    warm = Gate(pair[1], CATALOGUE, hash_key=b"key")
    values = [value, *({**value, **other} for other in others)]
    texts = [
        json.dumps(each, indent=number % 2 or None).encode()
        for number, each in enumerate(values)
    ]
    for data, one in [*zip(texts, who, strict=False)] * 2:
        cold = Gate(pair[1], CATALOGUE, hash_key=b"key")
        with forgotten():
            expected = exchanged(cold, data, one, image)

        assert exchanged(warm, data, one, image) == expected


TEXT = st.sampled_from([*'{}[]",:\\ \n0e1-u', "tools", "type", "image_generation"])


@given(st.binary(max_size=40) | st.lists(TEXT).map("".join).map(str.encode))
@example(b'{"max_tool_calls":{"a":1,"a":2},"tools":[{"type":"image_generation"}]}')
@example(b'{"tools":[{"type":"image_generation","svg":[{}],"output_format":"svg"}]}')
def test_any_bytes_are_answered(data: bytes) -> None:
    """With a decision, or by saying what is malformed."""
    try:
        answer = ask(STRICT, data)
    except MalformedRequest:
        return

    assert answer.word in {"forward", "rewrite", "block"}


@given(requests(), st.data())
def test_any_damage_is_answered(value: JSON, data: st.DataObject) -> None:
    """A body with some bytes cut or doubled is judged as it is, or malformed."""
    text = encode(value)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(start + 12, len(text))))
    bent = (
        text[:start] + text[stop:] if data.draw(maybe) else text[:stop] + text[start:]
    )
    try:
        answer = ask(STRICT, bent)
    except MalformedRequest:
        return

    if answer.data is not None:
        rules = Rules(STRICT_DOCUMENT, team=False, verified=False)
        assert [faults(rules, read(answer.data)) for read in READERS.values()] == [
            [] for _ in READERS
        ]


STRICT_DOCUMENT, _STRICT = reading(
    models={"gpt-image-2": {"quality": {"max": "low"}}, "gpt-image-1-mini": {}}
    | {"otherwise": {"use": "gpt-image-1-mini"}},
    settings={
        "quality": {"max": "medium", "default": "low", "otherwise": "lower"},
        "size": {"max": "1536x1024", "default": "1024x1024", "otherwise": "lower"},
        "svg.model": {"allow": ["gpt-5"], "default": "gpt-5", "otherwise": "block"},
    },
    limits={"tools": 1, "max_tool_calls": 4},
)
STRICT = Decider(_STRICT, CATALOGUE)


HIGH = {"type": "image_generation", "quality": "high"}
WAYS: Mapping[str, JSON] = {
    "a second tool": {"tools": [{"type": "image_generation"}, HIGH]},
    "additional_tools": {"input": [{"type": "additional_tools", "tools": [HIGH]}]},
    "tool_search": {"input": [{"type": "tool_search_output", "tools": [HIGH]}]},
    "another item": {"input": [{"type": "message", "tools": [HIGH]}]},
    "a namespace": {"tools": [{"type": "namespace", "tools": [HIGH]}]},
    "a tool in a tool": {"tools": [HIGH | {"tools": [HIGH]}]},
    "a member nobody knows": {"extra": {"tools": [HIGH]}},
    "auto": {"tools": [HIGH | {"quality": "auto", "size": "auto"}]},
    "null": {"tools": [HIGH | {"quality": None, "size": None, "model": None}]},
    "capitals": {"tools": [HIGH | {"quality": "HIGH"}]},
    "a type in capitals": {"tools": [HIGH | {"type": "Image_Generation"}]},
    "a dated type": {"tools": [HIGH | {"type": "image_generation_2025_04_16"}]},
    "a long thin size": {
        "tools": [HIGH | {"model": "gpt-image-2", "size": "3072x1024"}]
    },
    "a size in capitals": {"tools": [HIGH | {"size": "3072X1024"}]},
    "a snapshot": {"tools": [HIGH | {"model": "gpt-image-2-2026-04-21"}]},
    "a moving alias": {"tools": [HIGH | {"model": "chatgpt-image-latest"}]},
    "a disguised model": {"tools": [HIGH | {"model": "gpt-image-2 "}]},
    "a model as a list": {"tools": [HIGH | {"model": ["gpt-image-2"]}]},
    "a dotted key": {"tools": [HIGH | {"output_format": "svg", "svg.model": "x"}]},
    "an odd object": {"tools": [HIGH | {"output_format": "svg", "svg": ["x"]}]},
    "a nested stranger": {"tools": [HIGH | {"svg": {"model": "gpt-5", "x": 1}}]},
    "deprecated": {"tools": [HIGH | {"name": "n", "tool_configs": {}}]},
    "server-only": {"tools": [HIGH | {"n": 9}]},
    "many calls": {"tools": [HIGH], "max_tool_calls": 9},
    "a count as text": {"tools": [HIGH], "max_tool_calls": "9"},
    "an image model": {"model": "gpt-image-2", "input": "a cat"},
    "a stored prompt": {"prompt": {"id": "pmpt_1"}},
    "an agent": {"agent_reference": {"name": "a"}},
    "inputs of an agent": {"structured_inputs": {"quality": "high"}},
    "agents": {"multi_agent": {"enabled": True}},
}


@pytest.mark.parametrize("value", WAYS.values(), ids=list(WAYS))
def test_no_known_way_around_is_one(value: JSON) -> None:
    """Refused, or made what the policy allows."""
    answer = ask(STRICT, {"model": "gpt-5", "input": "x"} | value)
    rules = Rules(STRICT_DOCUMENT, team=False, verified=False)

    assert answer.word != "forward"
    if answer.data is not None:
        assert [faults(rules, read(answer.data)) for read in READERS.values()] == [
            [] for _ in READERS
        ]


DOUBLED = [
    '{"tools":[],"tools":[%s]}',
    '{"tools":[%s],"tools":[]}',
    '{"tools":[],"\\u0074ools":[%s]}',
    '{"tools":[],"Tools":[%s]}',
    '{"tools":[],"tools\\u200b":[%s]}',
    '{"tools":[{"type":"function","name":"f","type":"image_generation"}]}',
    '{"tools":[{"type":"image_generation","quality":"low","quality":"high"}]}',
    '{"tools":[{"type":"image_generation","quality":"low","Quality":"high"}]}',
    '{"tools":[{"type":"image_generation","svg":{"model":"a","model":"b"}}]}',
    '{"input":[{"type":"message","tools":[],"type":"additional_tools"}]}',
    '{"tool_choice":{"type":"function","name":"f","type":"image_generation"}}',
    '{"prompt":null,"prompt":{"id":"pmpt_1"}}',
    '{"prompt":null,"Prompt":{"id":"pmpt_1"}}',
]


@pytest.mark.parametrize("text", DOUBLED)
def test_no_two_readers_see_two_requests(text: str) -> None:
    """What one of them would overlook is malformed, before it is judged."""
    with pytest.raises(MalformedRequest):
        ask(STRICT, text.replace("%s", '{"type":"image_generation"}').encode())


# -- Azure -------------------------------------------------------------------------

DEPLOYMENTS = {"mini": "gpt-image-1-mini", "two": "gpt-image-2", "flare": MODELS[3]}
AZURE_DOCUMENT, _AZURE = reading(
    models={
        "gpt-image-1-mini": {},
        "gpt-image-2": {"quality": {"max": "low", "default": "low"}},
        "default": "gpt-image-1-mini",
        "otherwise": {"use": "gpt-image-1-mini"},
    },
    settings={"quality": {"max": "high", "default": "high", "otherwise": "lower"}},
    deployments=DEPLOYMENTS,
)
AZURE = Decider(_AZURE, CATALOGUE)
azure_names = st.sampled_from(["mini", "two", "flare", "gpt-image-2", "Mini", "x", ""])
azure_tools = st.fixed_dictionaries(
    {"type": st.just("image_generation")},
    optional={"model": azure_names, "quality": st.sampled_from(ORDERS["quality"])},
)


@given(st.lists(azure_tools, max_size=2), st.lists(azure_names, max_size=1))
@example(
    [{"type": "image_generation", "model": "two"}, {"type": "image_generation"}],
    ["mini"],
)
def test_on_azure_whichever_of_body_and_header_counts_is_allowed(
    given_tools: list[JSON], header: list[str]
) -> None:
    """Nobody documents which it is: each tool keeps to the rules of both."""
    value = {"model": "gpt-5", "input": "x", "tools": given_tools}
    answer = ask(
        AZURE,
        value,
        at="POST /openai/v1/responses",
        headers=[(HEADER, name) for name in header],
    )
    if answer.data is None:
        return
    rules = Rules(AZURE_DOCUMENT, team=False, verified=False)
    sent = [name for key, name in answer.headers if key == HEADER]
    for tool in answer.json["tools"]:
        for name in {*sent, tool.get("model", sent[0] if sent else None)}:
            meant = tool | {"model": DEPLOYMENTS.get(str(name), name)}
            assert faults(rules, {"tools": [meant]}) == []
