"""The client: requests on connections that are kept, at little more than they cost.

No task, no timer and no lock is made for a request that finds a connection: what is
waited for, the forwarder's deadlines end. What takes long anyway (to connect, to
wait for a connection, to write what is big) has its own.
"""

from __future__ import annotations

from pathlib import Path

from imagegate.upstream.client import Headers, Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.fast.connecting import connect
from imagegate.upstream.fast.connection import Buffer, Connection
from imagegate.upstream.fast.pool import Pool
from imagegate.upstream.fast.reading import Reading
from imagegate.upstream.fast.writing import TOGETHER, head_of, portions
from imagegate.upstream.trust import Trust
from imagegate.upstream.tunnel import Proxy


class FastAnswer:
    """An answer, as it comes over a connection.

    Attributes:
        status: The HTTP status.
        headers: The headers, as they were sent.
    """

    __slots__ = ("_connection", "_reading", "headers", "status")

    def __init__(self, connection: Connection, reading: Reading) -> None:
        self.status = reading.status
        self.headers: Headers = reading.headers
        self._connection = connection
        self._reading = reading

    @property
    def ended(self) -> bool:
        """Whether it is known by now that `read` gives nothing more: it ended well."""
        reading = self._reading
        return reading.over and not reading.pieces and reading.failure is None

    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end."""
        reading = self._reading
        while not reading.pieces:
            if reading.over:
                _check(reading)
                return b""
            await self._connection.more()
        return reading.take()

    async def close(self) -> None:
        """End the exchange; the connection of a whole answer is another's by now."""
        if not self._reading.over:
            self._connection.abort()


class FastClient:
    """Sends requests over connections that are kept, one pool for each provider.

    All of it belongs to the event loop on which it is used.
    """

    def __init__(  # noqa: PLR0913 - an operator's choices
        self,
        *,
        connections: int = 1_000,
        connect_seconds: float = 10.0,
        pool_seconds: float = 5.0,
        write_seconds: float = 60.0,
        idle_seconds: float = 30.0,
        authorities: Path | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Make a client.

        Args:
            connections: How many exchanges there can be at once with one provider.
            connect_seconds: How long connecting may take, encryption included.
            pool_seconds: How long a request waits for a free connection.
            write_seconds: How long a provider may take no byte of a request.
            idle_seconds: How long a connection is kept that nobody uses.
            authorities: A file of certificates that are trusted besides the
                system's. The environment (`SSL_CERT_FILE`) has no say.
            proxy: Through which providers are reached; never the environment's.
        """
        self._connections = connections
        self._connect_seconds = connect_seconds
        self._pool_seconds = pool_seconds
        self._write_seconds = write_seconds
        self._idle_seconds = idle_seconds
        self._proxy = proxy
        self._trust = Trust(authorities)
        self._pools: dict[Origin, Pool] = {}
        self._buffer = Buffer()

    async def send(self, request: UpstreamRequest) -> FastAnswer:
        """Send a request and return when the head of the answer is there."""
        pieces = request.pieces
        size = sum(map(len, pieces))
        head = head_of(request, size)
        pool = self._pools.get(request.origin) or self._pool(request.origin)
        reading = Reading(head_only=request.method == "HEAD")
        connection = pool.take() or await pool.wait()
        try:
            connection.begin(reading)
            if size <= TOGETHER:
                connection.write(b"".join((head, *pieces)))
            else:
                await connection.write_all(portions(head, pieces), self._write_seconds)
            del request, pieces  # not held for the minutes in which an image is made
            while not reading.begun:
                _check(reading)
                await connection.more()
        except BaseException:
            connection.abort()
            raise
        return FastAnswer(connection, reading)

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, origin: Origin) -> Pool:
        async def open_one(pool: Pool) -> Connection:
            return await connect(
                origin,
                lambda: Connection(pool, self._buffer),
                tls=tls,
                proxy=self._proxy,
                seconds=self._connect_seconds,
            )

        tls = self._trust.context_for(origin)
        self._pools[origin] = Pool(
            open_one,
            limit=self._connections,
            wait_seconds=self._pool_seconds,
            write_seconds=self._write_seconds,
            idle_seconds=self._idle_seconds,
        )
        return self._pools[origin]


def _check(reading: Reading) -> None:
    if reading.failure is not None:
        status = 504 if reading.failure == "write_timeout" else 502
        raise UpstreamError(reading.failure, status=status, cause=reading.cause)
