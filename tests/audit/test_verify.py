"""The verifier sees what was done to the files, and says what it cannot see."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import journal
from making import QUICK, completion, decision

from imagegate.audit.chain import (
    Head,
    entries_of,
    first_head,
    hash_of,
    link,
    read_line,
)
from imagegate.audit.events import (
    CheckpointRecord,
    ClosedRecord,
    OpenedRecord,
    RetiredFile,
    RetiredRecord,
    Written,
)
from imagegate.audit.logfile import files_in
from imagegate.audit.report import Report
from imagegate.audit.verify import read_checkpoints, verify

OPTIONS = msgspec.structs.replace(QUICK, rotate_bytes=4000)


@functools.cache
def trail() -> tuple[dict[str, bytes], tuple[CheckpointRecord, ...]]:
    """Return the files of a journal, and the checkpoints that went elsewhere."""
    taken: list[CheckpointRecord] = []

    async def write(directory: Path) -> None:
        async with journal(directory, options=OPTIONS, witness=taken.append) as audit:
            for number in range(12):
                await audit.write([decision(f"d{number}"), completion(f"d{number}")])

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(write(Path(name)))
        files = {path.name: path.read_bytes() for path in files_in(Path(name))}
    assert len(files) > 3
    return files, tuple(taken)


def verified(
    files: dict[str, bytes],
    checkpoints: tuple[CheckpointRecord, ...] = (),
    *,
    partial: bool = False,
) -> Report:
    with tempfile.TemporaryDirectory() as name:
        for each, data in files.items():
            Path(name, each).write_bytes(data)
        return verify([Path(name)], checkpoints=checkpoints, partial=partial)


def names() -> st.SearchStrategy[str]:
    return st.deferred(lambda: st.sampled_from(sorted(trail()[0])))


def numbers() -> st.SearchStrategy[int]:
    return st.integers(min_value=0, max_value=10**6)


def place(report: Report) -> tuple[str, int | None, str]:
    [problem] = report.problems
    assert problem.file is not None
    return problem.kind, problem.line, problem.file.name


def test_what_was_not_touched_is_proved() -> None:
    files, checkpoints = trail()

    assert verified(files).ok
    assert verified(files, checkpoints).ok


@given(name=names(), at=numbers(), to=st.binary(max_size=3), take=st.integers(0, 3))
def test_any_edit_is_seen_up_to_the_last_checkpoint(
    name: str, at: int, to: bytes, take: int
) -> None:
    files, checkpoints = trail()
    data = files[name]
    at %= len(data)
    changed = data[:at] + to + data[at + take :]

    report = verified({**files, name: changed}, checkpoints)

    assert report.ok == (changed == data)


@given(name=names(), at=numbers(), to=st.binary(min_size=1, max_size=1))
def test_any_edit_before_the_last_line_is_seen_and_placed_without_a_checkpoint(
    name: str, at: int, to: bytes
) -> None:
    files, _ = trail()
    data = files[name]
    at %= data.rindex(b"\n", 0, -1) + 1
    changed = data[:at] + to + data[at + 1 :]
    if changed == data:
        return

    report = verified({**files, name: changed})

    _, line, file = place(report)
    edited = data.count(b"\n", 0, at) + 1
    assert file == name
    # A line whose `prev` or newline was changed may be told from either side.
    assert line in (edited - 1, edited, edited + 1)


@given(name=names(), first=numbers(), count=st.integers(1, 3))
def test_any_line_that_was_taken_out_is_missed(
    name: str, first: int, count: int
) -> None:
    files, checkpoints = trail()
    lines = files[name].splitlines(keepends=True)
    first %= len(lines)
    left = lines[:first] + lines[first + count :]

    report = verified({**files, name: b"".join(left)}, checkpoints)

    assert not report.ok


@given(name=names(), one=numbers(), other=numbers())
def test_any_line_that_was_moved_is_seen(name: str, one: int, other: int) -> None:
    files, checkpoints = trail()
    lines = files[name].splitlines(keepends=True)
    line = lines.pop(one % len(lines))
    lines.insert(other % (len(lines) + 1), line)
    moved = b"".join(lines)

    assert verified({**files, name: moved}, checkpoints).ok == (moved == files[name])


@given(
    name=names(),
    at=numbers(),
    line=st.one_of(
        st.just(b"\n"),
        st.binary(max_size=20).map(lambda data: data + b"\n"),
        st.deferred(
            lambda: st.sampled_from(
                b"".join(trail()[0].values()).splitlines(keepends=True)
            )
        ),
    ),
)
def test_any_line_that_was_put_in_is_seen(name: str, at: int, line: bytes) -> None:
    files, checkpoints = trail()
    lines = files[name].splitlines(keepends=True)
    lines.insert(at % (len(lines) + 1), line)

    assert not verified({**files, name: b"".join(lines)}, checkpoints).ok


@given(name=names(), at=numbers())
def test_any_truncation_is_seen_up_to_the_last_checkpoint(name: str, at: int) -> None:
    files, checkpoints = trail()
    data = files[name]

    assert not verified({**files, name: data[: at % len(data)]}, checkpoints).ok


@given(name=names())
def test_a_file_that_is_gone_is_missed(name: str) -> None:
    files, checkpoints = trail()
    left = {each: data for each, data in files.items() if each != name}
    last = name == max(files)

    assert not verified(left, checkpoints).ok
    assert verified(left).ok == last, "the end alone can go unseen"


def test_a_chain_that_is_gone_is_missed_when_a_checkpoint_names_it() -> None:
    _, checkpoints = trail()

    report = verified({}, checkpoints)

    [problem] = report.problems
    assert (problem.kind, problem.instance) == ("missing", checkpoints[0].chain)


def test_what_was_cut_off_without_a_checkpoint_is_said_to_be_unseen() -> None:
    files, _ = trail()
    last = max(files)
    cut = files[last][: files[last].rindex(b"\n", 0, -1) + 1]

    report = verified({**files, last: cut})

    assert report.ok
    assert any("could have been cut off" in each for each in report.unseen)
    assert any("without being closed" in each for each in report.unseen)
    assert report.files[-1].state == "unclosed"


def test_a_chain_that_goes_on_in_a_file_that_is_gone_is_said_to() -> None:
    files, _ = trail()
    *kept, last = sorted(files)

    report = verified({name: files[name] for name in kept})
    assert report.ok
    assert [said for said in report.unseen if said.startswith(kept[-1])] == [
        f"{kept[-1]}: the file behind it, for there was one"
    ]

    begun = verified({**files, last: b""})
    assert [said for said in begun.unseen if kept[-1] in said] == []


def test_what_is_left_out_on_purpose_is_missed_by_nobody() -> None:
    """Whoever gets some files can hold them against all the checkpoints."""
    files, checkpoints = trail()
    names = sorted(files)
    some = {name: files[name] for name in (names[1], names[3])}

    report = verified(some, checkpoints, partial=True)
    assert report.problems == ()
    unseen = "\n".join(report.unseen)
    assert f"{names[1]}: the file before it is not here: {names[0]}" in unseen
    assert f"{names[3]}: the file before it is not here: {names[2]}" in unseen
    assert f"{len(checkpoints)} checkpoints from elsewhere" in unseen
    assert verified({}, checkpoints, partial=True).ok


def test_what_is_missing_in_a_file_that_was_not_left_out_is_missed() -> None:
    files, checkpoints = trail()
    last = max(files)
    short = {last: files[last].splitlines(keepends=True)[0]}

    assert verified({last: files[last]}, checkpoints, partial=True).ok
    [problem] = verified(short, checkpoints, partial=True).problems
    assert problem.kind == "truncated"


def test_of_a_file_that_is_broken_nothing_is_said_of_the_end() -> None:
    files, _ = trail()
    last = max(files)
    lines = files[last].splitlines(keepends=True)

    for broken in (b"".join([lines[0], *lines[2:]]), b"{}\n", b"x"):
        report = verified({**files, last: broken})
        assert not report.ok
        assert report.files[-1].state == "broken"
        assert not any("died" in said for said in report.unseen)


def test_processes_that_nobody_vouches_for_are_told_together() -> None:
    one, _ = forged(FIRST, opened())
    other = one.replace(INSTANCE.encode(), b"f" * 16)
    both = {name_of(0): one, name_of(0).replace(INSTANCE, "f" * 16): other}

    told = [said for said in verified(both).unseen if "anew" in said]
    assert len(told) == 1
    assert told[0].startswith("all lines of 2 processes could")


def test_a_chain_computed_anew_contradicts_the_checkpoints() -> None:
    files, checkpoints = trail()
    instance = checkpoints[0].chain
    opened = OpenedRecord(reason="started", file=min(files), genesis="0" * 64)
    entries = entries_of([opened, *(decision(f"x{n}") for n in range(50))])
    forged, _ = link(first_head(instance), instance, entries)
    report = verified({min(files): b"".join(forged)})
    assert report.ok

    report = verified({min(files): b"".join(forged)}, checkpoints)

    assert [problem.kind for problem in report.problems] == ["edited"]


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        (
            lambda x: [*x[:2], x[2].replace(b'"enforce"', b'"observe"'), *x[3:]],
            "edited",
            3,
        ),
        (lambda x: [*x[:2], *x[3:]], "missing", 3),
        (lambda x: [x[0], x[2], x[1], *x[3:]], "reordered", 2),
        (lambda x: [*x[:2], x[1], *x[2:]], "repeated", 3),
        (lambda x: [*x[:2], b"hello\n", *x[2:]], "not-json", 3),
        (lambda x: [*x[:2], x[2][:40] + b"\n", *x[3:]], "not-json", 3),
        (lambda x: [*x[:-1], x[-1][:-1]], "torn", -1),
        (lambda x: [*x[:-1], x[-1][:-9]], "torn", -1),
        (lambda x: [*x, b"{}\n"], "after-the-end", 0),
        (lambda x: x[1:], "not-the-beginning", 1),
        (lambda x: x[:-2], "truncated", -1),
    ],
)
def test_the_first_bad_line_is_named(change: object, kind: str, line: int) -> None:
    files, _ = trail()
    name = min(files)
    lines = files[name].splitlines(keepends=True)
    assert callable(change)
    expected = line if line > 0 else len(lines) + line + 1
    if kind in {"torn", "truncated"}:
        expected = len(lines) if kind == "torn" else len(lines) - 1

    report = verified({**files, name: b"".join(change(lines))})

    assert place(report) == (kind, expected, name)


def test_files_are_put_in_order_by_what_is_in_them() -> None:
    files, checkpoints = trail()
    renamed = {f"{9 - n}.jsonl": data for n, data in enumerate(files.values())}
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name, each) for each in renamed]
        for path in paths:
            path.write_bytes(renamed[path.name])

        assert verify(paths, checkpoints=checkpoints).ok
        assert not verify(paths[1:]).ok
        assert verify(paths[1:], partial=True).ok


def test_a_compressed_file_that_is_broken_is_named(tmp_path: Path) -> None:
    from imagegate.zstd import zstd  # noqa: PLC0415 - only here

    files, _ = trail()
    for name, data in files.items():
        (tmp_path / f"{name}.zst").write_bytes(zstd.compress(data))
    assert verify([tmp_path]).ok
    first = files_in(tmp_path)[0]
    first.write_bytes(first.read_bytes()[:-20])

    [problem] = verify([tmp_path]).problems

    assert (problem.kind, problem.file) == ("unreadable", first)


def test_a_file_that_is_there_twice_is_read_as_one(tmp_path: Path) -> None:
    from imagegate.zstd import zstd  # noqa: PLC0415 - only here

    files, _ = trail()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / f"{name}.zst").write_bytes(zstd.compress(data))

    assert verify([tmp_path]).ok


def test_a_copy_that_was_made_while_the_file_grew_is_part_of_it(tmp_path: Path) -> None:
    """So does whoever copies now and then, and removes nothing."""
    from imagegate.zstd import zstd  # noqa: PLC0415 - only here

    files, checkpoints = trail()
    for name, data in files.items():
        (tmp_path / f"{name}.zst").write_bytes(zstd.compress(data))
    name = sorted(files)[1]
    lines = files[name].splitlines(keepends=True)
    early = tmp_path / name
    early.write_bytes(b"".join(lines[:2]))
    whole = verified(files, checkpoints)

    report = verify([tmp_path], checkpoints=checkpoints)
    assert (report.ok, report.lines) == (True, whole.lines)
    assert [each.last_hash for each in report.files] == [
        each.last_hash for each in whole.files
    ]

    with tempfile.TemporaryDirectory() as elsewhere:
        moved = early.rename(Path(elsewhere, early.name))
        assert verify([tmp_path, moved]).ok
        assert verify([moved, tmp_path]).ok


@pytest.mark.parametrize("change", [b"{}\n", b"x"], ids=["a line", "a piece"])
def test_a_copy_with_anything_else_in_it_is_none(change: bytes, tmp_path: Path) -> None:
    files, _ = trail()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    name = min(files)
    other = tmp_path / "copy" / name
    other.parent.mkdir()
    other.write_bytes(b"".join(files[name].splitlines(keepends=True)[:2]) + change)

    assert not verify([tmp_path, other]).ok


def test_a_copy_that_went_on_otherwise_is_a_fork(tmp_path: Path) -> None:
    start, head = forged(FIRST, opened())
    one, _ = forged(head, decision("a"), completion("a"))
    other, _ = forged(head, decision("b"))
    paths = [tmp_path / "one" / name_of(0), tmp_path / "other" / name_of(0)]
    for path, data in zip(paths, (one, other), strict=True):
        path.parent.mkdir()
        path.write_bytes(start + data)

    [problem] = verify(paths).problems
    assert problem.kind == "forked"


def test_checkpoints_are_found_in_any_log() -> None:
    _, checkpoints = trail()
    lines = [b"listening", *map(msgspec.json.encode, checkpoints), b"{", b"\xff"]

    assert tuple(read_checkpoints(lines)) == checkpoints


def test_progress_tells_of_each_line(tmp_path: Path) -> None:
    files, _ = trail()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    told: list[int] = []

    report = verify([tmp_path], progress=told.append)

    assert sum(told) == report.lines


# -- forgeries whose hashes are right ----------------------------------------------

INSTANCE = "0123456789abcdef"
FIRST = first_head(INSTANCE)


def name_of(number: int) -> str:
    return f"20261121T00000{number}.000000Z-{INSTANCE}.jsonl"


def forged(head: Head, *records: Written) -> tuple[bytes, Head]:
    lines, heads = link(head, INSTANCE, entries_of(records))
    return b"".join(lines), heads[-1]


def opened(number: int = 0, **fields: str) -> OpenedRecord:
    found = {"reason": "started", "file": name_of(number), "genesis": "0" * 64}
    return msgspec.convert(found | fields, OpenedRecord)


def closed(lines: int) -> ClosedRecord:
    return ClosedRecord(reason="shutdown", lines=lines)


def test_a_number_that_was_left_out_is_missed_though_the_hashes_are_right() -> None:
    start, head = forged(FIRST, opened())
    end, _ = forged(Head(head.seq + 2, head.hash), decision("a"))

    assert place(verified({name_of(0): start + end})) == ("missing", 2, name_of(0))


def test_a_line_behind_the_end_is_seen_though_its_hash_is_right() -> None:
    data, _ = forged(FIRST, opened(), closed(2), decision("a"))

    assert place(verified({name_of(0): data})) == ("after-the-end", 3, name_of(0))


def test_another_number_of_lines_than_the_end_states_is_seen() -> None:
    data, _ = forged(FIRST, opened(), decision("a"), closed(4))

    assert place(verified({name_of(0): data})) == ("edited", 3, name_of(0))


def test_a_chain_that_begins_with_something_else_is_seen() -> None:
    data, _ = forged(Head(0, "0" * 64), opened())

    assert place(verified({name_of(0): data})) == ("edited", 1, name_of(0))


def test_a_chain_that_goes_on_twice_is_seen() -> None:
    start, head = forged(FIRST, opened(), decision("a"))
    link_back = {"previous_file": name_of(0), "previous_hash": head.hash}
    one, _ = forged(head, opened(1, **link_back))
    other, _ = forged(head, opened(2, **link_back))
    files = {name_of(0): start, name_of(1): one, name_of(2): other}

    assert place(verified(files)) == ("forked", 1, name_of(2))


def test_the_last_line_of_a_file_is_vouched_for_by_the_next_file() -> None:
    files, _ = trail()
    name = min(files)
    changed = files[name].replace(b'"reason":"size"', b'"reason":"aged"')
    assert changed != files[name]

    last = changed.count(b"\n")
    assert place(verified({**files, name: changed})) == ("edited", last, name)


def test_a_file_of_another_instance_under_this_name_is_seen() -> None:
    data, _ = forged(FIRST, opened())
    name = name_of(0).replace(INSTANCE, "f" * 16)

    assert place(verified({name: data})) == ("foreign", 1, name)


def test_a_line_that_nests_without_end_is_seen() -> None:
    start, _ = forged(FIRST, opened())
    deep = b'{"x":' + b"[" * 100_000 + b"\n"

    assert place(verified({name_of(0): start + deep})) == ("not-json", 2, name_of(0))


# -- what retention took --------------------------------------------------------------


def retiring(last_seq: int | None, last_hash: str = "0" * 64) -> dict[str, bytes]:
    """Return the file of a process that has retired one of another, and says so."""
    name = min(trail()[0])
    gone = RetiredFile(file=name, bytes=1, last_seq=last_seq, last_hash=last_hash)
    data, _ = forged(FIRST, opened(), RetiredRecord(reason="age", files=(gone,)))
    return {name_of(0): data}


def test_a_chain_of_which_retention_took_all_is_not_missed() -> None:
    _, checkpoints = trail()

    assert verified(retiring(checkpoints[-1].last_seq), checkpoints).ok


def test_it_is_told_when_nobody_vouches_for_what_retention_says() -> None:
    """Who deletes files can forge a process that says to have retired them."""
    files, checkpoints = trail()
    names = sorted(files)
    last = files[names[1]].splitlines()[-1]
    end = max(each.last_seq for each in checkpoints)
    gone = [
        ({}, retiring(end)),
        ({}, retiring(None)),
        ({names[0]: files[names[0]]}, retiring(end)),
        ({each: files[each] for each in names[2:]}, retiring(9, hash_of(last))),
        (
            {each: files[each] for each in names if each != names[1]},
            retiring(9, hash_of(last)),
        ),
    ]

    for left, forgery in gone:
        [(name, data)] = forgery.items()
        lines = data.splitlines()
        seen = CheckpointRecord(
            chain=INSTANCE, file=name, last_seq=1, last_hash=hash_of(lines[-1])
        )
        report = verified(left | forgery, checkpoints)
        assert report.ok
        assert any(said.startswith("whether retention took") for said in report.unseen)
        sure = verified(left | forgery, (*checkpoints, seen))
        assert sure.ok
        assert not any("whether retention took" in said for said in sure.unseen)


def test_a_chain_of_which_retention_took_a_part_is_missed() -> None:
    _, checkpoints = trail()

    report = verified(retiring(checkpoints[-1].last_seq - 1), checkpoints)

    [problem] = report.problems
    assert (problem.kind, problem.instance) == ("missing", checkpoints[0].chain)


def test_a_chain_is_not_missed_where_retention_did_not_say_how_much_it_took() -> None:
    """Its records said nothing of that in the beginning; what is there is no excuse."""
    files, checkpoints = trail()
    left = {min(files): files[min(files)]}

    assert verified(retiring(None), checkpoints).ok
    assert not verified(left | retiring(None), checkpoints).ok


def test_the_end_that_retention_took_was_not_cut_off() -> None:
    files, checkpoints = trail()
    left = {min(files): files[min(files)]}

    assert not verified(left, checkpoints).ok
    assert verified(left | retiring(checkpoints[-1].last_seq), checkpoints).ok


def test_a_file_that_is_retired_while_others_are_read_is_not_missed(
    tmp_path: Path,
) -> None:
    """The listing still had it, and the line that tells of it is read behind."""
    [(name, data)] = retiring(5).items()
    (tmp_path / name).write_bytes(data)
    retired, other = tmp_path / min(trail()[0]), tmp_path / "other.jsonl.zst"

    report = verify([retired, tmp_path / name])
    assert report.ok
    assert [file.file for file in report.files] == [tmp_path / name]
    with pytest.raises(FileNotFoundError, match=r"other\.jsonl\.zst'"):
        verify([other, tmp_path / name])


def test_a_file_that_retention_took_from_the_middle_is_not_missed() -> None:
    """The one before it was in somebody's hands, or never closed."""
    files, checkpoints = trail()
    first, second, third = sorted(files)[:3]
    end = files[second].splitlines()[-1]
    told = retiring(read_line(end).seq, hash_of(end))
    left = {name: data for name, data in files.items() if name != second}

    assert place(verified(left, checkpoints)) == ("missing", 1, third)
    assert first in left
    assert verified(left | told, checkpoints).ok
