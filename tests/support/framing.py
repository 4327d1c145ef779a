"""Bytes that two readers may cut into requests in two ways."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from case import Case
from disguises import BAD, GOOD

SECOND = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_BAD = BAD.encode()
_GOOD = GOOD.encode()
_INNER = _POST + b"Content-Length: %d\r\n\r\n" % len(_BAD) + _BAD


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


VERSIONS = [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b""]
CODINGS = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:\tchunked",
    b" Transfer-Encoding: chunked",
    b"X: X\nTransfer-Encoding: chunked",
    b"Transfer-Encoding\r\n : chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: chun\r\n ked",
    b"transfer_encoding: chunked",
    b"Transfer-Encoding: CHUNKED",
    b"Transfer-Encoding:chunked",
    b"Foo: bar\rTransfer-Encoding: chunked",
]
LENGTHS = [
    b"%d",
    b"+%d",
    b"-%d",
    b"0x%x",
    b"0%d",
    b" %d ",
    b"%d, %d",
    b"%d.0",
    b"%d\x00",
    b"1%030d",
    b"%dabc",
    b"",
]


def framing(random: Random) -> Case:
    """Draw bytes that two readers may cut into requests in two ways."""
    makers = [
        _both_framings,
        _odd_length,
        _odd_chunks,
        _pipelined,
        _odd_lines,
        _cut_short,
    ]
    maker = random.choice(makers)
    case = maker(random)
    case.whole = False
    case.story.append(maker.__name__.strip("_"))
    return case


def _both_framings(random: Random) -> Case:
    coding = random.choice(CODINGS)
    hidden = b"0\r\n\r\n" + _INNER
    body, length = random.choice(
        [
            (hidden, len(hidden)),
            (hidden, 5),
            (_chunk(_GOOD) + _INNER, len(_chunk(_GOOD))),
            (_chunk(_BAD), len(_BAD)),
            (_GOOD + _INNER, len(_GOOD)),
            (_BAD, len(_BAD)),
        ]
    )
    lines = [coding, b"Content-Length: %d" % length]
    random.shuffle(lines)
    wire = _POST + b"\r\n".join([*lines, b"", b""]) + body
    return Case(kind="framing", wire=wire, requests=2, story=[repr(coding)])


def _odd_length(random: Random) -> Case:
    form = random.choice(LENGTHS)
    value = len(_BAD)
    spelled = form % ((value,) * form.count(b"%")) if b"%" in form else form
    lines = [b"Content-Length: " + spelled]
    if random.random() < 0.4:
        lines.append(b"Content-Length: %d" % random.choice([value, 3, 0]))
        random.shuffle(lines)
    wire = (
        _POST + b"\r\n".join([*lines, b"", b""]) + _BAD + random.choice([b"", _INNER])
    )
    return Case(kind="framing", wire=wire, requests=2, story=[repr(spelled)])


def _odd_chunks(random: Random) -> Case:
    size = b"%x" % len(_GOOD)
    chunks = random.choice(
        [
            b"0x" + size + b"\r\n" + _GOOD + b"\r\n0\r\n\r\n",
            b"+" + size + b"\r\n" + _GOOD + b"\r\n0\r\n\r\n",
            size + b";\n" + _GOOD + b"\r\n0\r\n\r\n",
            size + b"\n" + _GOOD + b"\r\n0\r\n\r\n",
            size + b" \r\n" + _GOOD + b"\r\n0\r\n\r\n",
            b"f" * 17 + b"\r\n" + _GOOD,
            b"1" + b"0" * 16 + size + b"\r\n" + _GOOD + b"\r\n0\r\n\r\n",
            size + b"\r\n" + _GOOD + b"0\r\n\r\n",
            size + b"\r\n" + _GOOD + b"\r\n0\r\n",
            size + b"\r\n" + _GOOD + b"\r\n0\r\n" + _INNER,
            size + b"\r\n" + _GOOD + b"\r\n-1\r\n\r\n",
            size + b"\r\n" + _GOOD + b'\r\n0;"\r\n\r\n' + _INNER + b'"\r\n\r\n',
            b"%x\r\n%b\r\n" % (len(_GOOD) + 2, _GOOD) + b"0\r\n\r\n",
        ]
    )  # fmt: skip
    wire = (
        _POST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + chunks
        + random.choice([b"", _INNER])
    )
    return Case(kind="framing", wire=wire, requests=3)


def _pipelined(random: Random) -> Case:
    good = _POST + b"Content-Length: %d\r\n\r\n" % len(_GOOD) + _GOOD
    parts = random.choices([good, _INNER, SECOND, b"\r\n"], k=random.randint(2, 4))
    wire = b"".join(parts) + random.choice([b"", b"\0", b"GET", _INNER[:80]])
    return Case(kind="framing", wire=wire, requests=len(parts))


def _odd_lines(random: Random) -> Case:
    whole = _INNER
    changes: list[Callable[[bytes], bytes]] = [
        lambda wire: wire.replace(b"\r\n", b"\n"),
        lambda wire: wire.replace(b"\r\n", b"\r"),
        lambda wire: wire.replace(b"HTTP/1.1", random.choice(VERSIONS)),
        lambda wire: wire.replace(b"Host: x\r\n", b""),
        lambda wire: wire.replace(b"Host: x", b"Host: x\r\nHost: y"),
        lambda wire: wire.replace(b"Host: x", b"Host : x"),
        lambda wire: wire.replace(b"Host: x", b"Host: x\r\n folded"),
        lambda wire: wire.replace(b"POST ", b"POST\t"),
        lambda wire: wire.replace(b"POST ", b" POST "),
        lambda wire: wire.replace(b" HTTP", b" x HTTP"),
        lambda wire: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + wire,
        lambda wire: wire.replace(b"Content-Type", b"X: \r\nContent-Type"),
        lambda wire: b"\x16\x03\x01" + wire,
        lambda wire: wire.replace(b"/v1/responses", b"/v1/responses\0"),
        lambda wire: wire.replace(b"/v1/responses", b"/v1/resp\xc3\xb6nses"),
        lambda wire: wire.replace(b"POST", b"CONNECT"),
        lambda wire: wire.replace(b"Host: x", b"Host: x\r\nX-Mine: a\rb"),
    ]  # fmt: skip
    number = random.randrange(len(changes))
    wire = changes[number](whole)
    return Case(kind="framing", wire=wire, requests=2, story=[f"lines {number}"])


def _cut_short(random: Random) -> Case:
    wire = _INNER[: random.randint(1, len(_INNER) - 1)]
    return Case(kind="framing", wire=wire)
