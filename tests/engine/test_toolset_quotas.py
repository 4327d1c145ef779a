"""The tool is taken out, or refused, where a quota of images has no room."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, TODAY, body, door, policy, request, tool

from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Rewrite
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.quota import QUOTAS, Count, Counter, Standing
from imagegate.engine.request import Request

DAY = QUOTAS["images.principal.day"]
COUNTER = Counter(DAY, who=ANONYMOUS.id, verified=False, source=ANONYMOUS.source)


@pytest.mark.parametrize(("word", "kind"), [("block", Block), ("strip", Rewrite)])
def test_the_quota_does_what_its_line_says(word: str, kind: type) -> None:
    rules = f"{{ principal: {{ day: {{ max: 3, otherwise: {word} }} }} }}"
    decider = Decider(policy(f"quotas: {{ images: {rules} }}\n"), CATALOGUE)
    asked = Request(
        match=door(),
        date=TODAY,
        body=body(request(tool())),
        standing=Standing(counts={COUNTER: Count(used=3)}),
    )

    assert isinstance(decider.decide(asked), kind)
