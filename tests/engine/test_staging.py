"""Files by what they are for, and batches by the files that they run."""

from __future__ import annotations

from typing import Any

import pytest
from asking import (
    CATALOGUE,
    DESIGN,
    HEADER,
    TODAY,
    Answer,
    ask,
    body,
    door,
    policy,
    tool,
)

from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Forward, JudgedTool, Rewrite
from imagegate.engine.request import Request

OPEN = "surface: { files: enforce, batches: enforce }\n"
UPLOAD = "POST /v1/files"
BATCH = "POST /v1/batches"
SEEN = "file-1@/responses"
ASKED = {"input_file_id": "file-1", "endpoint": "/v1/responses"}
NOTHING = Forward()


def upload(
    purpose: object, staged: Decision | None = None, rules: str = "", **members: object
) -> Answer:
    match = door(UPLOAD)
    value: dict[str, Any] = {"file": {"file": True}, **members}
    if purpose is not None:
        value["purpose"] = purpose
    asked = Request(
        match=match,
        date=TODAY,
        body=body(value, match),
        principal=DESIGN,
        staged=staged,
    )
    decider = Decider(policy(OPEN + rules), CATALOGUE)
    return Answer(decision=decider.decide(asked), data=None)


# -- files --------------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["assistants", "fine-tune", "user_data", "vision"])
def test_a_file_that_runs_nothing_goes_on(purpose: str) -> None:
    assert upload(purpose).word == "forward"


@pytest.mark.parametrize("purpose", ["evals", "Batch", "", None, 7, ["batch"], "other"])
def test_a_file_whose_purpose_is_not_known_to_be_harmless_is_refused(
    purpose: object,
) -> None:
    found = upload(purpose, NOTHING)
    assert (found.word, found.rules) == ("block", ["always.purpose"])
    assert found.pointers == ["/purpose"]


def test_a_batch_file_that_nobody_has_read_is_refused() -> None:
    assert upload("batch").rules == ["always.purpose"]
    assert upload("batch", NOTHING).word == "forward"


def test_a_batch_file_comes_with_nothing_that_could_be_another() -> None:
    known: dict[str, Any] = {"expires_after": {"anchor": "created_at", "seconds": 3600}}
    assert upload("batch", NOTHING, **known).word == "forward"
    found = upload("batch", NOTHING, data={"file": True})
    assert (found.word, found.rules) == ("block", ["always.batch"])
    assert found.pointers == ["/data"]


def test_what_was_decided_on_the_lines_is_decided() -> None:
    line = ask("tool: block", {"input": "x", "tools": [tool()]}).decision
    assert isinstance(line, Block)

    assert upload("batch", line).rules == ["tool"]


def test_a_purpose_is_held_against_in_observe_mode_too() -> None:
    match = door(UPLOAD)
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    asked = Request(match=match, date=TODAY, body=body({"purpose": "evals"}, match))
    decider = Decider(policy(OPEN, head=head), CATALOGUE)

    assert isinstance(decider.decide(asked), Block)


IMAGE = Forward(
    tools=(JudgedTool(pointer="", carrier="", requested={}, effective={}, enforced={}),)
)


@pytest.mark.parametrize(
    ("what", "staged", "refused"),
    [
        ("images", IMAGE, True),
        ("images", NOTHING, False),
        ("requests", IMAGE, True),
        ("requests", NOTHING, True),
    ],
)
def test_what_a_quota_counts_is_not_staged(
    what: str, staged: Decision, *, refused: bool
) -> None:
    rules = f"quotas: {{ {what}: {{ principal: {{ day: {{ max: 5 }} }} }} }}\n"
    found = upload("batch", staged, rules)

    line = f"quotas.{what}.principal.day.max"
    assert found.rules == ([line] if refused else [])
    assert upload("vision", rules=rules).word == "forward"


# -- batches ------------------------------------------------------------------------


