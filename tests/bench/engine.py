"""What a whole decision costs: read, decide and rewrite, against stdlib json.

Run it: `python tests/bench/engine.py [--json FILE]`. Requests are decided by a gate,
as the gateway does it: what an application asks all day long is decided and written
once, and a body goes on in the pieces in which it lies. In the first row nothing of
that came before, and all is joined. The other side only loads and dumps the same
body, in the same process and by turns. The longest hold is what an event loop waits
for while a body is read.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping

from body import BODIES, SMALL, longest_piece
from imagegate import shipped
from imagegate.engine.body import Body, read_body_now
from imagegate.engine.decision import Decision, Rewrite
from imagegate.engine.edits import Pieces
from imagegate.engine.familiar import MEMORY
from imagegate.engine.gate import Gate
from imagegate.engine.request import Request
from imagegate.engine.surface import Match, find_door
from imagegate.policyfile import load_policy
from ratio import Measured, compare, duration, main, show

TODAY = datetime.date(2026, 11, 21)


def gate() -> Gate:
    data = shipped.find_policy("standard").read_bytes()
    catalogue = shipped.catalogue()
    policy = load_policy(data, file="standard", catalogue=catalogue, today=TODAY)
    return Gate(policy, catalogue)


def rewritten(read: Body, decision: Decision) -> Pieces:
    if not isinstance(decision, Rewrite):
        raise TypeError("the policy was to rewrite this request")
    return read.rewritten(decision.edits)


def decided(by: Gate, door: Match, data: bytes) -> Pieces:
    read = read_body_now(data, places=door.door.places)
    request = Request(match=door, date=TODAY, body=read)
    return rewritten(read, by.decide(request).decision)


def decided_anew(by: Gate, door: Match, data: bytes) -> bytes:
    MEMORY.forget()
    read = read_body_now(data, places=door.door.places)
    request = Request(match=door, date=TODAY, body=read)
    return bytes(rewritten(read, by.decider.decide(request)))


def copied(data: bytes) -> bytes:
    text = json.dumps(json.loads(data), separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def measured(
    name: str,
    data: bytes,
    by: Gate,
    deciding: Callable[[Gate, Match, bytes], object] = decided,
) -> Measured:
    door = find_door("POST", "/v1/responses")
    assert isinstance(door, Match)
    return compare(
        name,
        lambda: deciding(by, door, data),
        lambda: copied(data),
        note=duration(longest_piece(data)),
    )


def measure() -> Mapping[str, list[Measured]]:
    by = gate()
    rows = [measured("1 KB for the first time", SMALL, by, decided_anew)]
    rows += [measured(name, data, by) for name, data in BODIES.items()]
    show("read, decide, rewrite", rows, theirs="json", note="longest hold")
    return {"decide and rewrite": rows}


if __name__ == "__main__":
    main(measure)
