"""Through a proxy to the provider: a tunnel in which nobody else can read or write.

The proxy learns the provider's name and port, and nothing else; encryption begins
inside the tunnel. It is named in the settings, never by the environment. Both ways of
asking for a tunnel are a few bytes each: `CONNECT`, and SOCKS 5, which lets the proxy
resolve names, as a network that has no names of its own needs.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from imagegate.named_file import read_lasting
from imagegate.upstream.client import Origin, UpstreamError

_PORTS: Final = {"http": 80, "socks5": 1080}
_SCHEMES: Final = "http://host[:port] or socks5://host[:port]"
_MOST_HEAD: Final = 16 * 1024
_LONGEST: Final = 255
"""Bytes of a name, a user or a password in SOCKS."""
_GRANTED: Final = range(200, 300)
_LOGIN: Final = 2
"""SOCKS' number for a user and a password; 0 is for neither."""
_ADDRESS_LEFT: Final = {1: 4, 4: 16}
_SOCKS: Final = 5
_REPLIES: Final = {
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the host is unreachable, or has no address",
    5: "the connection is refused",
    6: "the host does not answer",
}
"""What RFC 1928 has a proxy say; the rest is about itself."""
_ENDED: Final = "it ends the connection"
_FOREIGN: Final = "it speaks another protocol"


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy.

    Attributes:
        scheme: `http` or `socks5`.
        host: A name or an address.
        port: Its port.
        login: User and password, with a colon between; empty for none.
    """

    scheme: str
    host: str
    port: int
    login: bytes = b""

    @classmethod
    def read(cls, url: str, login: Path | None = None) -> Self:
        """Read a proxy's URL, and its login out of a file.

        Raises:
            ValueError: With what would be right; the URL itself may hold a password.
            OSError: When the file cannot be read.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(f"expected {_SCHEMES}") from None
        if "@" in url:
            raise ValueError(
                f"expected {_SCHEMES} without a user and a password: those go into a "
                "file, which `pool.proxy_login` names"
            )
        rest = parts.path.strip("/") or parts.query or parts.fragment
        if parts.scheme not in _PORTS or not parts.hostname or rest:
            raise ValueError(f"expected {_SCHEMES}")
        parts.hostname.encode("ascii")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            login=b"" if login is None else read_login(login),
        )

    def __repr__(self) -> str:
        """Name where it is, and not the login."""
        return f"Proxy({self.scheme}://{self.host}:{self.port})"

    def leads_to(self, host: str) -> bool:
        """Whether a host is reached through it; this very machine never is."""
        if host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return True

    async def tunnel(self, sock: socket.socket, host: str, port: int) -> None:
        """Ask for a tunnel over a connection to the proxy.

        Raises:
            UpstreamError: When it gives none; nothing was sent to the provider then.
            OSError: When the connection breaks.
        """
        asked = _Asked(sock)
        if self.scheme == "http":
            await self._connect(asked, Origin("http", host, port))
        else:
            await self._socks(asked, host.encode("ascii"), port)

    async def _connect(self, asked: _Asked, origin: Origin) -> None:
        # `CONNECT` names the port always.
        name = f"[{origin.host}]" if ":" in origin.host else origin.host
        target = f"{name}:{origin.port}".encode("ascii")
        login = b""
        if self.login:
            told = base64.b64encode(self.login)
            login = b"Proxy-Authorization: Basic %b\r\n" % told
        head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, target, login)
        await asked.say(head)
        answer, rest = await asked.head()
        status = answer.split(b" ", 2)[1:2]
        if not (answer.startswith(b"HTTP/1.") and status and status[0].isdigit()):
            raise refused(_FOREIGN)
        if int(status[0]) not in _GRANTED:
            raise refused(f"it answers {int(status[0])}")
        if rest:
            raise refused(_FOREIGN)

    async def _socks(self, asked: _Asked, host: bytes, port: int) -> None:
        """Ask by RFC 1928, with a login by RFC 1929."""
        method = _LOGIN if self.login else 0
        await asked.say(bytes((_SOCKS, 1, method)))
        version, chosen = await asked.exactly(2)
        if version != _SOCKS:
            raise refused(_FOREIGN)
        if chosen != method:
            asks = "takes no login" if self.login else "asks for a login"
            raise refused(f"it {asks}")
        if self.login:
            user, _, password = self.login.partition(b":")
            await asked.say(b"\x01" + _counted(user) + _counted(password))
            if (await asked.exactly(2))[1]:
                raise refused("it does not believe the login")
        await asked.say(b"\x05\x01\x00" + _address(host) + port.to_bytes(2))
        version, reply, _, kind = await asked.exactly(4)
        if version != _SOCKS:
            raise refused(_FOREIGN)
        if reply:
            raise refused(_REPLIES.get(reply, "it cannot"))
        left = _ADDRESS_LEFT.get(kind) or (await asked.exactly(1))[0]
        await asked.exactly(left + 2)


class _Asked:
    """A proxy's end of a connection, of which no byte too many is read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def say(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self._loop.sock_recv(self._sock, size - len(data))
            if not more:
                raise refused(_ENDED)
            data += more
        return data

    async def head(self) -> tuple[bytes, bytes]:
        """Read the head of an answer, and what came with it.

        A refusal has a body, but behind a grant it would be the provider's.
        """
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > _MOST_HEAD:
                raise refused(_FOREIGN)
            more = await self._loop.sock_recv(self._sock, _MOST_HEAD)
            if not more:
                raise refused(_ENDED)
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest


def read_login(file: Path) -> bytes:
    """Read user and password, with a colon between, out of a file.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it holds something else.
    """
    login = read_lasting(file).strip()
    user, colon, password = login.partition(b":")
    if not (user and colon) or max(len(user), len(password)) > _LONGEST:
        raise ValueError("expected a user and a password with a colon between")
    return login


def refused(why: str) -> UpstreamError:
    """Say that the proxy gave no tunnel."""
    cause = f"the proxy gives no tunnel: {why}"
    return UpstreamError("proxy_refused", status=502, resendable=True, cause=cause)


def _counted(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _address(host: bytes) -> bytes:
    """Write an address as SOCKS wants it; names are the proxy's to resolve."""
    try:
        address = ipaddress.ip_address(host.decode("ascii"))
    except ValueError:
        return b"\x03" + _counted(host[:_LONGEST])
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed  # noqa: PLR2004 - of IP
