"""The attacks find the hole again when a check is taken out.

An attack that finds nothing proves little until it has been seen to find something.
So the gateway is served with one check missing, and the same attacks must tell.
"""

from __future__ import annotations

import os

import pytest
from asked import ask_on
from attacking import attack_for
from blunting import CHECKS, without
from places import POLICIES, STAGING
from spoken import SPOKEN, speak_on

SECONDS = float(os.environ.get("BLUNTED_SECONDS", "120"))
"""What a hole may take to be found; most take a second or two."""
CLIENTS = [(policy, ask_on) for policy in (*POLICIES, *STAGING)]
CLIENTS += [(policy, speak_on) for policy in SPOKEN]
QUICK = ("look-alike keys", "what is injected", "the number of images")


def find_again(check: str, capsys: pytest.CaptureFixture[str]) -> None:
    with without(check):
        report = attack_for(SECONDS, "0", CLIENTS, leaks=1)

    with capsys.disabled():
        print(f"\nwithout {check}: {report.numbers} cases")  # noqa: T201 - the proof
    assert report.leaks, f"nobody misses {check}: {report}"


@pytest.mark.parametrize("check", QUICK)
def test_the_hole_is_found_again(
    check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    find_again(check, capsys)


@pytest.mark.soak
@pytest.mark.parametrize("check", sorted({*CHECKS} - {*QUICK}))
def test_any_hole_is_found_again(
    check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    find_again(check, capsys)
