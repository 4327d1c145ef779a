"""Forms: read one way only, judged as JSON, written anew."""

from __future__ import annotations

import email.policy
from collections.abc import Sequence
from email.parser import BytesParser
from typing import Any

import httpx2
import msgspec
import pytest
from asking import CATALOGUE, TODAY, door, policy
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.form import (
    MAX_HEAD,
    MAX_PARTS,
    MAX_TEXT,
    Form,
    boundary_of,
    content_type,
    read_form,
)
from imagegate.engine.request import Request
from imagegate.engine.value import DELETE, Edit

OURS = "imagegate-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3


def read(data: bytes, boundary: bytes = b"b") -> Form:
    steps = read_form(data, boundary)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            form: Form = end.value
            return form


def part(name: str, content: bytes = b"x", extra: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return b"--b\r\n" + head.encode() + content + b"\r\n"


def form(*parts: bytes) -> Form:
    return read(b"".join(parts) + b"--b--\r\n")


def value(found: Form) -> Any:
    return {key: member.plain() for key, member in found.body.members.items()}


def written(found: Form, *edits: Edit) -> dict[str, list[bytes]]:
    """Read what would be sent with another reader."""
    sent = bytes(found.rewritten(edits, OURS))
    head = f"Content-Type: {content_type(OURS)}\r\n\r\n".encode()
    message = BytesParser(policy=email.policy.HTTP).parsebytes(head + sent)
    fields: dict[str, list[bytes]] = {}
    for each in message.iter_parts():
        name = each.get_param("name", header="content-disposition")
        content = each.get_payload(decode=True)
        assert isinstance(content, bytes)
        fields.setdefault(str(name), []).append(content)
    return fields


def sent_by_httpx2(
    data: dict[str, str], files: Sequence[tuple[str, Any]]
) -> tuple[bytes, bytes]:
    request = httpx2.Request("POST", "http://x/", data=data, files=files)
    boundary = boundary_of(request.headers["content-type"])
    assert boundary is not None
    return request.read(), boundary


# -- what clients send ------------------------------------------------------------


def test_what_the_sdk_sends_is_read_as_the_json_it_stands_for() -> None:
    fields = {"model": "gpt-image-2", "n": "2", "stream": "true", "quality": "high"}
    files = [("image[]", ("a.png", PNG, "image/png"))] * 2
    data, boundary = sent_by_httpx2({**fields, "prompt": "a cat"}, files)

    assert value(read(data, boundary)) == {
        "model": "gpt-image-2",
        "n": 2,
        "stream": True,
        "quality": "high",
        "prompt": "a cat",
        "image": [{"file": True}, {"file": True}],
    }


def test_names_with_brackets_are_members() -> None:
    found = form(part("svg[model]"), part("svg[reasoning][effort]", b"low"))

    assert value(found) == {"svg": {"model": "x", "reasoning": {"effort": "low"}}}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (b"1", 1),
        (b"0", 0),
        (b"-5", -5),
        (b"01", "01"),
        (b"1.0", "1.0"),
        (b"1e3", "1e3"),
        (b"9999999999", "9999999999"),
        (b"false", False),
        (b"True", "True"),
        (b" high", " high"),
        (b"", ""),
        ("é".encode(), "é"),
    ],
)
def test_text_stands_for_a_value(text: bytes, meant: object) -> None:
    found = value(form(part("n", text)))["n"]

    assert found == meant
    assert type(found) is type(meant)


def test_a_listed_field_alone_is_a_list() -> None:
    assert value(form(part("tags[]", b"a"))) == {"tags": ["a"]}


def test_several_files_may_share_a_name() -> None:
    file = part("image", PNG, '; filename="a.png"')

    assert value(form(file, file)) == {"image": {"file": True}}


# -- what is sent -----------------------------------------------------------------


def test_nothing_else_moves() -> None:
    files = [
        ("image", ("a é.png", PNG, "image/png")),
        ("mask", ("m.png", b"--b", None)),
    ]
    data, boundary = sent_by_httpx2({"prompt": "a\r\n--b\r\ncat", "n": "2"}, files)
    found = read(data, boundary)

    sent = bytes(found.rewritten((), OURS))

    assert sent == data.replace(boundary, OURS.encode())


def test_changes_are_made_in_their_place() -> None:
    found = form(part("a"), part("quality", b"high"), part("n", b"9"), part("z"))
    edits: list[Edit] = [
        ("/quality", b'"low"'),
        ("/n", b"1"),
        ("/a", DELETE),
        ("/size", b'"1024x1024"'),
        ("/svg", b'{"model":"m","deep":{"er":true,"no":false,"gone":null}}'),
    ]

    assert written(found, *edits) == {
        "quality": [b"low"],
        "n": [b"1"],
        "z": [b"x"],
        "size": [b"1024x1024"],
        "svg[model]": [b"m"],
        "svg[deep][er]": [b"true"],
        "svg[deep][no]": [b"false"],
    }


