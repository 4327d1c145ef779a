"""Requests that try to get an image which the policy forbids.

Everything is drawn from one seeded generator, so that a seed and a number name a
request.
"""

from __future__ import annotations

from random import Random

from case import Case, Draft
from disguises import spelled, wrapped
from foundry import at_azure
from hiding import bodied, for_other_door
from pictures import pictured
from verdict import CANARY, HEADER

_PATHS = [
    "/openai/v1/responses", "/api/projects/p/openai/v1/responses", "/openai/responses",
]  # fmt: skip
_DEPLOYMENTS = ["img-mini-prod", "img-2-prod", f"x-{CANARY}", "img-dear"]


def attack(random: Random) -> Case:
    """Draw a request that is one request beyond doubt."""
    draft, share = Draft(random=random), random.random()
    kind = "attack"
    if share < 0.2:
        kind, draft.plain = "images", draft.maybe(0.6)
        pictured(draft)
    elif share < 0.45:
        kind, draft.plain = "azure", draft.maybe(0.5)
        at_azure(draft)
    else:
        _asked(draft)
    wire = wrapped(draft)
    return Case(kind=kind, wire=wire, method=draft.method, story=draft.story)


def _asked(draft: Draft) -> None:
    if draft.maybe(0.2):
        draft.path = draft.random.choice(_PATHS)
        if draft.maybe(0.5):
            draft.headers.append((HEADER, draft.random.choice(_DEPLOYMENTS)))
    if draft.maybe(0.15):
        for_other_door(draft)
    else:
        bodied(draft)
    spelled(draft)
