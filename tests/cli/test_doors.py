from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagegate.engine.surface import DOORS


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]

TOOL: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"enum": ["image_generation"]}, "quality": {}},
}


def spec_of(
    tmp_path: Path, paths: object, server: str = "https://a.example/v1"
) -> Path:
    """Write a document whose schemas are the tool, alone and among others."""
    schemas = {
        "Tool": TOOL,
        "Any": {"oneOf": [{"type": "object"}, {"$ref": "#/components/schemas/Tool"}]},
        "Tools": {"type": "array", "items": {"$ref": "#/components/schemas/Any"}},
        "Item": {
            "properties": {
                "tools": {"$ref": "#/components/schemas/Tools"},
                "parent": {"$ref": "#/components/schemas/Item"},
            }
        },
    }
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": server}],
        "paths": paths,
        "components": {"schemas": schemas},
    }
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document))
    return file


def body(**properties: object) -> dict[str, Any]:
    schema = {"properties": properties}
    content = {"application/json": {"schema": schema}}
    return {"post": {"requestBody": {"content": content}}}


TOOLS = {"$ref": "#/components/schemas/Tools"}
ITEMS = {
    "anyOf": [{"type": "string"}, {"items": {"$ref": "#/components/schemas/Item"}}]
}


def test_every_door_is_shown_with_its_stance(imagegate: Run) -> None:
    rows = json.loads(imagegate("doors", "-p", "standard", "--format", "json").out)

    assert [row["door"] for row in rows] == [door.name for door in DOORS]
    by_name = {row["door"]: row for row in rows}
    create = by_name["responses.create"]
    assert create["stance"] == "enforce"
    assert {"/tools", "/input/*/tools", "/tool_choice"} <= set(create["looked_at"])
    assert "/openai/v1/responses" in create["routes"]
    header = "header x-ms-oai-image-generation-deployment"
    assert {header, "versions and previews"} <= set(create["looked_at"])
    assert by_name["responses.retrieve"]["looked_at"] == ["versions and previews"]
    assert header not in by_name["agents.versions.create"]["looked_at"]
    assert by_name["batches"]["stance"] == "refuse"
    assert "one by one" in by_name["batches"]["why"]
    assert by_name["chat_completions"]["stance"] == "pass"


def test_the_mode_of_the_policy_is_told(
    imagegate: Run, policy_file: Callable[[str], Path]
) -> None:
    """Under `observe`, what is judged is refused nowhere."""
    told = imagegate("doors", "-p", policy_file("tool: block\n")).out

    assert "(enforce): a route that is not here is refused" in told


def test_the_policy_says_what_is_done(
    imagegate: Run, policy_file: Callable[[str], Path]
) -> None:
    file = policy_file("surface: { batches: pass, images_api: refuse }\n")

    text = imagegate("doors", "-p", file).out

    lines = {line.split()[0]: line for line in text.splitlines()[1:] if line.strip()}
    assert "passes unseen" in lines["batches.*"]
    assert "refused" in lines["images_api.*"]


def test_an_interface_is_held_against_the_table(imagegate: Run, tmp_path: Path) -> None:
    paths = {
        "/responses": body(tools=TOOLS, input=ITEMS),
        "/conversations/{id}/items": body(
            items={"items": {"$ref": "#/components/schemas/Item"}}
        ),
        "/batches": body(tools=TOOLS),
        "/nowhere": body(tools=TOOLS),
        "/images/generations": body(prompt={}, quality={}, size={}),
    }

    ran = imagegate(
        "doors",
        "-p",
        "standard",
        "--spec",
        spec_of(tmp_path, paths),
        "--format",
        "json",
    )

    assert ran.code == 0
    found = {(f["path"], f["pointer"]): f["what"] for f in json.loads(ran.out)}
    assert found == {
        ("/v1/responses", "/tools/*"): "enforced at responses.create",
        ("/v1/responses", "/input/*/tools/*"): "enforced at responses.create",
        ("/v1/conversations/x/items", "/items/*/tools/*"): (
            "enforced at conversations.items.create"
        ),
        ("/v1/batches", "/tools/*"): "refused at batches.create",
        ("/v1/nowhere", "/tools/*"): "refused: no such route",
        ("/v1/images/generations", ""): "enforced at images.generations",
    }


@pytest.mark.parametrize(
    ("route", "what"),
    [
        ("/responses", "NOT LOOKED AT by responses.create"),
        ("/chat/completions", "PASSES UNSEEN at chat_completions"),
    ],
)
def test_an_open_carrier_fails(
    route: str, what: str, imagegate: Run, tmp_path: Path
) -> None:
    file = spec_of(tmp_path, {route: body(helpers=TOOLS)})

    ran = imagegate("doors", "-p", "standard", "--spec", file)

    assert ran.code == 1
    assert what in ran.out
    assert "/helpers/*" in ran.out


def test_a_door_that_the_policy_opened_by_name_is_no_failure(
    imagegate: Run, tmp_path: Path, policy_file: Callable[[str], Path]
) -> None:
    file = spec_of(tmp_path, {"/batches": body(tools=TOOLS)})
    policy = policy_file("surface: { batches: pass }\n")

    ran = imagegate("doors", "-p", policy, "--spec", file)

    assert ran.code == 0
    assert "PASSES UNSEEN at batches" in ran.out


def test_an_azure_document_may_have_a_variable_for_its_server(
    imagegate: Run, tmp_path: Path
) -> None:
    server = "{endpoint}/openai/v1"
    file = spec_of(tmp_path, {"/responses": body(tools=TOOLS)}, server)

    ran = imagegate("doors", "-p", "standard", "--spec", file)

    assert "POST /openai/v1/responses" in ran.out
    assert "enforced at responses.create" in ran.out


def test_a_document_without_carriers_says_so(imagegate: Run, tmp_path: Path) -> None:
    ran = imagegate("doors", "-p", "standard", "--spec", spec_of(tmp_path, {}))

    assert ran.code == 0
    assert "nothing in it can carry the tool" in ran.out


@pytest.mark.parametrize(
    "text",
    ["", "[", "a: 1", "paths: 3", "paths: !!python/x 1", "paths: " + "[" * 60_000],
    ids=["empty", "open", "without", "number", "tag", "deep"],
)
def test_what_is_no_document_is_said(text: str, imagegate: Run, tmp_path: Path) -> None:
    file = tmp_path / "openapi.yaml"
    file.write_text(text)

    ran = imagegate("doors", "-p", "standard", "--spec", file)

    assert ran.code == 2
    assert "is no OpenAPI document" in ran.err


def test_a_document_that_cannot_be_read_is_said(imagegate: Run, tmp_path: Path) -> None:
    ran = imagegate("doors", "-p", "standard", "--spec", tmp_path)

    assert ran.code == 2
    assert "Is a directory" in ran.err
    assert "Errno" not in ran.err
