"""Only what is known to be illegal is objected to, at the shipped catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagegate
from imagegate.engine.catalogue import read_catalogue
from imagegate.engine.objections import (
    Objection,
    applies,
    default_of,
    is_doubtful,
    legal_words,
    objections,
)
from imagegate.engine.provider import Model, Unstated

CATALOGUE = read_catalogue(
    (Path(imagegate.__file__).parent / "catalogue.toml").read_bytes()
)
OPENAI = CATALOGUE.provider("openai")
AZURE = CATALOGUE.provider("azure")


def row(name: str) -> Model:
    found = OPENAI.model(name)
    assert found is not None
    return found


MINI, TWO = row("gpt-image-1-mini"), row("gpt-image-2")
FLARE, NEWEST = row("gpt-image-2.5-flare"), row("gpt-image-2.6-sunburst")


def rules(tool: dict[str, Any], model: Model | None = None) -> list[str]:
    return [found.rule for found in objections(OPENAI, model, tool)]


def test_a_plain_tool_meets_no_objection() -> None:
    """Neither with everything said nor with everything left to the provider."""
    tool = {
        "type": "image_generation",
        "action": "auto",
        "background": "opaque",
        "model": "gpt-image-2",
        "moderation": "auto",
        "output_compression": 80,
        "output_format": "webp",
        "partial_images": 2,
        "quality": "low",
        "size": "1536x864",
        "input_image_mask": {"file_id": "file_1"},
    }

    assert objections(OPENAI, TWO, tool) == ()
    assert objections(OPENAI, TWO, {"type": "image_generation"}) == ()


@pytest.mark.parametrize(
    ("tool", "model", "expected"),
    [
        ({"quality": "xhigh"}, MINI, ["cell.quality"]),
        ({"quality": "xhigh"}, FLARE, []),
        ({"quality": "xhigh"}, NEWEST, []),
        ({"quality": "xhigh"}, None, []),
        ({"quality": "ultra"}, None, ["word.quality"]),
        ({"quality": "LOW"}, MINI, ["word.quality"]),
        ({"quality": 5}, MINI, ["kind.quality"]),
        ({"quality": None}, MINI, []),
        ({"input_fidelity": "low"}, TWO, ["cell.input_fidelity"]),
        ({"input_fidelity": 7}, TWO, ["cell.input_fidelity"]),
        ({"input_fidelity": "high"}, MINI, ["cell.input_fidelity"]),
        ({"input_fidelity": "low"}, MINI, []),
        ({"partial_images": 4}, None, ["range.partial_images"]),
        ({"partial_images": -1}, None, ["range.partial_images"]),
        ({"partial_images": 3}, None, []),
        ({"partial_images": True}, None, ["kind.partial_images"]),
        ({"partial_images": 2.0}, None, ["kind.partial_images"]),
        ({"output_format": "gif", "frame_duration_ms": 10**9}, None, []),
        ({"input_image_mask": "x"}, None, ["kind.input_image_mask"]),
        ({"input_image_mask": {"file_id": 1}}, None, ["kind.input_image_mask.file_id"]),
        ({"model": 1}, None, ["kind.model"]),
        ({"model": "sk-whatever"}, None, []),
        ({"n": 1}, None, ["server-only.n"]),
        ({"n": None}, None, ["server-only.n"]),
        ({"zzz": 1}, None, []),
        ({"svg.model": 1}, None, []),
    ],
    ids=repr,
)
def test_single_fields(
    tool: dict[str, Any], model: Model | None, expected: list[str]
) -> None:
    """Types, words, ranges and cells; null is omitted, an unknown key unknown."""
    assert rules(tool, model) == expected


@pytest.mark.parametrize(
    ("tool", "model", "expected"),
    [
        ({"size": "auto"}, TWO, []),
        ({"size": "1536x864"}, TWO, []),
        ({"size": "1536x865"}, TWO, ["size.multiple"]),
        ({"size": "1536x864"}, MINI, ["size.fixed"]),
        ({"size": "1536x865"}, NEWEST, []),
        ({"size": "1536x865"}, None, []),
        ({"size": "1536X864"}, None, ["size.format"]),
        ({"size": "1572864"}, None, ["size.format"]),
        ({"size": 1572864}, None, ["kind.size"]),
        ({"size": "auto"}, row("dall-e-2"), ["cell.size"]),
        ({"size": "512x512"}, row("dall-e-2"), []),
        ({"size": "512x288"}, TWO, ["size.min-pixels"]),
        ({"size": "512x288", "output_format": "gif"}, TWO, []),
    ],
    ids=repr,
)
def test_sizes(tool: dict[str, Any], model: Model | None, expected: list[str]) -> None:
    """A size is judged by what the model makes, and needs one spelling in any case."""
    assert rules(tool, model) == expected


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ({"background": "transparent"}, []),
        ({"background": "transparent", "output_format": "webp"}, []),
        (
            {"background": "transparent", "output_format": "jpeg"},
            ["transparent-needs-alpha"],
        ),
        ({"background": "opaque", "output_format": "jpeg"}, []),
        ({"output_compression": 80}, ["compression-needs-webp-or-jpeg"]),
        ({"output_compression": 100}, []),
        ({"output_compression": 80, "output_format": "jpeg"}, []),
        (
            {"output_compression": 80, "output_format": "gif"},
            ["compression-needs-webp-or-jpeg"],
        ),
        ({"frame_count": 9}, ["frames-need-gif"]),
        (
            {"frame_duration_ms": 9, "frame_count": 9, "output_format": "png"},
            ["frames-need-gif", "frames-need-gif"],
        ),
        ({"frame_count": 9, "output_format": "gif"}, []),
        ({"svg": {}}, ["svg-needs-svg"]),
        ({"svg": {"model": "m"}, "output_format": "svg"}, []),
        (
            {"partial_images": 1, "output_format": "gif"},
            ["gif-refuses-partial-images"],
        ),
        ({"partial_images": 0, "output_format": "gif"}, []),
        ({"input_image_mask": {}, "output_format": "gif"}, ["gif-refuses-mask"]),
        ({"input_image_mask": {}}, []),
        (
            {"partial_images": 1, "output_format": "svg"},
            ["svg-refuses-partial-images"],
        ),
        ({"mask": {}, "output_format": "gif"}, []),
        # What nobody knows stands against no rule.
        ({"frame_count": 9, "output_format": "avif"}, ["word.output_format"]),
        ({"frame_count": 9, "output_format": []}, ["kind.output_format"]),
    ],
    ids=repr,
)
def test_rules_between_fields(tool: dict[str, Any], expected: list[str]) -> None:
    """An omitted field counts with its default: png."""
    assert rules(tool) == expected


def test_an_objection_says_what_would_be_right() -> None:
    """Whole, and in the order of the catalogue, then of the rules."""
    tool = {
        "frame_count": 1,
        "n": 1,
        "quality": "max",
        "input_fidelity": "high",
        "background": "transparent",
        "output_format": "jpeg",
        "size": "1x1",
        "partial_images": 9,
        "moderation": "none",
        "model": [],
    }

    assert objections(OPENAI, TWO, tool) == (
        Objection(
            field="frame_count",
            rule="range.frame_count",
            message="frame_count must be between 2 and 16",
        ),
        Objection(
            field="input_fidelity",
            rule="cell.input_fidelity",
            message="input_fidelity must be omitted for this model",
            remedy="omit",
        ),
        Objection(field="model", rule="kind.model", message="model must be a string"),
        Objection(
            field="moderation",
            rule="word.moderation",
            message="moderation must be one of low, auto",
        ),
        Objection(
            field="partial_images",
            rule="range.partial_images",
            message="partial_images must be between 0 and 3",
        ),
        Objection(
            field="quality",
            rule="cell.quality",
            message="quality max is not for this model, "
            "which takes low, medium, high, auto",
        ),
        Objection(
            field="size",
            rule="size.multiple",
            message="size 1x1 must have both edges divisible by 16",
        ),
        Objection(
            field="n", rule="server-only.n", message="n must be omitted", remedy="omit"
        ),
        Objection(
            field="background",
            rule="transparent-needs-alpha",
            message="a transparent background needs output_format png or webp, "
            "not jpeg",
        ),
        Objection(
            field="frame_count",
            rule="frames-need-gif",
            message="frame_count and frame_duration_ms need output_format gif, "
            "not jpeg",
            remedy="omit",
        ),
    )


@pytest.mark.parametrize(
    ("tool", "remedy"),
    [
        ({"input_fidelity": "high"}, "omit"),
        ({"quality": "max"}, None),
        ({"svg": {}}, "omit"),
        ({"partial_images": 1, "output_format": "gif"}, "omit"),
        ({"background": "transparent", "output_format": "jpeg"}, None),
        ({"moderation": "none"}, None),
    ],
    ids=repr,
)
def test_dropping_a_field_is_a_remedy_only_when_it_leaves_no_choice(
    tool: dict[str, Any], remedy: str | None
) -> None:
    """Where an omitted field means `auto`, another value has to be found."""
    assert [found.remedy for found in objections(OPENAI, MINI, tool)] == [remedy]


def test_a_value_is_shown_only_when_the_catalogue_knows_it() -> None:
    """A secret pasted into a field does not travel on in a message."""
    secret = "sk-proj-abcdef"  # noqa: S105 - stands for one
    tool = dict.fromkeys(OPENAI.fields, secret) | {
        "svg": {"model": [secret], "reasoning": {"effort": secret}}
    }

    found = objections(OPENAI, MINI, tool)

    assert len(found) > 10
    assert not [each for each in found if secret in each.message]


def test_an_images_api_request_has_parameters_of_its_own() -> None:
    """There `n` may be sent, and two old words of quality are known."""
    body = {"prompt": "a cat", "n": 11, "quality": "hd", "stream": 1, "action": 5}

    found = objections(OPENAI, MINI, body, images_api=True)

    assert [each.rule for each in found] == ["range.n", "cell.quality", "kind.stream"]


def test_an_images_api_request_is_subject_to_the_same_rules() -> None:
    """And to those that only it can break."""
    body = {"n": 2, "output_format": "svg", "mask": b"", "frame_count": 2}
    gif = {"n": 2, "output_format": "gif", "mask": b"", "frame_count": 2}

    found = [
        [each.rule for each in objections(OPENAI, None, each_body, images_api=True)]
        for each_body in (body, gif)
    ]

    assert found == [["frames-need-gif", "svg-makes-one-image"], ["gif-refuses-mask"]]


def test_azure_is_not_known_to_refuse_what_only_openai_names() -> None:
    """Its types are older; unknown is not illegal."""
    tool = {
        "quality": "max",
        "complexity": "high",
        "output_format": "gif",
        "frame_count": 4,
        "name": "x",
        "tool_configs": {},
    }

    assert objections(AZURE, None, tool) == ()
    assert objections(AZURE, AZURE.model("gpt-image-2.6-flare"), tool) == ()


@pytest.mark.parametrize(
    ("model", "field", "expected"),
    [
        (None, "model", "gpt-image-2.6-sunburst"),
        (None, "quality", "auto"),
        (None, "partial_images", 0),
        (None, "complexity", Unstated.INHERITS),
        (None, "svg.reasoning.effort", Unstated.UNKNOWN),
        (None, "n", None),
        (None, "zzz", Unstated.UNKNOWN),
        (MINI, "input_fidelity", "low"),
        (TWO, "input_fidelity", None),
    ],
)
def test_what_an_omitted_field_means(
    model: Model | None, field: str, expected: object
) -> None:
    """A value, or that none is known, or nothing at all."""
    assert default_of(OPENAI, model, field) == expected


def test_legal_words_are_those_of_the_field_that_the_model_takes() -> None:
    """In the order of the field, so that the highest is the last before auto."""
    assert legal_words(OPENAI, MINI, "quality") == ("low", "medium", "high", "auto")
    assert legal_words(OPENAI, MINI, "moderation") == ("low", "auto")
    assert legal_words(OPENAI, TWO, "input_fidelity") == ()
    assert legal_words(OPENAI, None, "complexity") == ("low", "medium", "high")
    assert legal_words(OPENAI, row("dall-e-3"), "quality") == (
        OPENAI.fields["quality"].words
    )


@pytest.mark.parametrize(
    ("field", "tool", "expected"),
    [
        ("quality", {}, True),
        ("zzz", {}, True),
        ("n", {}, False),
        ("input_fidelity", {}, False),
        ("frame_count", {}, False),
        ("frame_count", {"output_format": "png"}, False),
        ("frame_count", {"output_format": "gif"}, True),
        ("svg", {}, False),
        ("svg.reasoning.effort", {}, False),
        ("svg.reasoning.effort", {"output_format": "svg"}, True),
        ("svg_", {}, True),
        ("input_image_mask", {"output_format": "gif"}, False),
        ("partial_images", {"output_format": "gif"}, True),
        ("background", {"output_format": "jpeg"}, True),
    ],
    ids=repr,
)
def test_a_field_applies_unless_any_value_would_be_refused(
    field: str, tool: dict[str, Any], *, expected: bool
) -> None:
    """A policy's default is not written where the setting has no place."""
    assert applies(OPENAI, TWO, field, tool) is expected


