from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from imagegate import shipped
from imagegate.cli.catalogue import _facts

Command = Callable[..., Any]


def test_every_model_of_every_provider_has_a_row(imagegate: Command) -> None:
    ran = imagegate("catalogue")

    tables = ran.out.split("\n\n")
    assert (ran.code, ran.err) == (0, "")
    for table, (name, provider) in zip(
        tables, shipped.catalogue().providers.items(), strict=False
    ):
        title, head, *rows = table.splitlines()
        assert title == f"{name} · read on {shipped.catalogue().date}"
        assert head.split() == ["MODEL", "SIZES", "QUALITY", "FORMAT", "NOTE"]
        assert [row.split()[0] for row in rows] == list(provider.models)
    assert tables[-1] == "? is not known: no source says whether it is taken\n"


@pytest.mark.parametrize(
    "row",
    [
        "1024x1024 1536x1024 1024x1536   low medium high auto",
        "any up to 3840 a side",
        "any up to 3840 a side?",
        "png webp jpeg gif? svg?",
        "changes without notice",
        "retires 2026-10-23",
        "the default",
        "not known",
        "not named by azure's SDK",
    ],
)
def test_what_is_known_and_what_is_not_is_told_apart(
    row: str, imagegate: Command
) -> None:
    assert row in imagegate("catalogue").out


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        pytest.param(
            "gpt-image-2",
            [
                "gpt-image-2 · openai",
                "gpt-image-2 · azure",
                "snapshots   gpt-image-2-2026-04-21",
                "from 655360 to 8294400 pixels; a GIF may be less",
                "input_fidelity               must be left out",
                "n                            must be left out",
                "partial_images               0 to 3",
                "complexity                   not known",
                "frames-need-gif",
                "openai, azure",
                "deprecated",
            ],
            id="by-name",
        ),
        pytest.param(
            "gpt-image-2-2026-04-21", ["gpt-image-2 · openai"], id="by-snapshot"
        ),
        pytest.param(
            "gpt-image-2.6-sunburst",
            [
                "as its sibling's, which is not confirmed: any whose edges",
                "named     not by azure's SDK",
            ],
            id="assumed",
        ),
        pytest.param(
            "chatgpt-image-latest",
            ["meaning   changes without notice", "sizes     not known"],
            id="moving",
        ),
        pytest.param(
            "dall-e-3",
            ["retires   2026-05-12", "sizes     1024x1024 1792x1024 1024x1792"],
            id="retired",
        ),
    ],
)
def test_everything_known_about_a_model_is_shown(
    model: str, lines: list[str], imagegate: Command
) -> None:
    ran = imagegate("catalogue", model)

    assert ran.code == 0
    for line in lines:
        assert line in ran.out


def test_aliases_are_shown() -> None:
    model = shipped.catalogue().provider("openai").models["gpt-image-2"]
    provider = shipped.catalogue().provider("openai")

    facts = _facts(provider, msgspec.structs.replace(model, aliases=("a", "b")))

    assert ("aliases", "a b") in list(facts)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpt-image-3", "nearest: gpt-image-2, "),
        ("GPT-Image-2", "nearest: gpt-image-2, "),
        ("flux", "known: chatgpt-image-latest, "),
    ],
)
def test_an_unknown_model_is_a_wrong_call(
    name: str, meant: str, imagegate: Command
) -> None:
    ran = imagegate("catalogue", name)

    assert (ran.code, ran.out) == (2, "")
    assert f"no image model is called '{name}'; {meant}" in ran.err


def test_the_catalogue_as_json(imagegate: Command) -> None:
    shown = json.loads(imagegate("catalogue", "--format", "json").out)

    assert shown["date"] == shipped.catalogue().date
    assert {name: set(each["models"]) for name, each in shown["providers"].items()} == {
        name: set(each.models) for name, each in shipped.catalogue().providers.items()
    }


def test_a_model_as_json(imagegate: Command) -> None:
    shown = json.loads(imagegate("catalogue", "gpt-image-2", "--format", "json").out)

    openai = shown["providers"]["openai"]
    assert openai["model"]["cells"]["input_fidelity"] == {"legal": [], "unknown": []}
    assert openai["fields"]["partial_images"]["maximum"] == 3
    assert "frames-need-gif" in [rule["id"] for rule in openai["rules"]]
