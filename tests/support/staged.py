"""What is wrong with a batch file that arrived, and with a batch that runs one.

Nobody says how whoever runs a file cuts it into lines, so it is cut in every way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from doors import CREATE, IMAGES, OPEN
from judging import judge
from oracle import folded
from recorder import MADE, Seen

_PART = re.compile(
    rb'Content-Disposition: form-data; name="([a-z_\[\]]+)"(?:; filename="([^"]*)")?'
    rb"(?:\r\nContent-Type: [^\r\n;]+)?",
)
_KEYS = {"custom_id", "method", "url", "body"}
_BATCH = {
    "input_file_id", "endpoint", "completion_window", "metadata",
    "output_expires_after",
}  # fmt: skip
_HARMLESS = {"assistants", "fine-tune", "user_data", "vision"}
_CUTS: list[Callable[[bytes], list[bytes]]] = [
    lambda data: data.split(b"\n"),
    bytes.splitlines,
    lambda data: [x.encode() for x in data.decode("utf-8", "replace").splitlines()],
    lambda data: re.split(rb"[\n\x00\x1e\x1f]", data),
]

Readings = Callable[[bytes], Mapping[str, Any]]


def file_faults(
    policy: Mapping[str, Any], seen: Seen, readings: Readings
) -> Iterator[str]:
    """Say everything that is wrong with the form of an upload."""
    named = re.fullmatch(
        r"multipart/form-data; boundary=(imagegate-[0-9a-f]{32})",
        "".join(seen.values("content-type")),
    )
    if named is None:
        yield f"content types {seen.values('content-type')}"
        return
    mark = b"--" + named[1].encode()
    first, *parts, last = (b"\r\n" + seen.body).split(b"\r\n" + mark)
    if first or last != b"--\r\n" or seen.body.count(mark) != len(parts) + 1:
        yield "no plain form"
    fields = [_part(part) for part in parts]
    purposes = [content for name, _, content in fields if name == "purpose"]
    if len(purposes) != 1:
        yield f"the purposes {purposes}"
    elif purposes != [b"batch"]:
        if purposes[0].decode() not in _HARMLESS:
            yield f"the purpose {purposes[0]!r}"
        return
    files = [content for _, filename, content in fields if filename is not None]
    names = sorted(name for name, _, _ in fields if not name.startswith("expires_"))
    if len(files) != 1 or names != ["file", "purpose"]:
        yield f"the fields {names}"
    for content in files:
        yield from _lines(policy, seen, content, readings)


def _part(part: bytes) -> tuple[str, str | None, bytes]:
    head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    found = _PART.fullmatch(head)
    if found is None:
        return f"?{head!r}", "?", content
    name = None if found[2] is None else found[2].decode()
    return found[1].decode(), name, content


def _lines(
    policy: Mapping[str, Any], seen: Seen, content: bytes, readings: Readings
) -> Iterator[str]:
    cuts = {tuple(filter(bytes.strip, cut(content))) for cut in _CUTS}
    if len(cuts) > 1:
        yield "lines that end elsewhere for others"
    urls = set()
    for text in cuts.pop():
        for name, line in readings(text).items():
            url = line.get("url") if isinstance(line, dict) else None
            urls.add(url)
            found = _line(policy, seen, url, line)
            yield from (f"{name}: {fault}" for fault in found)
    if len(urls) != 1:
        yield f"the routes {urls}"


def _line(
    policy: Mapping[str, Any], seen: Seen, url: object, line: Any
) -> Iterator[str]:
    if not isinstance(line, dict) or line.keys() != _KEYS or line["method"] != "POST":
        yield f"no line: {line!r}"
        return
    base = seen.path.removesuffix("/files")
    path = base + str(url).removeprefix("/v1")
    if any(route.fullmatch(path) for route in (CREATE, IMAGES)):
        at = replace(seen, target=path, headers=[])
        yield from judge(policy, at, line["body"])
    elif not OPEN.fullmatch(path):
        yield f"no such door: {url!r}"


def batch_faults(body: Any) -> Iterator[str]:
    """Say everything that is wrong with a request for a batch."""
    if not isinstance(body, dict):
        yield f"no object: {body!r}"
        return
    if body.get("input_file_id") != MADE:
        yield f"the file {body.get('input_file_id')!r}"
    odd = {folded(key) for key in body} - {folded(key) for key in _BATCH}
    if odd:
        yield f"a batch with {odd}"
