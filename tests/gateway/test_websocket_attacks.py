"""Whatever is said on a WebSocket, nothing forbidden reaches the provider.

The same attacks as over HTTP, put into each kind of message; what goes on is read by
several readers that disagree about everything that can be disagreed about.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections import Counter
from random import Random
from typing import Any

import pytest
from case import Draft
from disguises import spelled
from driving import Notebook
from hiding import bodied
from recorder import Seen
from spelling import Pairs
from stage import gate_of
from starlette.types import Message
from talking import Client, Provider, accepted, connected
from verdict import policy_of, wrong_with

pytestmark = pytest.mark.anyio
SECONDS = 3.0
SOAK_SECONDS = float(os.environ.get("ATTACK_SECONDS", "600"))
PATIENCE = 10.0
HEADERS = [("content-type", "application/json"), ("accept-encoding", "identity")]
MADE_HERE = "state previous_response_id"
"""What a policy that knows nothing of this connection would say of `resp_1`."""
TYPES = [
    "response.create", "response.create", "response.create", "response.inject",
    "response.steer", "response.Create", "response.create\0", "session.update", None,
]  # fmt: skip


def message_of(seed: str, number: int) -> tuple[Message, list[str], str | None]:
    """Draw a message; the same one for the same seed and number."""
    random = Random(f"{seed}/{number}")  # noqa: S311 - no secret
    draft = Draft(random=random)
    bodied(draft)
    body = draft.body
    assert isinstance(body, Pairs)
    kind = draft.pick(TYPES, "type")
    head: list[tuple[str, object]] = [] if kind is None else [("type", kind)]
    if kind == "response.inject":
        body[:] = [each for each in body if each[0] == "input"]
        head.append(("response_id", "resp_1"))
    elif kind == "response.steer":
        keep = {"input"} if draft.maybe(0.5) else {"input", "tools"}
        body[:] = [each for each in body if each[0] in keep]
        head.append(("previous_response_id", "resp_1"))
    elif draft.maybe(0.3):
        head.append(("generate", draft.random.choice([True, False])))
    if draft.maybe(0.3):
        head.append(("stream_id", draft.random.choice(["a", "b", "a b", 1])))
    if draft.maybe(0.05):
        head.append(("type", "response.create"))
    at = draft.random.randint(0, len(body))
    body[at:at] = head
    spelled(draft)
    message: Message = {"type": "websocket.receive", "bytes": draft.data}
    # What is no UTF-8 comes as binary only: servers see to that.
    with contextlib.suppress(UnicodeDecodeError):
        if draft.maybe(0.7):
            text = draft.data.decode()
            message = {"type": "websocket.receive", "text": text}
    return message, draft.story, kind


class Attack:
    """One policy under attack, until the time is up."""

    def __init__(self, policy: str, seed: str) -> None:
        self.policy = policy
        self.document = policy_of(policy)
        self.seed = seed
        self.number = 0
        self.ends: Counter[str] = Counter()
        self.problems: list[str] = []

    async def run(self, until: float) -> None:
        while time.monotonic() < until and not self.problems:
            audit, provider = Notebook(), Provider()
            client = connected(audit, provider, by=gate_of(self.policy))
            async with client:
                await self._connect(client, provider)
                for _ in range(50):
                    await self._try(client, provider)
                client.hang_up()
                await client.done()

    async def _connect(self, client: Client, provider: Provider) -> None:
        await accepted(client)
        client.write({"type": "response.create", "model": "gpt-5", "input": "x"})
        await provider.hears()
        provider.say("response.created", response={"id": "resp_1", "tools": []})
        await client.hears()

    async def _try(self, client: Client, provider: Provider) -> None:
        message, story, kind = message_of(self.seed, self.number)
        self.number += 1
        client.put(message)
        heard = asyncio.ensure_future(provider.heard.get())
        said = asyncio.ensure_future(client.next())
        ways: set[asyncio.Future[Any]] = {heard, said}
        done, pending = await asyncio.wait(
            ways, timeout=PATIENCE, return_when="FIRST_COMPLETED"
        )
        for each in pending:
            each.cancel()
        if heard in done:
            self.ends["forwarded"] += 1
            self._judge(heard.result(), message, story, kind)
        elif said in done and '"error"' in said.result().get("text", ""):
            self.ends["refused"] += 1
        else:
            self._complain("neither an error nor a message", message, story)

    def _judge(
        self, heard: Message, message: Message, story: list[str], kind: str | None
    ) -> None:
        text = heard.get("text")
        binary = text is None
        if binary != (message.get("text") is None):
            self._complain("another opcode", message, story)
        # What is injected runs nothing by itself.
        path = "/v1/responses" if kind == "response.create" else "/v1/responses/compact"
        seen = Seen(
            method="POST",
            target=path,
            headers=[*HEADERS],
            body=heard["bytes"] if text is None else text.encode(),
            faults=[],
        )
        faults = wrong_with(self.document, seen)
        if kind == "response.steer":
            faults = [fault for fault in faults if not fault.endswith(MADE_HERE)]
        if faults:
            self._complain(f"{faults}\narrived: {heard}", message, story)

    def _complain(self, what: str, message: Message, story: list[str]) -> None:
        name = f"{self.policy} {self.seed}/{self.number - 1} {story}"
        self.problems.append(f"{name}: {what}\nsent: {message}")


async def attacked(policy: str, seconds: float) -> Counter[str]:
    seed = os.environ.get("ATTACK_SEED", secrets.token_hex(4))
    attack = Attack(policy, seed)
    await attack.run(time.monotonic() + seconds)

    assert not attack.problems, "\n\n".join(attack.problems)
    return attack.ends


@pytest.mark.parametrize("policy", ["standard", "no-images"])
async def test_nothing_forbidden_goes_on(policy: str) -> None:
    ends = await attacked(policy, SECONDS)

    assert ends["refused"] > 50
    assert ends["forwarded"] > 5


@pytest.mark.soak
@pytest.mark.parametrize("policy", ["standard", "azure-foundry", "no-images"])
async def test_nothing_forbidden_goes_on_for_long(policy: str) -> None:
    await attacked(policy, SOAK_SECONDS / 3)
