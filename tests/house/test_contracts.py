"""The import contracts hold, and each of them can be broken."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "proxy/imagegate"
ENGINE = PACKAGE / "engine"
CONTRACTS: list[str] = [
    contract["name"]
    for contract in tomllib.loads(ROOT.joinpath("pyproject.toml").read_text())["tool"][
        "importlinter"
    ]["contracts"]
]


class Offence(NamedTuple):
    """An import that a contract forbids, and the module to write it into."""

    contract: str
    module: str
    line: str


ROOMS, LAYERS, PURE, YAML, TERMINAL, CLIENT, SERVER, *OTHERS = CONTRACTS
REDIS, ZSTANDARD, SOCKETS, TOKENS, LOGS, STANDIN, FACADE = OTHERS
OFFENCES = [
    Offence(ROOMS, "engine/errors", "import imagegate.cli"),
    Offence(ROOMS, "policyfile/__init__", "import imagegate.shipped"),
    Offence(ROOMS, "utils", ""),
    Offence(LAYERS, "engine/errors", "import imagegate.engine.sizes"),
    Offence(LAYERS, "engine/body", "import imagegate.engine.surface"),
    Offence(LAYERS, "engine/utils", ""),
    Offence(PURE, "engine/sizes", "import socket"),
    Offence(PURE, "engine/surface", "from time import monotonic"),
    Offence(PURE, "engine/policy", "import importlib.resources"),
    Offence(YAML, "shipped", "import yaml"),
    Offence(YAML, "cli/__init__", "from yaml import safe_load"),
    Offence(TERMINAL, "policyfile/__init__", "from rich.text import Text"),
    Offence(CLIENT, "middleware/__init__", "import httpx2"),
    Offence(
        CLIENT, "cli/serve", "from azure.identity.aio import EnvironmentCredential"
    ),
    Offence(SERVER, "cli/demo/stage", "import uvicorn"),
    Offence(SERVER, "middleware/__init__", "from httptools import HttpRequestParser"),
    Offence(REDIS, "quotas/guarded", "import redis"),
    Offence(ZSTANDARD, "audit/verify", "from backports import zstd"),
    Offence(ZSTANDARD, "audit/verify", "import compression.zstd"),
    Offence(SOCKETS, "middleware/conversation", "import websockets"),
    Offence(TOKENS, "middleware/__init__", "import jwt"),
    Offence(LOGS, "middleware/__init__", "import structlog"),
    Offence(LOGS, "server/run", "from structlog import get_logger"),
    Offence(STANDIN, "simulator/tools", "import imagegate.engine.catalogue"),
    Offence(STANDIN, "simulator/app", "from imagegate.middleware import intake"),
    Offence(FACADE, "cli/__init__", "from imagegate import load_policy"),
    Offence(FACADE, "cli/__init__", "import proxy.imagegate"),
]


def broken_contracts(checkout: Path) -> list[str]:
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "proxy"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    broken = [name for name in CONTRACTS if f"\n{name} BROKEN" in linted.stdout]
    assert linted.returncode == bool(broken), linted.stdout + linted.stderr
    return broken


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "proxy",
        tmp_path / "proxy",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return tmp_path


def test_the_code_keeps_every_contract(checkout: Path) -> None:
    assert broken_contracts(checkout) == []


def test_every_contract_has_an_offence() -> None:
    assert {offence.contract for offence in OFFENCES} == set(CONTRACTS)


@pytest.mark.parametrize(
    "offence", OFFENCES, ids=lambda offence: f"{offence.module}: {offence.line}"
)
def test_one_forbidden_import_breaks_its_contract(
    checkout: Path, offence: Offence
) -> None:
    package = checkout / "proxy/imagegate"
    with (package / offence.module).with_suffix(".py").open("a") as module:
        module.write(f"\n{offence.line}\n")

    assert offence.contract in broken_contracts(checkout)


# What no import betrays: builtins, the clock in `datetime`, the client in `urllib`.
IMPURE_CALLS = {
    *("__import__", "breakpoint", "eval", "exec", "input", "open", "print"),
    *("now", "today", "utcnow"),
}


@pytest.mark.parametrize(
    "path", sorted(ENGINE.glob("*.py")), ids=lambda path: path.stem
)
def test_the_engine_calls_no_builtin_that_does_io_and_no_clock(path: Path) -> None:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                found |= {name} & IMPURE_CALLS
            case ast.ImportFrom(module=str(name)) if name.startswith("urllib"):
                found |= {name} - {"urllib.parse"}
            case ast.Import(names=names):
                found |= {a.name for a in names if a.name.startswith("urllib")}

    assert found == set()


def routing_imports(source: str) -> set[str]:
    """Find what a module takes of starlette beyond ASGI's types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(name)) if name.startswith("starlette"):
                found |= {name} - {"starlette.types"}
            case ast.Import(names=names):
                found |= {a.name for a in names if a.name.startswith("starlette")}
    return found


# The contracts see packages outside as one module, and so cannot tell.
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "app.py" and PACKAGE / "simulator" not in path.parents
    ],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_only_the_app_and_the_simulator_route(path: Path) -> None:
    assert routing_imports(path.read_text()) == set()


@pytest.mark.parametrize(
    "line", ["from starlette.routing import Route", "import starlette.applications"]
)
def test_an_import_of_starlettes_routing_is_found(line: str) -> None:
    assert routing_imports(f"from starlette.types import Scope\n{line}\n")


def test_the_map_of_the_house_names_every_room() -> None:
    page = ROOT.joinpath("proxy/README.md").read_text()
    section = page.partition("## The rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    rooms = {each.stem for each in PACKAGE.glob("[a-z]*.py")}
    rooms |= {each.parent.name for each in PACKAGE.glob("*/__init__.py")}
    assert sorted(named) == sorted(rooms)
    modules = re.findall(r"`(\w+/\w+\.(?:py|toml))`", page)
    assert [each for each in modules if not PACKAGE.joinpath(each).exists()] == []