def test_a_change_above_takes_all_below_along() -> None:
    found = form(part("svg[model]"), part("svg[reasoning][effort]"), part("svgx"))

    assert written(found, ("/svg", DELETE)) == {"svgx": [b"x"]}
    assert written(found, ("/svg/model", b'"y"'))["svg[model]"] == [b"y"]


def test_what_hides_inside_a_file_stays_inside_it() -> None:
    hidden = b'\n--b\nContent-Disposition: form-data; name="quality"\n\nhigh\n--b--\n'
    file = part("image", hidden, '; filename="a.png"')

    found = form(file)

    assert written(found)["image"] == [hidden]
    assert b"--b\n" not in bytes(found.rewritten((), OURS)).replace(hidden, b"")


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.tuples(st.binary(max_size=60), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_any_form_is_written_as_it_was_read(
    fields: dict[str, tuple[bytes, bool]],
) -> None:
    parts = []
    for name, (content, is_file) in fields.items():
        text = content if is_file else content.hex().encode()
        if b"\r\n--b" in b"\r\n" + text:
            return
        parts.append(part(name, text, '; filename="f"' if is_file else ""))
    data = b"".join(parts) + b"--b--\r\n"

    sent = bytes(read(data).rewritten((), OURS))

    assert sent == data.replace(b"--b\r\n", f"--{OURS}\r\n".encode()).replace(
        b"--b--", f"--{OURS}--".encode()
    )


# -- what is refused ---------------------------------------------------------------

HEAD = b'--b\r\nContent-Disposition: form-data; name="a"'
END = b"--b--\r\n"
FILE = '; filename="f"'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--b--\r\n",
        b"preamble\r\n" + part("a") + END,
        b"\r\n" + part("a") + END,
        part("a") + END + b"epilogue",
        part("a") + END + b"\r\n",
        part("a"),
        part("a") + b"--b",
        part("a") + b"--b-",
        part("a") + b"--b \r\n" + part("a")[5:] + END,
        part("a").replace(b"\r\n", b"\n") + END,
        b"--b\r\n\r\nx\r\n" + END,
        b"--b\r\nx\r\n" + END,
        HEAD + b"\r\nx\r\n" + END,
        HEAD + b"\n\nx\r\n" + END,
        HEAD + b"\r\n folded\r\n\r\nx\r\n" + END,
        HEAD + b"\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n" + END,
        HEAD + b"\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
        HEAD + b"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\nx\r\n" + END,
        HEAD + b"\r\nContent-Type: application/json\r\n\r\nx\r\n" + END,
        HEAD + b'; filename="f"\r\nContent-Type: a b/c\r\n\r\nx\r\n' + END,
        HEAD + b"; filename*=utf-8''f\r\n\r\nx\r\n" + END,
        HEAD + b'; name="b"\r\n\r\nx\r\n' + END,
        HEAD + b"\r\nX-\xff: y\r\n\r\nx\r\n" + END,
        HEAD + b"\r\nnocolon\r\n\r\nx\r\n" + END,
        b"--b\r\nContent-Disposition: form-data; name=a b\r\n\r\nx\r\n" + END,
        b"--b\r\nContent-Disposition: form-data; name=\r\n\r\nx\r\n" + END,
        HEAD + b"; filename*=utf-8''b\r\n\r\nx\r\n" + END,
        HEAD + b"; filename=b; filename*=utf-16''b\r\n\r\nx\r\n" + END,
        HEAD + b"; filename=b; filename*=utf-8''b; name=c\r\n\r\nx\r\n" + END,
        b'--b\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n' + END,
        b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END,
        part("a", extra='; filename="' + "f" * MAX_HEAD + '"') + END,
        part("a", b"x" * (MAX_TEXT + 1)) + END,
        part("a", b"\xff") + END,
        part("a") * 2 + END,
        part("a") + part("a", extra='; filename="f"') + END,
        part("a", extra='; filename="f"') + part("a") + END,
        part("a[]", extra='; filename="f"') + part("a", extra='; filename="f"') + END,
        part("a[]") * 2 + END,
        part("a") + part("a[b]") + END,
        part("a[b]") + part("a") + END,
        part("a[][b]") + END,
        *(
            part(name) + END
            for name in (
                "Quality",
                "quality ",
                " quality",
                "qualit\u0443",
                "output-format",
                "a.b",
                "_charset_",
                "a[B]",
                "a[b",
                "a]",
                "1a",
                "a%22",
                "a[b][c][d][e]",
            )
        ),
        b"".join(part(f"a{number}") for number in range(MAX_PARTS + 1)) + END,
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedRequest) as raised:
        read(data)

    assert raised.value.code == "bad_form"
    assert raised.value.status == 400


@pytest.mark.parametrize("inner", [part("a[b]"), part("a[b]", extra=FILE)])
def test_a_field_in_a_file_is_refused_and_no_other_form_hears_of_it(
    inner: bytes,
) -> None:
    """What stands for a file is the same for all forms: nobody may write into it."""
    file = part("a", extra=FILE)

    for data in (file + inner + END, inner + file + END):
        with pytest.raises(MalformedRequest) as raised:
            read(data)
        assert raised.value.code == "bad_form"

    assert value(read(file + END)) == {"a": {"file": True}}


