from __future__ import annotations

import subprocess
import sys

import pytest

_FAULTS = """
import resource
from imagegate.server import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [b"x" * 1_000_000 for _ in range(20)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keeping} and not memory.keep_blocks():
    print("no glibc")
else:
    faults()
    print(faults())
"""
_SETTLED = """
import gc
from imagegate.server import memory

memory.settle()
print(gc.get_freeze_count() > 1000, gc.isenabled())
"""


def said_by(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_block_that_was_freed_is_used_again_without_the_kernel() -> None:
    kept = said_by(_FAULTS.format(keeping=True)).strip()

    if kept == "no glibc":
        pytest.skip("another libc has ways of its own")
    assert int(kept) < 1000


def test_what_exists_at_the_start_is_not_looked_at_again() -> None:
    assert said_by(_SETTLED) == "True True\n"
