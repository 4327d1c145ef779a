from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec.structs import replace

from imagegate.cli.audit import query
from imagegate.cli.audit.columns import KINDS, columns
from imagegate.cli.audit.reports import REPORTS
from imagegate.engine.records import Record


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def ask(imagegate: Run, trail: Path) -> Callable[..., Any]:
    def call(*arguments: str) -> Any:
        ran = imagegate("audit", "query", *arguments, trail, "--format", "json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    return call


def test_images_are_counted_once_by_who_and_what(ask: Callable[..., Any]) -> None:
    rows = ask("images")

    found = [(r["day"], r["team"], r["model"], r["quality"], r["images"]) for r in rows]
    assert found == [
        ("2026-11-20", "design", "gpt-image-2", "low", 1),
        ("2026-11-20", "design", "gpt-image-2", "medium", 1),
        ("2026-11-21", "sales", "gpt-image-1-mini", "medium", 1),
    ]


def test_images_of_a_conversation_are_counted_where_nobody_else_told_of_them(
    imagegate: Run, asked: Callable[..., list[Record]], tmp_path: Path
) -> None:
    records = asked(1, "design", quality="low")
    (image,) = [r for r in records if r.event == "imagegate.image_finished"]
    again = {**msgspec.to_builtins(image), "type": "items", "response_id": None}
    unread = {**again, "item_id": "ig_9"}
    lines = [*map(msgspec.to_builtins, records), again, unread, unread]
    stamps = [
        {"time": f"2026-11-21T10:00:{n:02}.000000Z", "instance": "i1", "seq": n}
        for n in range(len(lines))
    ]
    written = [json.dumps(a | b) + "\n" for a, b in zip(stamps, lines, strict=True)]
    (tmp_path / "audit-1.jsonl").write_text("".join(written))

    command = "audit", "query", "images", "--by", "team", tmp_path, "--format", "json"
    (row,) = json.loads(imagegate(*command).out)

    assert row["images"] == 2


def test_what_was_made_in_the_background_is_counted_and_paid_once(
    imagegate: Run,
    asked: Callable[..., list[Record]],
    stamp: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """The request tells none, and each reading all of it, without a name if need be."""
    *begun, image, end = asked(1, "design", model="gpt-image-1-mini", quality="low")
    accepted = replace(end, outcome="accepted", images=0, cost_amount=None)
    read = [
        replace(record, decision_id=f"read-{number}", replay=True, **unnamed)
        for number in range(3)
        for record, unnamed in (
            (image, {"item_id": None, "output_index": 0, "model": None}),
            (end, {}),
        )
    ]
    (tmp_path / "audit-1.jsonl").write_bytes(stamp([*begun, accepted, *read], 21))

    def ask(report: str) -> Any:
        command = "audit", "query", report, "--by", "model", tmp_path
        return json.loads(imagegate(*command, "--format", "json").out)

    (made,), (spent,) = ask("images"), ask("cost")
    assert (made["model"], made["images"]) == ("gpt-image-1-mini", 1)
    assert (spent["model"], spent["images"]) == ("gpt-image-1-mini", 1)
    assert (spent["cost"], spent["unpriced"]) == ("0.005000", 0)


@pytest.mark.parametrize("report", ["images", "cost"])
def test_reports_of_parts_add_up_to_the_whole(
    report: str,
    imagegate: Run,
    asked: Callable[..., list[Record]],
    stamp: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """An answer is read again on another day, and by another team: that adds nothing.

    What a team asked for in the background is its own, whoever reads it first.
    """
    *begun, image, end = asked(1, "design", model="gpt-image-1-mini", quality="low")
    accepted = replace(end, outcome="accepted", images=0, cost_amount=None)

    def read(by: str) -> list[Record]:
        who = {"principal_id": f"u-{by}", "principal_team": (by,), "replay": True}
        return [replace(each, decision_id=f"{by}-1", **who) for each in (image, end)]

    days = {20: [*begun, accepted], 21: read("sales"), 22: read("press")}
    for day, records in days.items():
        file = tmp_path / f"audit-{day}.jsonl"
        file.write_bytes(stamp(records, day).replace(b'"i1"', b'"i%d"' % day))

    def ask(*options: str) -> Any:
        command = "audit", "query", report, *options, tmp_path, "--format", "json"
        return json.loads(imagegate(*command).out)

    (row,) = ask("--by", "day,team")
    assert (row["day"], row["team"], row["images"]) == ("2026-11-21", "design", 1)
    assert ask("--by", "day,team", "--team", "design") == [row]
    assert ask("--by", "day,team", "--since", "2026-11-21") == [row]
    assert ask("--by", "team", "--team", "sales") == []
    assert ask("--by", "team", "--since", "2026-11-22") == []
    assert ask("--by", "team", "--until", "2026-11-21") == []


def test_what_was_told_before_the_time_is_not_counted_in_it(
    imagegate: Run,
    asked: Callable[..., list[Record]],
    stamp: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """Though its exchange never ended, or only a conversation tells of it now."""
    *begun, image, end = asked(1, "design", quality="low")
    *more, other, ended = asked(2, "design", quality="low")
    days = {
        20: [*begun, image, *more, other, ended],
        21: [
            replace(image, decision_id="read", replay=True),
            replace(end, decision_id="read", replay=True),
            replace(other, decision_id="items", type="items", response_id=None),
            replace(ended, decision_id="items", response_id=None, images=0),
        ],
    }
    for day, records in days.items():
        file = tmp_path / f"audit-{day}.jsonl"
        file.write_bytes(stamp(records, day).replace(b'"i1"', b'"i%d"' % day))

    def ask(*options: str) -> Any:
        command = "audit", "query", "images", "--by", "day,model,team", *options
        return json.loads(imagegate(*command, tmp_path, "--format", "json").out)

    assert [row["images"] for row in ask()] == [2]
    assert ask("--until", "2026-11-21") == ask()
    assert ask("--since", "2026-11-21") == []


def test_dimensions_are_chosen(ask: Callable[..., Any]) -> None:
    assert ask("images", "--by", "team") == [
        {"team": "design", "images": 2, "bytes": 18, "mismatches": 0},
        {"team": "sales", "images": 1, "bytes": 9, "mismatches": 0},
    ]


def test_refusals_by_rule(ask: Callable[..., Any]) -> None:
    rule = "settings.moderation.allow"
    assert ask("refusals") == [{"rule": rule, "team": "sales", "requests": 1}]


def test_rewrites_by_rule(ask: Callable[..., Any]) -> None:
    rows = ask("rewrites", "--by", "rule,field")

    wanted = {"rule": "settings.quality.max", "field": "quality"}
    assert {**wanted, "requests": 2, "changes": 2} in rows


def test_what_a_candidate_would_have_decided_otherwise(ask: Callable[..., Any]) -> None:
    by = "decision,candidate,rule"
    assert ask("candidate", "--by", by) == [
        {
            "decision": "block",
            "candidate": "rewrite",
            "rule": "settings.quality.default",
            "requests": 1,
        },
        {
            "decision": "rewrite",
            "candidate": "block",
            "rule": "settings.quality.allow",
            "requests": 2,
        },
        {
            "decision": "rewrite",
            "candidate": "forward",
            "rule": "(none)",
            "requests": 1,
        },
    ]


def test_ends_by_outcome(ask: Callable[..., Any]) -> None:
    rows = ask("ends", "--by", "outcome")

    assert {row["outcome"]: row["exchanges"] for row in rows} == {
        "completed": 3,
        "refused": 1,
    }


def test_cost_by_the_price_table(ask: Callable[..., Any]) -> None:
    rows = ask("cost", "--by", "team,model")

    told = {"currency": "USD", "unpriced": 0}
    low, mini = {"images": 2, "cost": "0.059000"}, {"images": 1, "cost": "0.011000"}
    assert rows == [
        {"team": "design", "model": "gpt-image-2", **low, **told},
        {"team": "sales", "model": "gpt-image-1-mini", **mini, **told},
    ]


def test_the_time_is_bounded(ask: Callable[..., Any]) -> None:
    later = ask("images", "--by", "team", "--since", "2026-11-21")
    sooner = ask("images", "--by", "team", "--until", "2026-11-21")

    assert [row["team"] for row in later] == ["sales"]
    assert [row["team"] for row in sooner] == ["design"]


def test_a_team_is_chosen(ask: Callable[..., Any]) -> None:
    assert [
        row["team"] for row in ask("images", "--by", "team", "--team", "sales")
    ] == ["sales"]


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_runs_by_each_of_its_dimensions(
    name: str, ask: Callable[..., Any]
) -> None:
    for dimension in REPORTS[name].dimensions:
        ask(name, "--by", dimension)


def test_a_file_that_is_there_twice_is_counted_once(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    """Such as in a backup beside the trail, made before the file was whole."""
    file, early = trail / "audit-2.jsonl", tmp_path / "audit-2.jsonl"
    early.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))

    def ask(*files: Path) -> str:
        return imagegate("audit", "query", "rewrites", *files, "--format", "csv").out

    assert ask(file, early) == ask(early, file) == ask(file)


def test_a_statement_of_ones_own(ask: Callable[..., Any]) -> None:
    sql = "SELECT count(*) AS n FROM records WHERE event = 'imagegate.image_generating'"

    assert ask("sql", "--sql", sql) == [{"n": 3}]


def test_a_statement_cannot_read_other_files(imagegate: Run, trail: Path) -> None:
    ran = imagegate(
        "audit", "query", "sql", "--sql", "FROM read_text('/etc/hostname')", trail
    )

    assert ran.code == 2
    assert "imagegate:" in ran.err


def test_tables_and_csv(imagegate: Run, trail: Path) -> None:
    table = imagegate("audit", "query", "images", "--by", "team", trail)
    sheet = imagegate(
        "audit", "query", "images", "--by", "team", trail, "--format", "csv"
    )

    lines = [line.split() for line in table.out.splitlines()]
    assert lines == [
        ["team", "images", "bytes", "mismatches"],
        ["design", "2", "18", "0"],
        ["sales", "1", "9", "0"],
    ]
    rows = list(csv.reader(io.StringIO(sheet.out)))
    assert rows[1:] == [["design", "2", "18", "0"], ["sales", "1", "9", "0"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["query", "pictures", "."], "there is no report 'pictures'; known: images"),
        (["query", "pictures", "."], "cost, ends, sql"),
        (["query", "images", "--by", "colour", "."], "cannot be told by 'colour'"),
        (["query", "sql", "."], "--sql"),
        (["query", "images", "--sql", "SELECT 1", "."], "--sql"),
        (["query", "images", "/nowhere"], "there is no file or folder '/nowhere'"),
        (["tail", "tests/cli"], "no files of an audit trail there"),
    ],
)
def test_wrong_calls_say_what_would_be_right(
    arguments: list[str], said: str, imagegate: Run
) -> None:
    ran = imagegate("audit", *arguments)

    assert ran.code == 2
    assert said in ran.err


def test_a_line_that_is_no_record_is_named_and_not_shown(
    imagegate: Run, tmp_path: Path
) -> None:
    file = tmp_path / "audit-1.jsonl"
    file.write_text('{"event":"a"}\n{"event":"secret-cana\n')

    ran = imagegate("audit", "query", "ends", file)

    assert ran.code == 2
    assert "audit-1.jsonl" in ran.err
    assert "in line" in ran.err
    assert "secret" not in ran.err


def test_every_field_of_every_record_is_a_column() -> None:
    fields = {name for kind in KINDS for name in kind.__struct_fields__}

    assert fields <= set(columns())
    assert columns()["principal_team"] == "VARCHAR[]"
    assert columns()["tools"] == "JSON"
    assert columns()["duration_ms"] == "DOUBLE"
    assert columns()["lost"] == "BIGINT"  # of what the log says about itself


@pytest.mark.parametrize(("times", "code"), [(1, 0), (5, 2)])
def test_files_that_are_packed_while_they_are_read_are_listed_anew(
    times: int,
    code: int,
    imagegate: Run,
    trail: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listings = [[trail / "gone.jsonl"]] * times + [sorted(trail.iterdir())]
    monkeypatch.setattr(query, "trail_files", lambda _: listings.pop(0))

    ran = imagegate("audit", "query", "ends", trail)

    assert ran.code == code
    assert ("completed" in ran.out) == (code == 0)


def test_a_report_with_nothing_in_it_has_its_heads(imagegate: Run, trail: Path) -> None:
    """What would be told is seen, and that there is none of it."""
    ran = imagegate("audit", "query", "images", "--team", "nobody", trail)

    heads = ["day", "team", "model", "quality", "images", "bytes", "mismatches"]
    assert (ran.code, ran.out.split()) == (0, heads)