@pytest.mark.parametrize(
    ("field", "value", "tool", "expected"),
    [
        ("partial_images", 1, {"output_format": "gif"}, False),
        ("partial_images", 0, {"output_format": "gif"}, True),
        ("background", "transparent", {"output_format": "jpeg"}, False),
        ("background", "opaque", {"output_format": "jpeg"}, True),
        ("output_compression", 80, {}, False),
        ("output_compression", 80, {"output_format": "webp"}, True),
    ],
)
def test_a_value_that_a_rule_refuses_does_not_apply(
    field: str, value: object, tool: dict[str, Any], *, expected: bool
) -> None:
    """Other values of the same field may."""
    assert applies(OPENAI, None, field, tool, value=value) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
VALUES = JSON | st.sampled_from(
    sorted({w for f in OPENAI.fields.values() for w in f.words} | {"16x16"})
)
PATHS = sorted(OPENAI.fields.keys() | AZURE.fields.keys() | OPENAI.images_api.keys())
MODELS = st.none() | st.sampled_from(list(OPENAI.models.values()))


@given(
    tool=st.dictionaries(st.sampled_from(PATHS) | st.text(), VALUES),
    model=MODELS,
    images_api=st.booleans(),
)
def test_any_json_is_judged_without_an_exception(
    *, tool: dict[str, Any], model: Model | None, images_api: bool
) -> None:
    """And the same tool always gets the same objections."""
    found = objections(OPENAI, model, tool, images_api=images_api)

    assert found == objections(OPENAI, model, tool, images_api=images_api)
    assert len({(each.field, each.rule) for each in found}) == len(found)


