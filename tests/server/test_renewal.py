"""A renewed certificate is shown to whoever connects next, and a wrong one is not."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from stage import Certificates, certify, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from imagegate import log
from imagegate.server.listener import Listener
from imagegate.server.renewal import Renewal
from imagegate.server.run import server_for


def certified(folder: Path, name: str) -> Certificates:
    made = folder / name
    made.mkdir()
    return certify(made)


def put(fresh: Certificates, shown: Certificates) -> None:
    """Put one pair in another one's place, as those do that renew them."""
    for source, target in (fresh.server, shown.server), (fresh.key, shown.key):
        beside = target.with_suffix(".new")
        shutil.copy2(source, beside)
        beside.replace(target)


def serial_in(file: Path) -> int:
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


@contextlib.contextmanager
def connected(port: int) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain) as wire,
    ):
        yield wire


def serial_at(port: int) -> int:
    with connected(port) as wire:
        shown = wire.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


async def said(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.method)


def ask(wire: ssl.SSLSocket) -> bytes:
    wire.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return wire.recv(65_536)


def test_who_connects_next_sees_the_new_one_and_open_connections_go_on(
    tmp_path: Path,
) -> None:
    shown, fresh = certified(tmp_path, "shown"), certified(tmp_path, "fresh")
    listener = Listener(port=0, tls_certificate=shown.server, tls_key=shown.key)
    server = server_for(Starlette(routes=[Route("/", said)]), listener)
    with serving(server, "https") as url:
        port = int(url.rpartition(":")[2])
        before = serial_at(port)
        assert before == serial_in(shown.server)
        with connected(port) as wire:
            assert b" 200 " in ask(wire)
            put(fresh, shown)
            deadline = time.monotonic() + 20
            while serial_at(port) == before:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert b" 200 " in ask(wire)
        assert serial_at(port) == serial_in(fresh.server)


class Watched:
    """A renewal by itself, its context, and what was logged."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown = certified(folder, "shown")
        self.fresh = certified(folder, "fresh")
        self.loaded: list[tuple[Path, Path]] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        context: Any = self
        self.renewal = Renewal(context, self.shown.server, self.shown.key)
        for level in ("info", "error"):
            monkeypatch.setattr(log, level, self._say)

    def load_cert_chain(self, certificate: Path, key: Path) -> None:
        self.loaded.append((certificate, key))

    def _say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    def look(self) -> list[str]:
        """Look until all is at rest; tell what was said."""
        self.said.clear()
        for _ in range(4):
            self.renewal.look()
        return [event for event, _ in self.said]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(tmp_path, monkeypatch)


def test_what_has_not_changed_is_not_read(watched: Watched) -> None:
    assert watched.look() == []
    assert watched.loaded == []


def test_what_still_changes_is_waited_for(watched: Watched) -> None:
    put(watched.fresh, watched.shown)

    watched.renewal.look()
    assert watched.loaded == []
    watched.renewal.look()
    assert watched.loaded == [(watched.shown.server, watched.shown.key)]
    assert watched.look() == []


def test_half_a_pair_is_refused_once_and_the_whole_one_is_taken(
    watched: Watched,
) -> None:
    shutil.copy2(watched.fresh.server, watched.shown.server)
    assert watched.look() == ["imagegate.reload_failed"]
    assert watched.loaded == []
    assert watched.look() == []

    put(watched.fresh, watched.shown)
    assert watched.look() == ["imagegate.certificate_renewed"]
    assert len(watched.loaded) == 1


@pytest.mark.parametrize(
    ("harm", "why"),
    [("gone", "no such file or directory"), ("torn", "no pem"), ("open", "is open to")],
)
def test_what_cannot_be_used_changes_nothing_and_is_told(
    watched: Watched, harm: str, why: str
) -> None:
    put(watched.fresh, watched.shown)
    if harm == "gone":
        watched.shown.key.unlink()
    elif harm == "torn":
        watched.shown.server.write_text("-----BEGIN CERTIFICATE-----\nMII")
    else:
        watched.shown.key.chmod(0o644)

    assert watched.look() == ["imagegate.reload_failed"]
    assert watched.loaded == []
    [(_, fields)] = watched.said
    [problem] = fields["problems"]
    assert problem.startswith("the one before is shown on: ")
    assert why in problem
