from __future__ import annotations

import contextlib
import datetime
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyed import HASH_KEY, NOW, given_out, key_of, keys_of

from imagegate.engine.policy import Principal
from imagegate.identity.apikey import KeysError, dump_keys, load_keys
from imagegate.identity.secret import mint, read_secret

HOUR = datetime.timedelta(hours=1)


def test_what_is_written_is_read() -> None:
    _, one = given_out("ci", team=("design", "web"), attributes={"region": ("eu",)})
    _, other = given_out("müller", expires=NOW + HOUR, revoked=NOW)
    keys = keys_of(one, other)

    assert load_keys(dump_keys(keys)) == keys


def test_no_key_is_in_its_file() -> None:
    text, key = given_out()

    written = dump_keys(keys_of(key)).decode()

    assert text not in written
    assert text.rpartition("_")[2][:-4] not in written


def test_who_has_a_key_is_a_principal_that_has_proved_it() -> None:
    text, key = given_out("ci", team=("design",), attributes={"region": ("eu", "us")})
    secret = read_secret(text)
    assert secret is not None

    found = keys_of(key).find(secret)

    assert found == (
        key,
        Principal(
            id="ci",
            attributes={"region": ("eu", "us"), "key": ("ci",), "team": ("design",)},
            verified=True,
            source="key",
            proof=f"key {secret.id}",
        ),
    )


def test_without_a_team_there_is_none_to_match() -> None:
    _, key = given_out("ci")

    assert key.principal.attributes == {"key": ("ci",)}


def test_neither_a_wrong_secret_nor_an_unknown_id_is_found() -> None:
    text, key = given_out()
    keys = keys_of(key)
    wrong = read_secret(text[:-1] + ("a" if text[-1] != "a" else "b"))
    assert wrong is not None

    assert keys.find(wrong) is None
    assert keys.find(mint()) is None


def test_an_unknown_id_is_compared_like_a_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the time of an answer would tell which ids there are."""
    compared: list[tuple[int, int]] = []
    really = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return really(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    _, key = given_out()
    keys = keys_of(key)

    keys.find(mint())
    secret = mint()
    keys_of(key_of(secret)).find(secret)

    assert compared == [(32, 32), (32, 32)]


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "active"),
        ({"expires": NOW + HOUR}, "active"),
        ({"expires": NOW}, "expired"),
        ({"expires": NOW + HOUR, "revoked": NOW}, "revoked"),
        ({"expires": NOW - HOUR, "revoked": NOW}, "revoked"),
    ],
)
def test_a_key_ends_when_it_expires_and_when_it_is_revoked(
    more: dict[str, Any], state: str
) -> None:
    _, key = given_out("ci", **more)

    assert key.state(NOW) == state


HEAD = json.dumps({"imagegate_keys": 1, "hash_key": HASH_KEY.hex()})
_, KEY = given_out("ci")
LINE = json.loads(dump_keys(keys_of(KEY)).splitlines()[1])


def written(**changes: Any) -> bytes:
    return f"{HEAD}\n{json.dumps(LINE | changes)}\n".encode()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "line 1"),
        (b"\xff", "line 1"),
        (b"[" * 100_000, "line 1"),
        (b'{"imagegate_keys": 2, "hash_key": ""}', "line 1"),
        (b'{"imagegate_keys": 1, "hash_key": "xx"}', "line 1"),
        (b'{"imagegate_keys": 1, "hash_key": "00"}', "line 1"),
        (f"{HEAD}\n{{".encode(), "line 2"),
        (f"{HEAD}\n\n\n{{}}".encode(), "line 4"),
        (f"{HEAD}\n".encode() + b"[" * 100_000, "line 2"),
        (written(id="ABCDEFGHIJKL"), "line 2"),
        (written(hash="00"), "line 2"),
        (written(last4="what a key ends in"), "line 2"),
        (written(created="2026-11-21T09:00:00"), "line 2"),
        (written(name=""), "`name`"),
        (written(name=" ci"), "`name`"),
        (written(name="c\x1bi"), "`name`"),
        (written(name="x" * 201), "`name`"),
        (written(team=["\u202e"]), "`team`"),
        (written(attributes={"": ["a"]}), "`attribute`"),
        (written(attributes={"a": [""]}), "`a`"),
        (written(attributes={"team": ["a"]}), "`team` is no attribute"),
        (written(attributes={"key": ["a"]}), "`key` is no attribute"),
        (written(scope="all"), "line 2"),
        (written() + json.dumps(LINE).encode(), "twice"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_line(
    data: bytes, where: str
) -> None:
    with pytest.raises(KeysError) as raised:
        load_keys(data)

    assert where in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    data = written(name="") + json.dumps(LINE | {"id": "?"}).encode()

    with pytest.raises(KeysError) as raised:
        load_keys(data)

    assert len(raised.value.problems) == 2


@given(st.binary())
def test_any_bytes_are_keys_or_problems(data: bytes) -> None:
    for each in (data, HEAD.encode() + b"\n" + data):
        with contextlib.suppress(KeysError):
            load_keys(each)


def test_what_keys_are_hashed_with_is_in_no_representation() -> None:
    assert repr(keys_of(KEY)) == "<1 keys>"
    assert keys_of(KEY) != "keys"
