"""What a whole decision costs: read, decide, rewrite and join, against stdlib json.

Run it: `python tests/bench/engine.py [--json FILE]`. The other side only loads and
dumps the same body, in the same process and by turns. The longest hold is what an
event loop waits for while a body is read.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping

from body import BODIES, longest_piece
from imagegate import shipped
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Rewrite
from imagegate.engine.request import Request
from imagegate.engine.surface import Match, find_door
from imagegate.policyfile import load_policy
from ratio import Measured, compare, duration, main, show

TODAY = datetime.date(2026, 11, 21)


def decider() -> Decider:
    data = shipped.find_policy("standard").read_bytes()
    catalogue = shipped.catalogue()
    policy = load_policy(data, file="standard", catalogue=catalogue, today=TODAY)
    return Decider(policy, catalogue)


def decided(with_policy: Decider, door: Match, data: bytes) -> bytes:
    read = read_body_now(data, places=door.door.places)
    decision = with_policy.decide(Request(match=door, date=TODAY, body=read))
    if not isinstance(decision, Rewrite):
        raise TypeError("the policy was to rewrite this request")
    return bytes(read.rewritten(decision.edits))


def copied(data: bytes) -> bytes:
    text = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def measured(name: str, data: bytes, with_policy: Decider) -> Measured:
    door = find_door("POST", "/v1/responses")
    assert isinstance(door, Match)
    return compare(
        name,
        lambda: decided(with_policy, door, data),
        lambda: copied(data),
        note=duration(longest_piece(data)),
    )


def measure() -> Mapping[str, list[Measured]]:
    with_policy = decider()
    rows = [measured(name, data, with_policy) for name, data in BODIES.items()]
    show("read, decide, rewrite, join", rows, theirs="json", note="longest hold")
    return {"decide and rewrite": rows}


if __name__ == "__main__":
    main(measure)
