"""The documents are true: their fenced blocks run, and show what is shown.

Each document runs from top to bottom in one empty directory that holds copies of
`policies/` and `deploy/`, as its reader would type it:

- `console`: each `$ command` is run; the lines under it are its output, where `...`
  alone on a line stands for any lines. `make`, `git` and `pip` are not run, but a
  `make` target must exist.
- `python`: run as it is.
- `yaml` that starts with `version: 1`: a policy, read by `imagegate check`.

Links within the project lead to a file that is there, and to a heading in it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".", "policies", "deploy", "proxy")
DOCUMENTS = sorted(
    each for folder in FOLDERS for each in ROOT.joinpath(folder).glob("*.md")
)
LANGUAGES = {"console", "json", "mermaid", "python", "text", "toml", "yaml"}
NOT_RUN = {"git", "make", "pip"}


class Block(NamedTuple):
    language: str
    text: str
    line: int


class Step(NamedTuple):
    """A command of a console block and the output written under it."""

    command: str
    shown: str


def blocks(markdown: str) -> list[Block]:
    return [
        Block(token.info.strip(), token.content, token.map[0] + 1)
        for token in MarkdownIt().parse(markdown)
        if token.type == "fence" and token.map
    ]


def steps(console: str) -> list[Step]:
    """Take a console block apart; a command goes on after a closing backslash."""
    before, *parts = re.split(r"^\$ ", console, flags=re.MULTILINE)
    if before:
        raise ValueError(f"a console block starts with '$ ', not {before!r}")
    matches = [re.fullmatch(r"((?:.*\\\n)*.*)\n((?s:.*))", part) for part in parts]
    return [Step(match[1], match[2]) for match in matches if match]


def shows(expected: str, actual: str) -> bool:
    """Compare line by line; `...` stands for any lines."""
    lines = expected.splitlines(keepends=True)
    pattern = "".join(
        r"(?:.*\n)*" if line == "...\n" else re.escape(line) for line in lines
    )
    return re.fullmatch(pattern, actual) is not None


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as on a reader's machine, but let coverage follow."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")}
    environment |= {"PATH": path, "HOME": str(folder), "COLUMNS": "80"}
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def make_targets() -> set[str]:
    makefile = ROOT.joinpath("Makefile").read_text()
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def check_step(step: Step, folder: Path) -> str:
    """Run one command; return what is wrong, or nothing."""
    program, *arguments = shlex.split(step.command)
    if program == "make":
        unknown = {a for a in arguments if "=" not in a} - make_targets()
        return f"no such target: {unknown}" if unknown else ""
    if program in NOT_RUN:
        return ""
    done = run(["sh", "-c", step.command], folder)
    if shows(step.shown, done.stdout):
        return ""
    return f"$ {step.command}\n{done.stdout}\nis not\n\n{step.shown}"


def check_block(block: Block, folder: Path) -> str:
    """Do what the block says; return what is wrong, or nothing."""
    match block:
        case Block("console", text):
            results = (check_step(step, folder) for step in steps(text))
            return "\n".join(filter(None, results))
        case Block("python", text):
            done = run([sys.executable, "-c", text], folder)
        case Block("yaml", text) if text.startswith("version: 1\n"):
            folder.joinpath("block.yaml").write_text(text)
            done = run(["imagegate", "check", "block.yaml"], folder)
        case Block(language) if language in LANGUAGES:
            return ""
        case Block(language):
            return f"{language!r} is not one of {sorted(LANGUAGES)}"
    return done.stdout if done.returncode else ""


def anchors(markdown: str) -> set[str]:
    """Return what a link can name in a document, as GitHub spells it."""
    headings = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def check_link(link: str, document: Path) -> str:
    """Return what is wrong with a link, or nothing."""
    path, _, anchor = link.partition("#")
    target = document.parent / path if path else document
    if not target.exists():
        return f"nothing is at {link}"
    if anchor and anchor not in anchors(target.read_text()):
        return f"no heading is called {link}"
    return ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("policies", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_document_is_true(document: Path, folder: Path) -> None:
    wrong = [
        f"{document.relative_to(ROOT)}:{block.line}: {complaint}"
        for block in blocks(document.read_text())
        if (complaint := check_block(block, folder))
    ]

    assert wrong == []


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text())

    assert [wrong for link in links if (wrong := check_link(link, document))] == []


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("deploy/README.md#the-only-way-out", ""),
        ("deploy/nowhere.md", "nothing is at"),
        ("#no-such-heading", "no heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, wrong: str) -> None:
    found = check_link(link, ROOT / "README.md")

    assert wrong in found
    assert bool(wrong) == bool(found)


def test_blocks_know_their_language_and_line() -> None:
    markdown = "# Title\n\n- item\n\n  ```console\n  $ true\n  ```\n"

    assert blocks(markdown) == [Block("console", "$ true\n", 5)]


def test_steps_pair_commands_with_their_output() -> None:
    console = "$ one \\\n    two\nshown\n\n$ three\n"

    assert steps(console) == [
        Step("one \\\n    two", "shown\n\n"),
        Step("three", ""),
    ]


def test_a_console_block_starts_with_a_command() -> None:
    with pytest.raises(ValueError, match="starts with"):
        steps("shown\n$ one\n")


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        pytest.param("a\n", "a\n", True, id="equal"),
        pytest.param("a\n", "a\nb\n", False, id="more-than-shown"),
        pytest.param("a\n...\nz\n", "a\nb\nc\nz\n", True, id="any-lines"),
        pytest.param("a\n...\n", "a\n", True, id="no-line-is-any-lines"),
        pytest.param("a ...\n", "a b\n", False, id="dots-within-a-line-are-dots"),
        pytest.param("a.\n", "ab\n", False, id="no-pattern"),
    ],
)
def test_output_is_compared_line_by_line(
    expected: str, actual: str, *, same: bool
) -> None:
    assert shows(expected, actual) is same


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        pytest.param(Block("console", "$ echo a\na\n", 1), "", id="shown"),
        pytest.param(Block("console", "$ echo a\nb\n", 1), "is not", id="not-shown"),
        pytest.param(Block("console", "$ nowhere\n", 1), "not found", id="no-command"),
        pytest.param(
            Block("console", "$ ls\ndeploy\npolicies\n", 1), "", id="policies"
        ),
        pytest.param(Block("console", "$ git push\nno\n", 1), "", id="git-is-not-run"),
        pytest.param(Block("console", "$ make run A=b\nno\n", 1), "", id="a-target"),
        pytest.param(Block("console", "$ make tea\n", 1), "tea", id="no-target"),
        pytest.param(Block("python", "import imagegate\n", 1), "", id="python"),
        pytest.param(Block("python", "1 / 0\n", 1), "ZeroDivision", id="python-fails"),
        pytest.param(Block("yaml", "version: 1\nmod: x\n", 1), "mod", id="bad-policy"),
        pytest.param(Block("yaml", "models: {}\n", 1), "", id="part-of-a-policy"),
        pytest.param(Block("json", "{}\n", 1), "", id="only-read"),
        pytest.param(Block("bash", "true\n", 1), "bash", id="never-checked"),
    ],
)
def test_a_block_that_is_not_true_is_found(
    block: Block, complaint: str, folder: Path
) -> None:
    found = check_block(block, folder)

    assert complaint in found
    assert bool(complaint) == bool(found)