@given(tool=st.dictionaries(st.sampled_from(PATHS), VALUES), model=MODELS)
def test_an_omission_that_is_offered_as_a_remedy_cures(
    *, tool: dict[str, Any], model: Model | None
) -> None:
    """Without the field, neither it nor what was inside it is objected to."""
    for found in objections(OPENAI, model, tool):
        if found.remedy == "omit":
            rest = {k: v for k, v in tool.items() if k != found.field}

            assert found.field not in {x.field for x in objections(OPENAI, model, rest)}


@pytest.mark.parametrize(
    ("provider", "model", "field", "expected"),
    [
        ("openai", "gpt-image-2.6-sunburst", "complexity", False),
        ("openai", "gpt-image-2.6-flare", "complexity", True),
        ("openai", None, "complexity", True),
        ("openai", "gpt-image-2", "input_fidelity", False),
        ("openai", "gpt-image-1-mini", "input_fidelity", False),
        ("openai", "gpt-image-2.5-flare", "input_fidelity", True),
        ("openai", "chatgpt-image-latest", "quality", False),
        ("openai", None, "quality", False),
        ("openai", None, "unheard_of", False),
        ("azure", "gpt-image-1.5", "complexity", True),
    ],
)
def test_some_models_may_not_have_a_field_at_all(
    provider: str, model: str | None, field: str, *, expected: bool
) -> None:
    """Nobody says so, and not every model has it; a field of all is never in doubt."""
    found = CATALOGUE.provider(provider)
    row = None if model is None else found.model(model)

    assert is_doubtful(found, row, field) is expected


@given(
    tool=st.dictionaries(st.sampled_from(PATHS), VALUES),
    model=MODELS,
    name=st.sampled_from(sorted(OPENAI.fields)),
)
def test_one_field_can_be_asked_about(
    tool: dict[str, Any], model: Model | None, name: str
) -> None:
    """With the objects that it stands in, and nothing else."""
    asked = objections(OPENAI, model, tool, about=name)

    assert asked == tuple(
        found
        for found in objections(OPENAI, model, tool)
        if f"{name}.".startswith(f"{found.field}.")
    )


def test_a_field_that_nobody_knows_is_not_objected_to_either() -> None:
    """Nor when it is asked about."""
    assert objections(OPENAI, MINI, {"dreams": 1}, about="dreams") == ()
