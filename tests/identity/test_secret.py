from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.identity.secret import mint, mint_hash_key, read_secret

KEY = "igk_abcdefghij01_" + "A" * 43


def test_a_key_is_read_as_it_was_minted() -> None:
    secret = mint()

    assert read_secret(secret.text) == secret
    assert secret.text.startswith(f"igk_{secret.id}_")
    assert secret.text.endswith(secret.last4)
    assert secret.text.rpartition("_")[2] not in repr(secret)


def test_no_two_keys_are_alike_and_each_has_256_bits() -> None:
    minted = [mint() for _ in range(1000)]

    assert len({each.id for each in minted}) == 1000
    assert len({each.text for each in minted}) == 1000
    letters = {letter for each in minted for letter in each.text.rpartition("_")[2]}
    assert letters == set(string.ascii_letters + string.digits)
    assert 62**43 >= 2**256
    assert len(mint_hash_key()) == 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "igk_",
        KEY[:-1],
        f"{KEY}A",
        f"{KEY}\n",
        f" {KEY}",
        f"{KEY}=",
        KEY.replace("igk", "IGK"),
        KEY.replace("abc", "ABC"),
        KEY.replace("_A", "-A"),
        KEY.replace("01", "٠١"),
        KEY[:-1] + "Ａ",
        KEY[:-1] + "_",
        KEY.replace("_", "%5f"),
    ],
)
def test_what_is_spelled_otherwise_is_no_key(text: str) -> None:
    assert read_secret(text) is None
    assert read_secret(KEY) is not None


@given(st.text(), st.binary(min_size=32, max_size=32))
def test_a_key_has_one_spelling(text: str, hash_key: bytes) -> None:
    """No other text has the same hash, because it is the text that is hashed."""
    secret, other = read_secret(KEY), read_secret(text)

    assert secret is not None
    if other is not None and text != KEY:
        assert other.hash(hash_key) != secret.hash(hash_key)


def test_the_hash_needs_the_key_of_the_file() -> None:
    secret = mint()

    assert secret.hash(b"a" * 32) == secret.hash(b"a" * 32)
    assert secret.hash(b"a" * 32) != secret.hash(b"b" * 32)
