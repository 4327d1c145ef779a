"""Whatever is sent, nothing forbidden arrives, nothing arrives twice, nothing hangs.

The whole proxy stands between a client that says anything and a provider that notes
the bytes it gets: the guard, the middleware and the forwarder, over sockets. What
arrives is read by several readers that disagree about everything that can be
disagreed about, and each reading is held against the policy as it is written.
"""

from __future__ import annotations

import os
import secrets

import pytest
from asked import ask_on
from attacking import Report, attack_for
from places import POLICIES, STAGING
from spoken import SPOKEN, speak_on

CASES = 5_000
SECONDS = 60.0
"""In which a machine that has much else to do sends enough of them."""
SOAK_SECONDS = float(os.environ.get("ATTACK_SECONDS", "600"))
CLIENTS = [(policy, ask_on) for policy in POLICIES * 2]
CLIENTS += [(policy, ask_on) for policy in STAGING]
CLIENTS += [(policy, speak_on) for policy in SPOKEN]


def check(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nattacks: {report}")  # noqa: T201 - the count is part of the proof
    problems = "\n\n".join(report.problems[:5])
    assert not report.problems, f"{len(report.problems)} problems\n\n{problems}"
    # A gateway that refuses everything would pass all the rest.
    for kind, least in LEAST.items():
        assert report.share(kind) > least, f"{kind}: {report.share(kind)}"


LEAST = {
    "allowed": 0.99, "attack": 0.02, "images": 0.02, "azure": 0.01,
    "permitted": 0.5, "message": 0.02, "handshake": 0.5, "upload": 0.04, "batch": 0.05,
}  # fmt: skip
"""Of each kind so much arrives: many attacks are repaired, and some are none."""


def test_nothing_forbidden_arrives(capsys: pytest.CaptureFixture[str]) -> None:
    check(attack_for(SECONDS, "0", CLIENTS, cases=CASES), capsys)


@pytest.mark.soak
def test_nothing_forbidden_arrives_for_a_long_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seed = os.environ.get("ATTACK_SEED", secrets.token_hex(4))
    check(attack_for(SOAK_SECONDS, seed, CLIENTS), capsys)
