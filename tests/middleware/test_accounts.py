"""What a decision record tells of a request besides its tools."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from driving import (
    CATALOGUE,
    GATE,
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    governed,
    request,
)

from imagegate.engine.gate import Gate

pytestmark = pytest.mark.anyio
KEY = b"a key of the operator's"


async def told(
    by: Gate = GATE, body: bytes | None = None, query: bytes = b""
) -> Notebook:
    audit = Notebook()
    scope = request(query_string=query)
    pieces = (asking(TOOL) if body is None else body,)
    await Call(governed(Inner(), audit, by=by), scope, pieces).whole()
    return audit


async def test_prompts_and_users_are_hashed_with_the_operators_key_only() -> None:
    by = Gate(GATE.policy, CATALOGUE, hash_key=KEY)
    body = asking(TOOL, user="somebody", input="a cat" * 100_000)

    with_key, without = await told(by, body), await told(body=body)

    expected = hmac.new(KEY, b"somebody", hashlib.sha256).hexdigest()
    assert with_key.decision.user_hmac == expected
    prompt = b'"' + b"a cat" * 100_000 + b'"'
    assert with_key.decision.prompt_hmac == (
        hmac.new(KEY, prompt, hashlib.sha256).hexdigest()
    )
    assert without.decision.user_hmac is None
    assert without.decision.prompt_hmac is None


@pytest.mark.parametrize(
    ("query", "version"),
    [
        (b"api-version=2026-01-01-preview", "2026-01-01-preview"),
        (b"include=a&api-version=v1", "v1"),
        (b"", None),
        (b"api-version=a&api-version=b", None),
        (b"api-version=%00<script>", "other"),
        (b"api-version=sk-looks-like-a-word", "other"),
    ],
)
async def test_the_version_of_the_interface_is_told(
    query: bytes, version: str | None
) -> None:
    audit = await told(query=query)

    assert audit.decision.api_version == version
