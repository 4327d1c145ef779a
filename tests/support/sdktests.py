"""A plugin under which an SDK's own tests run through the gateway.

The SDK's clients talk to a gateway in this process, and that to a stand-in which
answers with whatever the SDK says it is going to read. What became of each test is
written down, with what the gateway recorded of it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import uvicorn
from openai._base_client import AsyncAPIClient, SyncAPIClient
from places import laid_out
from stage import Log, serving
from standin import Answer, StandIn, answer_of

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.server.run import Listener, server_for
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

_STANDIN = StandIn()
_LOG = Log()
_KEYS: dict[str, Any] = {"api_key": "a key", "admin_api_key": "an admin's key"}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a test.

    Attributes:
        test: Its id.
        outcome: passed, failed or skipped.
        door: The last that the gateway was asked for during the test.
        rules: What the gateway cited when it refused.
        said: The last line of what the test raised.
    """

    test: str
    outcome: str
    door: str = ""
    rules: tuple[str, ...] = ()
    said: str = ""


_SAME = ("[loose]", "-loose]", "-aiohttp]")
"""Variants that send the same: how an answer is read, and by which library."""


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out the variants, and what compares signatures and asks for nothing."""
    same = [item for item in items if _is_silent(item)]
    config.hook.pytest_deselected(items=same)
    items[:] = [item for item in items if not _is_silent(item)]


def _is_silent(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    waits = inspect.iscoroutinefunction(item.function)
    idle = "async_client" in item.fixturenames and not waits
    return idle or item.nodeid.endswith(_SAME)


@pytest.fixture(scope="session")
def gateway() -> Iterator[str]:
    config = uvicorn.Config(_STANDIN, lifespan="off", ws="none", log_level="critical")
    with contextlib.ExitStack() as running:
        provider = running.enter_context(serving(uvicorn.Server(config)))
        app = create_app(
            laid_out(os.environ["SDK_POLICY"]),
            {"": Upstream(name="stand-in", base=provider)},
            client=FastClient(),
            audit=StreamAudit(_LOG),
        )
        server = server_for(app, Listener(port=0, grace=1))
        yield running.enter_context(serving(server)) + "/v1"


@pytest.fixture(scope="session", autouse=True)
def listening() -> Iterator[None]:
    """Learn from each call what the SDK is going to read."""
    with pytest.MonkeyPatch.context() as patch:
        for client in (SyncAPIClient, AsyncAPIClient):
            patch.setattr(client, "request", _telling(client.request))
        yield


def _telling(asking: Any) -> Any:
    def request(self: Any, wanted: Any, options: Any, **more: Any) -> Any:
        if not _Mock.answering:
            stream = bool(more.get("stream"))
            _STANDIN.expected = answer_of(wanted, stream=stream)
        return asking(self, wanted, options, **more)

    return request


def _strict(request: pytest.FixtureRequest) -> bool:
    said = getattr(request, "param", True)
    return bool(said.get("strict", True) if isinstance(said, dict) else said)


@pytest.fixture
def client(request: pytest.FixtureRequest, gateway: str) -> Iterator[openai.OpenAI]:
    strict = _strict(request)
    with openai.OpenAI(
        base_url=gateway, _strict_response_validation=strict, **_KEYS
    ) as client:
        yield client


@pytest.fixture
async def async_client(
    request: pytest.FixtureRequest, gateway: str
) -> AsyncIterator[openai.AsyncOpenAI]:
    strict = _strict(request)
    async with openai.AsyncOpenAI(
        base_url=gateway, _strict_response_validation=strict, **_KEYS
    ) as client:
        yield client


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _Mock:
    """Stands where the SDK's tests put an answer into the transport: it is sent."""

    answering = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self

    def mock(self, return_value: Any) -> None:
        _Mock.answering = True
        kind = return_value.headers.get("content-type", "application/octet-stream")
        _STANDIN.expected = Answer(
            body=return_value.content, kind=kind, status=return_value.status_code
        )


@pytest.fixture
def respx2_mock() -> Iterator[_Mock]:
    yield _Mock()
    _Mock.answering = False


# -- what became of it ------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    over = report.when == "call" or report.outcome != "passed"
    if over:
        _note(item.nodeid, report.outcome, call)
    return report


def _note(test: str, outcome: str, call: pytest.CallInfo[None]) -> None:
    records = _LOG.since(0)
    _LOG.lines.clear()
    decided = [each for each in records if "decision" in each]
    said = "" if call.excinfo is None else call.excinfo.exconly().splitlines()[-1]
    found = Outcome(test=test, outcome=outcome, said=said[:300])
    if decided:
        found = msgspec.structs.replace(found, door=decided[-1].get("door") or "none")
    if outcome == "failed" and decided:
        found = msgspec.structs.replace(found, rules=_rules(decided[-1]))
    with Path(os.environ["SDK_OUTCOMES"]).open("ab") as file:
        file.write(msgspec.json.encode(found) + b"\n")


def _rules(record: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(each.get("rule")) for each in record.get("violations", ()))