def test_a_fault_is_placed_and_tells_nothing() -> None:
    with pytest.raises(MalformedRequest) as raised:
        form(part("svg[model]", b"\xffcanary"))

    assert raised.value.pointer == "/svg/model"
    assert "canary" not in raised.value.message


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ("multipart/form-data;boundary=abc", b"abc"),
        ('multipart/form-data; boundary="a b"', b"a b"),
        ("application/json", None),
        ("", None),
    ],
)
def test_a_boundary_is_read(header: str, boundary: bytes | None) -> None:
    assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "multipart/form-data",
        "multipart/mixed; boundary=a",
        "Multipart/Form-Data; boundary=a",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; charset=utf-8; boundary=a",
        "multipart/form-data; boundary=a,b; x",
        'multipart/form-data; boundary="a',
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-data; boundary=a\u00e9",
        "multipart/form-data; boundary=a{b}",
    ],
)
def test_a_boundary_that_is_not_plain_is_refused(header: str) -> None:
    with pytest.raises(MalformedRequest) as raised:
        boundary_of(header)

    assert raised.value.status == 415


def test_work_is_done_in_windows() -> None:
    data = part("a", bytes(5 << 20), '; filename="f"') + END
    steps = read_form(data, b"b")

    assert sum(1 for _ in steps) >= 4


def test_a_delimiter_across_a_windows_end_is_found() -> None:
    for size in range((1 << 20) - 90, (1 << 20) - 40):
        found = form(part("a", bytes(size), '; filename="f"'), part("z"))
        assert set(value(found)) == {"a", "z"}


# -- judged ------------------------------------------------------------------------

POLICY = """
models: { gpt-image-2: {}, default: gpt-image-2, otherwise: block }
settings: { quality: { max: medium, default: medium, otherwise: lower } }
limits: { images_api_n: 2 }
"""


def decide(found: Form) -> Any:
    decider = Decider(policy(POLICY), CATALOGUE)
    match = door("POST /v1/images/edits")
    return decider.decide(Request(match=match, body=found.body, date=TODAY))


IMAGE = part("image", PNG, '; filename="a.png"')


def test_a_form_is_judged_like_the_body_it_stands_for() -> None:
    fields = (part("model", b"gpt-image-2"), part("quality", b"high"))
    found = form(*fields, part("prompt"), IMAGE)

    decision = decide(found)

    assert isinstance(decision, Rewrite)
    sent = written(found, *decision.edits)
    assert sent["quality"] == [b"medium"]
    assert sent["image"] == [PNG]
    assert sent["model"] == [b"gpt-image-2"]


@pytest.mark.parametrize(
    "fields",
    [
        (part("model", b"dall-e-3"),),
        (part("model", b"gpt-image-2", '; filename="m"'),),
        (part("model", b"gpt-image-2"), part("n", b"3")),
        (part("model", b"gpt-image-2"), part("quality", b"ultra")),
        (part("model", b"gpt-image-2"), part("quality", b"high", '; filename="q"')),
        (part("model", b"gpt-image-2"), part("quality[]", b"high")),
        (part("model", b"gpt-image-2"), part("unheard_of")),
    ],
)
def test_what_the_policy_forbids_is_blocked(fields: tuple[bytes, ...]) -> None:
    decision = decide(form(*fields, part("prompt"), IMAGE))

    assert isinstance(decision, Block), msgspec.to_builtins(decision)


def test_a_file_can_be_taken_out_and_another_put_in() -> None:
    found = form(
        part("purpose", b"batch"),
        part("file", b"old", '; filename="a.jsonl"'),
        part("note", b"old"),
    )
    assert bytes(found.file("file") or b"") == b"old"
    assert found.file("purpose") is None
    assert found.file("other") is None

    sent = bytes(found.rewritten((), OURS, {"file": (b"n", b"ew")}))
    assert b'name="file"; filename="a.jsonl"\r\n\r\nnew\r\n' in sent
    assert b'name="note"\r\n\r\nold\r\n' in sent


def test_a_form_may_be_spelled_as_dotnet_does_and_is_sent_as_others_do() -> None:
    """Without quotes where it can, and with the name of a file in two ways."""
    found = read(
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Disposition: form-data; name=prompt\r\n\r\na cat\r\n"
        b"--b\r\nContent-Type: image/png\r\n"
        b"Content-Disposition: form-data; name=image; filename=a.png; "
        b"filename*=utf-8''%C3%A4.png\r\n\r\n" + PNG + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="svg[model]"\r\n\r\nx\r\n' + END
    )

    assert value(found) == {
        "prompt": "a cat",
        "image": {"file": True},
        "svg": {"model": "x"},
    }
    sent = bytes(found.rewritten((), OURS))
    assert b'form-data; name="prompt"\r\n' in sent
    assert b'form-data; name="image"; filename="a.png"\r\n' in sent
    assert b"filename*" not in sent
    assert written(found)["image"] == [PNG]
