"""The command in this process: where what it says is looked at, not how it starts."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from imagegate.cli.app import run


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def imagegate(*arguments: str | Path, **environ: str) -> Ran:
    """Run a command to its end, in an environment of its own."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        for name in os.environ:
            if name.startswith("IMAGEGATE_"):
                patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        code = run([str(each) for each in arguments])
    return Ran(code, out.getvalue(), err.getvalue())
