from __future__ import annotations

import datetime
from pathlib import Path

from imagegate import shipped
from imagegate.policyfile import check_policy


def test_ten_mistakes_are_ten_problems_at_the_right_lines() -> None:
    data = Path(__file__).with_name("ten-mistakes.yaml").read_bytes()
    marked = [
        (number, line.rpartition("# ")[2])
        for number, line in enumerate(data.decode().splitlines(), start=1)
        if "# " in line
    ]

    checked = check_policy(
        data, catalogue=shipped.catalogue(), today=datetime.date(2026, 12, 1)
    )

    assert [(each.line, each.id) for each in checked.problems] == marked
    assert len(marked) == len({problem for _, problem in marked}) == 10
    assert checked.policy is None
