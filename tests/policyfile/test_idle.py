"""What is not warned of: limits that act for somebody, or for some model."""

from __future__ import annotations

import datetime

import pytest

from imagegate import shipped
from imagegate.policyfile import check_policy

HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"
TODAY = datetime.date(2026, 12, 1)
TWO = "models: { gpt-image-2: { quality: { max: low } }, gpt-image-1.5: {}, "
TWO += "default: gpt-image-2 }\n"
HIGH = "models: { gpt-image-2: { quality: { max: high } }, default: gpt-image-2 }\n"
LOW = "models: { gpt-image-2: { quality: { max: low } }, default: gpt-image-2 }\n"
CAP = "settings: { quality: { max: medium, default: low } }\n"
TEAM = "teams: { a: { match: { team: a }, "
LOOSENED = "settings: { quality: { max: max, loosens: true } } } }\n"
EXCEPTION = "exceptions:\n  - { id: E, for: { team: a }, until: 2099-01-01, "
EXCEPTION += "approved_by: x, set: { "


@pytest.mark.parametrize(
    "text",
    [
        HIGH + CAP.replace("low", "low, mode: observe"),
        HIGH + CAP + TEAM + LOOSENED,
        HIGH + CAP + EXCEPTION + "settings.quality.max: max } }\n",
        TWO + CAP + TEAM + LOOSENED,
        TWO + CAP + EXCEPTION + "settings.quality.max: high } }\n",
        HIGH.replace("high", "medium")
        + CAP
        + TEAM
        + "settings: { quality: { max: low } } } }\n"
        + EXCEPTION
        + "settings.quality.max: high } }\n",
        LOW
        + CAP
        + EXCEPTION
        + "settings.quality.max: high, models.gpt-image-2.quality.max: high } }\n",
        LOW + CAP + TEAM + "settings: { quality: { max: low } } } }\n",
        HIGH.replace("high", "medium") + CAP,
        HIGH.replace("quality: { max: high }", "size: { max: 3072x1024 }")
        + "settings: { size: { max: 1536x1536, default: 1024x1024 } }\n",
        CAP + TEAM + LOOSENED,
        HIGH.replace("quality: { max: high }", "moderation: { allow: [auto] }")
        + "locked: [settings.moderation]\n",
        "locked: [settings, limits]\n",
    ],
    ids=[
        "the rule for all is only watched",
        "a team has more",
        "an exception gives more",
        "another model has no rule of its own (team)",
        "another model has no rule of its own (exception)",
        "an exception lifts the cap of a team",
        "both are loosened",
        "a team tightens",
        "the same for one as for all",
        "wider one way, not the other",
        "no models are listed",
        "a lock that holds a model's rule",
        "whole sections are locked",
    ],
)
def test_what_acts_for_somebody_is_no_warning(text: str) -> None:
    data = (HEAD + text).encode()

    checked = check_policy(data, catalogue=shipped.catalogue(), today=TODAY)

    assert checked.problems == ()
