"""What addresses a name has.

The system takes seconds to say so where a server of names is slow, and a loop has few
threads to ask with, for all names: a crowd of new connections to one provider would
have each of them ask in turn, and those to other providers wait behind. Here each name
is asked for once at a time, in a thread of its own, and all who ask meanwhile get the
same answer. None is kept: who asks later asks anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from threading import Thread
from typing import Any, Final, TypeAlias

from imagegate.upstream.waiting import meanwhile

Addresses: TypeAlias = "Sequence[tuple[int, int, int, str, tuple[Any, ...]]]"
_asked: Final[dict[tuple[str, int], asyncio.Future[Addresses]]] = {}


async def addresses_of(host: str, port: int) -> Addresses:
    """Return the addresses of a name, as `getaddrinfo` does.

    Raises:
        OSError: When there are none, or nobody can be asked.
    """
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)  # nobody has to be asked
    asked = _asked.get((host, port))
    if asked is None or asked.get_loop() is not asyncio.get_running_loop():
        asked = _ask(host, port)
    with meanwhile("its name has no address in time"):
        return await asyncio.shield(asked)


def _ask(host: str, port: int) -> asyncio.Future[Addresses]:
    """Begin to ask; nobody waits for the thread, not at the end of the process either.

    The loop may be gone by then, or the question cancelled with it.
    """
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[Addresses] = loop.create_future()

    def answer() -> None:
        found: Addresses | OSError
        try:
            found = _look_up(host, port)
        except OSError as error:
            found = error
        if _asked.get((host, port)) is asked:
            del _asked[host, port]
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, found)

    def tell(found: Addresses | OSError) -> None:
        if isinstance(found, OSError):
            asked.set_exception(found)
            asked.exception()  # all who asked may have left
        else:
            asked.set_result(found)

    _asked[host, port] = asked
    try:
        Thread(target=answer, name=f"the addresses of {host}", daemon=True).start()
    except RuntimeError:
        del _asked[host, port]
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    return asked


def _look_up(host: str, port: int, flags: int = 0) -> Addresses:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
