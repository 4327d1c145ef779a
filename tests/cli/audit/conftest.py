"""A small trail, written by real exchanges."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import asking
import msgspec
import pytest

from imagegate import shipped
from imagegate.engine.candidate import decided_beside
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import Principal
from imagegate.engine.records import Record
from imagegate.engine.surface import find_door
from imagegate.zstd import zstd

POLICY = """
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  moderation: { allow: [auto], default: auto, otherwise: block }
"""
GATE = Gate(asking.policy(POLICY), asking.CATALOGUE, prices=shipped.prices())
CANDIDATE = Gate(
    asking.policy(
        "settings: { quality: { allow: [low], default: low, otherwise: block } }"
    ),
    asking.CATALOGUE,
)
KIND = "response.image_generation_call"


def event(kind: str, **members: Any) -> bytes:
    return b"data: " + json.dumps({"type": kind, **members}).encode() + b"\n\n"


def exchange(number: int, team: str, **settings: Any) -> list[Record]:
    """Ask for an image, get it, and return the records."""
    who = Principal(id=f"u-{team}", attributes={"team": (team,)}, verified=True)
    context = Context(
        decision_id=f"decision-{number}",
        door=find_door("POST", "/v1/responses"),
        date=datetime.date(2026, 11, 21),
        principal=who,
    )
    one = Exchange(GATE, context)
    body = asking.body(asking.request(asking.tool(**settings)))
    ruling = one.request(body)
    assert context.match is not None
    assert ruling.decision is not None
    asked = context.asks(context.match, body)
    beside = decided_beside(CANDIDATE, asked, ruling.decision)
    record = msgspec.structs.replace(ruling.record, candidate=beside)
    if ruling.refusal is not None:
        return [record, *one.close("refused").records]
    return [record, *answered(one, number, settings)]


def answered(one: Exchange, number: int, settings: dict[str, Any]) -> list[Record]:
    one.response(200, "text/event-stream")
    item = {"id": f"ig_{number}", "type": "image_generation_call"}
    done = {**item, "result": "iVBORw0KGgo=", "size": "1024x1024"}
    done["quality"] = "low" if settings.get("quality") == "low" else "medium"
    whole = {"id": f"resp_{number}", "status": "completed", "output": [done]}
    parts = [
        event("response.created", response={"id": f"resp_{number}"}),
        event(f"{KIND}.generating", item_id=item["id"], sequence_number=1),
        event("response.output_item.done", output_index=0, item=done),
        event("response.completed", response=whole),
    ]
    records = [record for part in parts for record in one.feed(part).records]
    return [*records, *one.close().records]


def stamped(records: Iterable[Record], day: int, start: int = 0) -> bytes:
    """Stamp records as a sink does."""
    lines = []
    for number, record in enumerate(records, start):
        time = f"2026-11-{day:02}T10:00:{number:02}.000000Z"
        stamp = {"time": time, "instance": "i1", "seq": number}
        lines.append(msgspec.json.encode(stamp | msgspec.to_builtins(record)))
    return b"\n".join([*lines, b""])


@pytest.fixture(scope="session")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two days: one file packed, one plain; an answer read again is told of twice."""
    folder = tmp_path_factory.mktemp("trail")
    mini, big = "gpt-image-1-mini", "gpt-image-2"
    first = [
        *exchange(1, "design", model=big, quality="high"),
        *exchange(2, "design", model=big, quality="low"),
        *exchange(3, "sales", model=mini, moderation="low"),
    ]
    second = [*exchange(4, "sales", model=mini, quality="high")]
    again = [r for r in second if r.event == "imagegate.image_finished"]
    second += [msgspec.structs.replace(record, replay=True) for record in again]
    packed = folder / "audit-1.jsonl.zst"
    packed.write_bytes(zstd.compress(stamped(first, 20)))
    (folder / "audit-2.jsonl").write_bytes(stamped(second, 21))
    return folder


@pytest.fixture(scope="session")
def asked() -> Callable[..., list[Record]]:
    """Ask for an image and return the records: `asked(number, team, **settings)`."""
    return exchange


@pytest.fixture(scope="session")
def stamp() -> Callable[..., bytes]:
    """Write records as a sink does: `stamp(records, day)`."""
    return stamped
