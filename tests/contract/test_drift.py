from __future__ import annotations

import importlib.util
import subprocess
import sys
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from openai.types.responses.input_token_count_params import InputTokenCountParams
from openai.types.responses.response_compact_params import ResponseCompactParams
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from imagegate.engine.body import TOP_KEYS
from imagegate.shipped import catalogue
from imagegate.simulator.request import COMPACT, COUNT, CREATE

if TYPE_CHECKING:
    from imagegate.engine.catalogue import Catalogue

SCRIPT = Path(__file__).with_name("drift.py")
replace = msgspec.structs.replace


def load() -> Any:
    # The folders of tests are no packages; this is how the script is a module.
    spec = importlib.util.spec_from_file_location("drift", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drift"] = module
    spec.loader.exec_module(module)
    return module


drift = load()


def with_fields(provider: str, table: str, **fields: Any) -> Catalogue:
    """Return the catalogue with some fields replaced, or left out when None."""
    shipped = catalogue()
    row = shipped.provider(provider)
    merged = {**getattr(row, table), **fields}
    kept = {path: field for path, field in merged.items() if field is not None}
    return replace(
        shipped,
        providers={**shipped.providers, provider: replace(row, **{table: kept})},
    )


def test_the_catalogue_knows_everything_the_locked_sdks_name() -> None:
    assert drift.unknown_to_catalogue() == []


def test_the_catalogue_claims_nothing_of_the_locked_sdks_that_they_do_not_name() -> (
    None
):
    assert drift.unknown_to_sdks() == []


def test_the_reader_of_bodies_knows_every_key_of_the_locked_sdk() -> None:
    assert drift.unknown_keys() == []


def test_the_simulator_takes_every_key_of_the_locked_sdk() -> None:
    assert typing.get_type_hints(ResponseCreateParamsBase).keys() <= CREATE
    assert typing.get_type_hints(ResponseCompactParams).keys() <= COMPACT
    assert typing.get_type_hints(InputTokenCountParams).keys() <= COUNT


def test_a_key_that_the_reader_lacks_is_reported_with_its_type() -> None:
    assert drift.unknown_keys(TOP_KEYS - {"items"}) == [
        "openai request: items is not known (ConversationCreateParams)",
        "openai request: items is not known (ItemCreateParams)",
    ]


def test_the_script_says_which_versions_it_compared() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "openai 3." in done.stdout
    assert "azure-ai-projects 2." in done.stdout
    assert "0 unknown" in done.stdout


@pytest.mark.parametrize(
    ("provider", "table", "path", "cut", "expected"),
    [
        ("openai", "fields", "quality", "xhigh", "openai tool: quality 'xhigh'"),
        ("openai", "fields", "svg.reasoning.effort", "none", "effort 'none' is not"),
        ("openai", "images_api", "quality", "hd", "openai images_api: quality 'hd'"),
        ("azure", "fields", "action", "edit", "azure tool: action 'edit' is not"),
        ("azure", "fields", "input_fidelity", "low", "input_fidelity 'low' is not"),
    ],
)
def test_a_word_the_catalogue_lacks_is_reported_and_nothing_else(
    provider: str, table: str, path: str, cut: str, expected: str
) -> None:
    field = getattr(catalogue().provider(provider), table)[path]
    less = replace(field, words=tuple(word for word in field.words if word != cut))

    found = drift.unknown_to_catalogue(with_fields(provider, table, **{path: less}))

    assert found
    assert all(expected in line for line in found)


@pytest.mark.parametrize(
    ("provider", "table", "path"),
    [
        ("openai", "fields", "frame_count"),
        ("openai", "fields", "svg.reasoning.effort"),
        ("openai", "images_api", "markup"),
        ("azure", "fields", "tool_configs"),
        ("azure", "fields", "input_image_mask.file_id"),
    ],
)
def test_a_field_the_catalogue_lacks_is_reported_and_nothing_else(
    provider: str, table: str, path: str
) -> None:
    found = drift.unknown_to_catalogue(with_fields(provider, table, **{path: None}))

    assert found
    assert all(f": {path} is not in the catalogue" in line for line in found)


def test_a_model_the_catalogue_lacks_is_reported() -> None:
    shipped = catalogue()
    row = shipped.provider("azure")
    models = {key: row.models[key] for key in row.models if key != "gpt-image-1.5"}
    azure = replace(row, models=models)

    found = drift.unknown_to_catalogue(
        replace(shipped, providers={**shipped.providers, "azure": azure})
    )

    assert found == [
        "azure tool: model 'gpt-image-1.5' is not in the catalogue (ImageGenTool)"
    ]


def test_what_a_provider_has_learnt_since_is_reported() -> None:
    fields = catalogue().provider("azure").fields
    stale = with_fields(
        "azure",
        "fields",
        action=replace(fields["action"], unlisted=("edit",)),
        moderation=replace(fields["moderation"], known=False),
    )

    assert drift.unknown_to_catalogue(stale) == [
        "azure tool: moderation is marked as unknown to the types (ImageGenTool)",
        "azure tool: action 'edit' is not in the catalogue (ImageGenTool)",
    ]


def test_what_no_sdk_names_is_information() -> None:
    fields = catalogue().provider("openai").fields
    quality = replace(fields["quality"], words=(*fields["quality"].words, "ultra"))
    more = with_fields("openai", "fields", quality=quality, zzz=fields["svg"])

    assert drift.unknown_to_sdks(more) == [
        "openai tool: quality 'ultra' is named by no SDK",
        "openai tool: zzz is named by no SDK",
    ]
    assert drift.unknown_to_catalogue(more) == []


def test_a_class_that_has_moved_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ("openai", "tool", "openai.types.responses.tool_param", "Gone")
    monkeypatch.setattr(drift, "TYPES", (*drift.TYPES, gone))

    assert drift.unknown_to_catalogue() == [
        "openai: there is no Gone in openai.types.responses.tool_param"
    ]
