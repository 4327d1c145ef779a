"""Only UTF-8 is read, and how it is said what is not."""

from __future__ import annotations

import pytest

from imagegate.engine.encoding import check_encoding
from imagegate.engine.errors import MalformedRequest


def refusal(data: bytes) -> tuple[str, str]:
    """Check bytes that are not UTF-8; give the code and the place."""
    with pytest.raises(MalformedRequest) as caught:
        list(check_encoding(data))
    return caught.value.code, caught.value.pointer


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"", "empty_body", ""),
        (b" \r\n", "empty_body", ""),
        (b"\xef\xbb\xbf{}", "byte_order_mark", ""),
        ('{"a":1}'.encode("utf-16"), "not_utf8", ""),
        ('{"a":1}'.encode("utf-16-le"), "not_utf8", ""),
        ('{"a":1}'.encode("utf-32-be"), "not_utf8", ""),
        ('{"a":1}'.encode("cp037"), "not_utf8", "byte 0"),
        (b'{"a":"\xff"}', "not_utf8", "byte 6"),
        (b'{"a":["\xc1\xb4ools"]}', "not_utf8", "byte 7"),
        (b'{"a":"\xed\xa0\x80"}', "not_utf8", "byte 6"),
        (b'{"a\xff":1}', "not_utf8", "byte 3"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_other_encodings_are_refused(data: bytes, code: str, place: str) -> None:
    """What readers guess about differs from reader to reader."""
    assert refusal(data) == (code, place)


def test_utf8_is_checked_in_pieces_that_do_not_cut_characters() -> None:
    """A character across two pieces is whole, and a bad byte is found in the last."""
    for before in range(4):
        text = b'{"a":"%b%b"}' % (b"x" * before, ("😀" * 600_000).encode())
        broken = text[:-2] + b'\xff"}'

        assert len(list(check_encoding(text))) == 2
        assert refusal(broken) == ("not_utf8", f"byte {len(text) - 2}")
    assert refusal(b"\xc3" + b"\x80" * 3_000_000)[0] == "not_utf8"


@pytest.mark.parametrize("data", [b'{"a":1}', '{"é":1}'.encode(), b" " * 70_000 + b"{"])
def test_utf8_passes(data: bytes) -> None:
    """Whether it is JSON is another matter."""
    assert list(check_encoding(data)) == []