def test_a_batch_runs_a_file_that_was_judged_for_its_route() -> None:
    said = {"completion_window": "24h", "metadata": {"tools": "of the trade"}}
    said["output_expires_after"] = {"anchor": "created_at", "seconds": 3600}

    assert ask(OPEN, ASKED | said, at=BATCH, seen=[SEEN]).word == "forward"
    bare = ASKED | {"endpoint": "/responses"}
    assert ask(OPEN, bare, at=BATCH, seen=[SEEN]).word == "forward"


@pytest.mark.parametrize(
    "value",
    [
        ASKED | {"endpoint": "/v1/images/generations"},
        ASKED | {"endpoint": None},
        ASKED | {"input_file_id": "file-2"},
        ASKED | {"input_file_id": ["file-1"]},
        ASKED | {"input_file_id": "file-1@/v1/responses", "endpoint": ""},
        {"endpoint": "/v1/responses"},
        {},
    ],
)
def test_a_batch_of_a_file_that_nobody_judged_is_refused(value: dict[str, Any]) -> None:
    found = ask(OPEN, value, at=BATCH, seen=[SEEN])
    assert found.rules == ["always.batch"]
    assert found.pointers == ["/input_file_id"]


@pytest.mark.parametrize("key", ["input_blob", "output_folder", "tools", "model", "x"])
def test_a_batch_names_its_lines_in_one_way_only(key: str) -> None:
    """Azure takes them from a store of blobs as well."""
    found = ask(OPEN, ASKED | {key: None}, at=BATCH, seen=[SEEN])
    assert found.pointers == [f"/{key}"]


def test_both_routes_are_closed_unless_a_policy_opens_them() -> None:
    for at in (UPLOAD, BATCH, "GET /v1/files/file-1/content", "GET /v1/batches/b"):
        value = ASKED if at.startswith("POST") else None
        assert ask("", value, at=at, seen=[SEEN]).rules[0].startswith("surface.")


@pytest.mark.parametrize(
    "at",
    [
        "GET /v1/files",
        "GET /v1/files/file-1",
        "GET /v1/files/file-1/content",
        "DELETE /v1/files/file-1",
        "GET /v1/batches",
        "GET /v1/batches/batch_1",
        "POST /v1/batches/batch_1/cancel",
        "GET /openai/files/file-1/content",
    ],
)
def test_what_only_looks_goes_on(at: str) -> None:
    assert ask(OPEN, None, at=at).word == "forward"


@pytest.mark.parametrize("at", ["POST /v1/files/import", "PUT /v1/batches/b"])
def test_what_nobody_knows_there_stays_closed(at: str) -> None:
    assert ask(OPEN, {}, at=at).rules[0].startswith("surface.")


@pytest.mark.parametrize(
    "at", ["POST /openai/v1/files", "POST /openai/v1/batches", "GET /openai/v1/files"]
)
def test_no_header_names_an_image_deployment_for_lines(at: str) -> None:
    """They were judged without one, and the provider may believe it all the same."""
    match, seen = door(at), frozenset({SEEN})
    value = ASKED if "batches" in at else {"purpose": "vision", "file": {"file": True}}
    asked = Request(
        match=match,
        date=TODAY,
        body=None if at.startswith("GET") else body(value, match),
        headers=((HEADER, "img-dear"),),
        seen=seen,
    )
    decision = Decider(policy(OPEN), CATALOGUE).decide(asked)

    assert isinstance(decision, Rewrite)
    assert decision.headers == {HEADER: None}


@pytest.mark.parametrize(
    ("at", "passes"), [("GET /v1/files", True), (UPLOAD, False), (BATCH, False)]
)
def test_files_are_listed_by_what_they_are_for(at: str, *, passes: bool) -> None:
    """In the query of an upload it would be a second purpose."""
    asked = Request(match=door(at), date=TODAY, query="limit=3&purpose=batch")
    decision = Decider(policy(OPEN), CATALOGUE).decide(asked)

    assert (decision == Forward()) is passes
