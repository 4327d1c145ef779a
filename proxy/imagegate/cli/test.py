"""`imagegate test`: whether policies do what their cases say."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import typer
from rich.text import Text

from imagegate import shipped
from imagegate.cli.exits import Exit
from imagegate.cli.policies import print_problems
from imagegate.cli.screen import complain, print_json, print_text
from imagegate.policycases import Result, Suite, find_suites, run_suite


def run(names: Sequence[str], *, as_json: bool, junit: Path | None) -> Exit:
    """Try the cases of policies, print what was found, return the exit code."""
    try:
        suites = [_tried(folder) for name in names for folder in _folders(name)]
        if junit is not None:
            junit.write_bytes(_report(suites))
    except OSError as error:
        complain(f"{error.filename or junit}: {error.strerror or error}")
        return Exit.USAGE
    if as_json:
        print_json([_described(suite) for suite in suites])
    else:
        for suite in suites:
            _print(suite)
    if not all(suite.valid for suite in suites):
        return Exit.INVALID
    return Exit.FINE if all(suite.passed for suite in suites) else Exit.FAILED


def _folders(name: str) -> tuple[Path, ...]:
    found = find_suites(shipped.policies().get(name, Path(name)))
    if not found:
        complain(f"{name!r} has no policy.yaml, nor has a folder in it")
        raise typer.Exit(Exit.USAGE)
    return found


def _tried(folder: Path) -> Suite:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    catalogue, prices = shipped.catalogue(), shipped.prices()
    return run_suite(folder, catalogue=catalogue, today=today, prices=prices)


def _print(suite: Suite) -> None:
    print_problems(suite.file, suite.problems)
    for result in suite.results:
        if result.problem is not None:
            print_problems(result.file, (result.problem,))
        elif result.differences:
            first, *rest = result.differences
            _line(f"{result.file}: ", "failed ", "red", first)
            for difference in rest:
                print_text(f"  {difference}")
    word, style = ("passed", "green") if suite.passed else ("failed", "red")
    if not suite.valid:
        word = "invalid"
    _line(f"{suite.name}: ", word, style, f", {'; '.join(_summary(suite))}")


def _line(name: str, word: str, style: str, rest: str) -> None:
    print_text(Text.assemble((name, "bold"), (word, style), rest))


def _summary(suite: Suite) -> Iterator[str]:
    if suite.problems:
        yield "the policy cannot be used, so no case was tried"
        return
    passed = sum(result.passed for result in suite.results)
    yield f"{passed} of {len(suite.results)} cases"
    if suite.empty:
        folders = ", ".join(f"cases/{word}" for word in suite.empty)
        yield f"a policy without cases in each: nothing in {folders}"
    if suite.silent:
        yield f"no case shows {', '.join(suite.silent)}"


def _described(suite: Suite) -> dict[str, object]:
    return {
        "policy": suite.name,
        "file": suite.file,
        "passed": suite.passed,
        "problems": suite.problems,
        "cases": [
            {
                "file": result.file,
                "about": result.about,
                "passed": result.passed,
                "problem": result.problem,
                "differences": result.differences,
            }
            for result in suite.results
        ],
        "empty": suite.empty,
        "silent": suite.silent,
        "unsaid": suite.unsaid,
    }


# -- JUnit ----------------------------------------------------------------------


def _report(suites: Sequence[Suite]) -> bytes:
    """Write the form that continuous integration reads: a suite for each policy."""
    root = ET.Element("testsuites", name="imagegate")
    for suite in suites:
        cases = list(_cases(suite))
        ET.SubElement(
            root,
            "testsuite",
            name=suite.name,
            tests=str(len(cases)),
            failures=str(sum(kind == "failure" for _, kind, _ in cases)),
            errors=str(sum(kind == "error" for _, kind, _ in cases)),
        ).extend(_element(suite, *case) for case in cases)
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _cases(suite: Suite) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each case, what kind of failure it is, and why."""
    for problem in suite.problems:
        yield suite.file, "error", f"{problem.path}: {problem.message}"
    for word in suite.empty:
        yield f"cases/{word}", "failure", "a policy without cases in each"
    for result in suite.results:
        yield _name(result), *_outcome(result)


def _name(result: Result) -> str:
    path = Path(result.file)
    return f"{path.parent.name}/{path.stem}"


def _outcome(result: Result) -> tuple[str, str]:
    if result.problem is not None:
        return "error", f"{result.problem.path}: {result.problem.message}"
    return (
        ("failure", "\n".join(result.differences)) if result.differences else ("", "")
    )


def _element(suite: Suite, name: str, kind: str, why: str) -> ET.Element:
    case = ET.Element("testcase", classname=suite.name, name=_xml(name))
    if kind:
        ET.SubElement(case, kind, message=_xml(why.partition("\n")[0])).text = _xml(why)
    return case


def _xml(text: str) -> str:
    """Leave out what no XML document may hold."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
