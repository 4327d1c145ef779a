"""What a problem says would be right, where the nearest word is not it."""

from __future__ import annotations

import datetime

import pytest

from imagegate import shipped
from imagegate.policyfile import check_policy

HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"
TODAY = datetime.date(2026, 12, 1)
EXCEPTION = "exceptions:\n  - id: E\n    for: { team: a }\n    until: 2099-01-01\n"
EXCEPTION += "    approved_by: x\n    set: "


@pytest.mark.parametrize(
    ("text", "better"),
    [
        (
            "teams: { a: { match: { team: a }, surface: { images_api: pass } } }\n",
            (
                "`surface` is not a key here; it stands at the top of the file, "
                "for everybody"
            ),
        ),
        (
            "teams: { a: { match: { not: { team: b } }, tool: block } }\n",
            (
                "`teams.a.match.not` must be one word, or a list of which one is "
                "enough, not a mapping"
            ),
        ),
        (
            "state: { prompt: pmpt_1 }\n",
            (
                "`pmpt_1` is no word for `state.prompt`; known here: `allow`, "
                "`refuse`, or a list such as `[a, b]`"
            ),
        ),
        (
            "models: { gpt-image-9: {}, default: gpt-image-9 }\n",
            (
                "the catalogue knows no image model 'gpt-image-9', and one that is "
                "newer needs `fields.unknown_values: pass`; did you mean `gpt-image-2`?"
            ),
        ),
        (
            "models: { gpt-image-2: {}, otherwise: gpt-image-2 }\n",
            (
                "`gpt-image-2` is no word for `models.otherwise`; known here: "
                "`block`, or `{ use: MODEL }`"
            ),
        ),
        (
            "tool: maybe\n",
            "`maybe` is no word for `tool`; known here: `allow`, `strip`, `block`",
        ),
        (
            "settings: { quality: { max: low, default: low, otherwise: reduce } }\n",
            (
                "`reduce` is no word for `settings.quality.otherwise`; known here: "
                "`block`, `lower`, `raise`, `clamp`, `strip`, or `{ use: VALUE }`"
            ),
        ),
        (
            EXCEPTION + "{ settings.quality: high }\n",
            (
                "`settings.quality` is not the path of a line; known there: "
                "`settings.quality.allow`, `settings.quality.max`, "
                "`settings.quality.min`, `settings.quality.default`"
            ),
        ),
        (
            EXCEPTION + "{ tools: 3 }\n",
            "`tools` is not the path of a line; known there: `limits.tools.max`",
        ),
        (
            EXCEPTION + "{ surface.images_api: pass }\n",
            (
                "`surface.images_api` is not the path of a line; it stands at the top "
                "of the file, for everybody"
            ),
        ),
    ],
)
def test_what_would_be_right(text: str, better: str) -> None:
    data = (HEAD + text).encode()

    checked = check_policy(data, catalogue=shipped.catalogue(), today=TODAY)

    assert [each.message for each in checked.problems] == [better]
