"""Bad weather for a gateway: providers and clients at their worst, and honest ones
that go on asking meanwhile, and note what they got.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

TIGHT, WIDE = ("low", "1024x1024"), ("high", "1536x1024")
"""What two policies make of a picture that nothing is said of; nothing goes between."""

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Believes nobody, and costs nothing: all is said in clear."""

FAULTS = (
    "delay_ms=150",
    "head_delay_ms=700",
    "truncate=3000",
    "truncate=40",
    "hang=2000",
    "silent",
    "status=500",
    "status=429",
    "chunk=700 chunk_delay_ms=1",
    "error_at=2",
    "fail_at=3",
    "gzip",
    "flat_error",
)
"""What the simulator can be told to do."""


def policy(quality: str, size: str) -> str:
    """Write a policy under which every picture comes out alike."""
    return (
        f"version: 1\nname: {quality}\nowner: o@example.com\nmode: enforce\n"
        "models:\n  gpt-image-1-mini: {}\n  otherwise: { use: gpt-image-1-mini }\n"
        "settings:\n"
        f"  quality: {{ allow: [{quality}], default: {quality}, "
        f"otherwise: {{ use: {quality} }} }}\n"
        f"  size: {{ allow: [{size}], default: {size}, "
        f"otherwise: {{ use: {size} }} }}\n"
        "quotas: { requests: { everyone: { hour: 100000000 } } }\n"
        "state: { previous_response: seen }\n"
    )


def body(*, stream: bool, command: str = "") -> dict[str, Any]:
    asked: dict[str, Any] = {"model": "gpt-5", "input": "a cat", "stream": stream}
    asked["tools"] = [{"type": "image_generation"}]
    if command:
        asked["metadata"] = {"simulator": command}
    return asked


@dataclass
class Heard:
    """What honest clients got: by decision, what the provider was asked for."""

    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, response: httpx2.Response, text: str) -> None:
        """Note an answer."""
        with self.lock:
            self.statuses[response.status_code] += 1
            decision = response.headers.get("x-imagegate-decision", "")
            if response.status_code == httpx2.codes.OK:
                self._made(decision, text)
            elif response.status_code < 429:
                self.wrong.append(f"{response.status_code} {text[:300]}")

    def _made(self, decision: str, text: str) -> None:
        lines = text.splitlines()
        told = [line[6:] for line in lines if line.startswith("data: ")] or [text]
        first = json.loads(told[0])
        if first.get("type") == "error":
            return  # cut off before its first event could be recorded
        tool = first.get("response", first)["tools"][0]
        pair = tool["quality"], tool["size"]
        self.made[decision] = pair
        if pair not in {TIGHT, WIDE} or not decision:
            self.wrong.append(f"{decision}: {pair}")


class Weather:
    """Threads that do one thing each, again and again, until it is over."""

    def __init__(self, url: str, seed: int) -> None:
        self.url = url
        self.heard = Heard()
        self.over = threading.Event()
        self.calm = threading.Event()
        self.turns: Counter[str] = Counter()
        self._address = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._seed = itertools.count(seed)
        self._threads: list[threading.Thread] = []
        self._failed: list[BaseException] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        if self._failed:
            raise self._failed[0]

    def go(self, act: Callable[[random.Random], None], *, times: int = 1) -> None:
        """Do something again and again, in so many threads; not while it is calm."""
        for _ in range(times):
            chance = random.Random(next(self._seed))  # noqa: S311 - of a test
            thread = threading.Thread(target=self._again, args=(act, chance))
            self._threads.append(thread)
            thread.start()

    def _again(
        self, act: Callable[[random.Random], None], chance: random.Random
    ) -> None:
        try:
            while not self.over.is_set():
                if self.calm.is_set() and act != self.ask:
                    self.over.wait(0.05)
                    continue
                act(chance)
                self.turns[act.__name__] += 1
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self._failed.append(error)
            self.over.set()

    # -- what honest clients do ---------------------------------------------------

    def ask(self, chance: random.Random) -> None:
        """Ask a few times over one connection, and read the answers."""
        with httpx2.Client(timeout=30, verify=PLAIN, trust_env=False) as client:
            for _ in range(5):
                asked = body(stream=chance.random() < 0.5)
                self.once(client, asked)

    def once(self, client: httpx2.Client, asked: dict[str, Any]) -> int:
        """Ask once; return the status, or 0 where none came."""
        url = f"{self.url}/v1/responses"
        headers = {"authorization": "Bearer k"}
        try:
            response = client.post(url, json=asked, headers=headers)
        except httpx2.TransportError:
            with self.heard.lock:
                self.heard.broken += 1
            return 0
        self.heard.answer(response, response.text)
        return response.status_code

    # -- what befalls them ----------------------------------------------------------

    def meet_faults(self, chance: random.Random) -> None:
        """Have the provider misbehave; whatever comes must not be a server's error."""
        asked = body(stream=chance.random() < 0.7, command=chance.choice(FAULTS))
        with (
            httpx2.Client(timeout=15, verify=PLAIN, trust_env=False) as client,
            contextlib.suppress(httpx2.TransportError),
        ):
            response = client.post(f"{self.url}/v1/responses", json=asked)
            if b"gateway_error" in response.content:
                self.heard.wrong.append(response.text)

    def leave(self, chance: random.Random) -> None:
        """Ask, take a little of the answer, and go, with or without a goodbye."""
        with contextlib.suppress(OSError), self._connected() as wire:
            wire.sendall(self._written(body(stream=True, command="delay_ms=20")))
            wire.recv(chance.choice([1, 200, 5000]))
            if chance.random() < 0.5:
                linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def dawdle(self, chance: random.Random) -> None:
        """Send half of a request, or read nothing of an answer, for a while."""
        written = self._written(body(stream=True, command="images=2"))
        with contextlib.suppress(OSError), self._connected() as wire:
            wire.sendall(written[: chance.randrange(10, len(written) + 1)])
            self.over.wait(chance.uniform(0, 1.5))

    def flood(self, chance: random.Random) -> None:
        """Open many connections, and say nonsense over them."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as all_of_them:
            for _ in range(chance.randrange(5, 60)):
                wire = all_of_them.enter_context(self._connected())
                with contextlib.suppress(OSError):
                    wire.sendall(chance.randbytes(chance.randrange(1, 400)))
        self.over.wait(0.1)

    def _connected(self) -> socket.socket:
        return socket.create_connection(self._address, 10)

    def _written(self, asked: dict[str, Any]) -> bytes:
        data = json.dumps(asked).encode()
        head = (
            f"POST /v1/responses HTTP/1.1\r\nhost: {urlsplit(self.url).netloc}\r\n"
            "authorization: Bearer k\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data
