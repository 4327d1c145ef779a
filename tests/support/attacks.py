"""Requests that try to get an image which the policy forbids.

Everything is drawn from one seeded generator, so that a seed and a number name a
request.
"""

from __future__ import annotations

from random import Random

from case import Case, Draft
from disguises import spelled, wrapped
from hiding import bodied, for_other_door
from verdict import CANARY, HEADER


def attack(random: Random) -> Case:
    """Draw a request that is one request beyond doubt."""
    draft = Draft(random=random)
    if draft.maybe(0.2):
        draft.path = random.choice(
            [
                "/openai/v1/responses",
                "/api/projects/p/openai/v1/responses",
                "/openai/responses",
            ]
        )
        if draft.maybe(0.5):
            name = random.choice(
                ["img-mini-prod", "img-2-prod", f"x-{CANARY}", "img-dear"]
            )
            draft.headers.append((HEADER, name))
    if draft.maybe(0.15):
        for_other_door(draft)
    else:
        bodied(draft)
    spelled(draft)
    wire = wrapped(draft)
    return Case(kind="attack", wire=wire, method=draft.method, story=draft.story)
