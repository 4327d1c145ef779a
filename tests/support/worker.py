"""A process that keeps a journal, for tests that kill it or run several of it.

worker.py start DIRECTORY          opens a journal and closes it
worker.py fill DIRECTORY COUNT     writes records of 20 KB
worker.py serve DIRECTORY MODE     writes exchanges for ever; prints each id once
                                   its record was acknowledged
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
from making import QUICK, completion, decision, generating

from imagegate.audit.journal import Journal
from imagegate.audit.options import Mode

LARGE = "x" * 20_000


def main(command: str, directory: Path, *rest: str) -> None:
    if command == "start":
        sys.stdin.readline()
        Journal.open(directory, options=QUICK).close_now()
    elif command == "fill":
        asyncio.run(fill(directory, int(rest[0])))
    else:
        modes: dict[str, Mode] = {"blocking": "blocking", "strict": "blocking-strict"}
        asyncio.run(serve(directory, modes[rest[0]], int(rest[1])))


async def fill(directory: Path, count: int) -> None:
    audit = Journal.open(directory, options=QUICK)
    for number in range(count):
        name = f"{os.getpid()}-{number}"
        await audit.write([decision(name, policy=LARGE)])
        await audit.write([completion(name, policy=LARGE)])
    await audit.close()


async def serve(directory: Path, mode: Mode, count: int) -> None:
    options = msgspec.structs.replace(QUICK, rotate_bytes=200_000, compress=True)
    audit = Journal.open(directory, mode=mode, options=options)
    await asyncio.gather(*(exchanges(audit, client, count) for client in range(8)))
    await audit.close()


async def exchanges(audit: Journal, client: int, count: int) -> None:
    for number in range(count):
        name = f"{audit.instance}-{client}-{number}"
        await audit.write([decision(name)])
        acknowledge(name)
        for item in range(3):
            await audit.write([generating(name, f"{name}-{item}")])
            acknowledge(f"{name}-{item}")
            await asyncio.sleep(0)
        await audit.write([completion(name)])


def acknowledge(what: str) -> None:
    os.write(1, what.encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
