"""From the making of a transport to its end, however it comes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from driving import COMPLETED, CREATED, DELTA, TOOL, Notebook
from in_process import BLOCKING, Application, Kind, Provider, openai_for
from journals import events, of, proved, wait_for

from imagegate.engine.errors import PolicyError
from imagegate.gates import load_gate
from imagegate.transport import AsyncPolicyTransport, PolicyTransport

Make = Callable[..., Application]
URL = "http://provider.invalid"
BODY = b'{"model":"gpt-5","input":"x"}'
RESPONSES = f"{URL}/v1/responses"
blocking = pytest.mark.parametrize(
    "kind", BLOCKING, ids=lambda kind: kind.name, indirect=True
)


def threads() -> list[threading.Thread]:
    """Return the threads of transports; other tests may have some too."""
    found = threading.enumerate()
    return [each for each in found if each.name == "imagegate-transport"]


# -- making one ----------------------------------------------------------------------


def test_a_policy_that_is_wrong_is_an_error_at_once(kind: Kind, tmp_path: Path) -> None:
    file = tmp_path / "draft.yaml"
    file.write_text("version: 1\nname: d\nowner: o\nmode: enforce\nstate: { x: y }\n")

    with pytest.raises(PolicyError) as raised:
        kind.transport(policy=file, audit=tmp_path / "trail")

    assert f"{file}:5:10: error [unknown-key] state.x" in str(raised.value)


def test_a_policy_that_is_not_there_is_an_error_at_once(
    kind: Kind, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=r"nowhere\.yaml"):
        kind.transport(policy=tmp_path / "nowhere.yaml", audit=tmp_path)


def test_an_own_path_that_leads_to_an_image_is_an_error_at_once(
    kind: Kind, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no door"):
        kind.transport(policy="standard", audit=tmp_path, own_paths=["/v1/*"])


def test_an_option_that_there_is_not_is_an_error_at_once(
    kind: Kind, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="no option 'identify'; there are principal"):
        kind.transport(policy="standard", audit=tmp_path, identify=print)


def test_a_policy_may_be_laid_out_already(make: Make, kind: Kind) -> None:
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(policy=load_gate("no-images"), inner=provider)

    application.post(RESPONSES, BODY)

    assert application.records[0]["policy"] == "no-images"


def test_nothing_is_opened_before_the_first_request(make: Make, kind: Kind) -> None:
    provider = Provider(kind, b"{}")
    before = threads()

    application = make(inner=provider)

    assert not application.trail.exists()
    assert threads() == before


def test_an_audit_that_was_given_is_not_closed(kind: Kind) -> None:
    closed: list[Notebook] = []

    class Kept(Notebook):
        async def close(self) -> None:
            closed.append(self)

    audit: Any = Kept()
    provider = Provider(kind, b"{}", content_type="application/json")
    with Application(kind, audit, inner=provider) as application:
        application.post(RESPONSES, BODY)

    assert audit.completion.outcome == "completed"
    assert closed == []
    assert provider.over


# -- ending one ----------------------------------------------------------------------


def test_what_is_under_way_is_stopped_with_the_transport(
    make: Make, kind: Kind
) -> None:
    provider = Provider(kind, CREATED, *[DELTA] * 10, COMPLETED)
    application = make(inner=provider, sdk=openai_for(URL))
    stream = application.create(TOOL, stream=True)
    taken = application.events(stream)
    next(taken)

    application.wait(
        application.transport.aclose()
        if kind.asynchronous
        else application.transport.close()
    )

    assert application.ends == ["shutdown"]
    assert provider.closed == 1
    assert provider.over
    with pytest.raises(openai.APIConnectionError) as raised:
        next(taken)
    assert str(raised.value.__cause__) == "the transport is closed"
    application.wait(stream.close())


def test_a_closed_transport_takes_no_more(make: Make, kind: Kind) -> None:
    before = threads()
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(inner=provider)
    application.post(RESPONSES, BODY)
    close = (
        application.transport.aclose
        if kind.asynchronous
        else application.transport.close
    )

    application.wait(close())
    application.wait(close())

    with pytest.raises(RuntimeError, match="the transport is closed"):
        application.post(RESPONSES, BODY)
    assert events(application.trail)[-1] == "audit_closed"
    assert threads() == before


@blocking
def test_the_threads_end_with_the_last_who_holds_it(kind: Kind, tmp_path: Path) -> None:
    before = threads()
    provider = Provider(kind, b"{}", content_type="application/json")
    transport = kind.transport(provider, policy="standard", audit=tmp_path)
    http = kind.client(transport=transport)
    http.post(RESPONSES, content=BODY, headers={"content-type": "application/json"})
    running = threads()

    del transport, http
    gc.collect()

    assert len(running) == len(before) + 1
    wait_for(lambda: threads() == before)
    assert events(tmp_path)[-1] == "audit_closed"


def test_the_journal_is_closed_with_the_last_who_holds_it(tmp_path: Path) -> None:
    asyncio.run(_asked_once(tmp_path))
    gc.collect()

    assert events(tmp_path)[-1] == "audit_closed"


async def _asked_once(trail: Path) -> None:
    """Use a client, and let go of it."""
    inner = httpx2.MockTransport(_say)
    transport = AsyncPolicyTransport(inner, policy="standard", audit=trail)
    http = httpx2.AsyncClient(transport=transport)
    kept = {"content-type": "application/json"}
    await http.post(RESPONSES, content=BODY, headers=kept)


def _say(request: httpx2.Request) -> httpx2.Response:
    del request
    return httpx2.Response(200, json={})


# -- processes -----------------------------------------------------------------------


SCRIPT = """
import sys, threading, httpx2

class Stream(httpx2.SyncByteStream):
    def __iter__(self):
        while True:
            yield b"data: {}\\n\\n"

class Provider(httpx2.BaseTransport):
    def handle_request(self, request):
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=Stream()
        )

provider = Provider()
if len(sys.argv) > 1:
    from imagegate.transport import PolicyTransport
    provider = PolicyTransport(provider, policy="standard", audit=sys.argv[1])
client = httpx2.Client(transport=provider)
request = client.build_request(
    "POST", "http://p/v1/responses", json={"model": "gpt-5", "input": "x"}
)
answer = client.send(request, stream=True)
pieces = answer.iter_raw()
print(next(pieces))
"""


def ended(*arguments: str) -> tuple[int, bool]:
    """Run the script, and tell how it ended and whether it complained."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, bool(done.stderr)


def test_a_program_that_ends_amid_a_stream_leaves_whole_records(tmp_path: Path) -> None:
    # It ends as it does without a policy: with Python 3.13 by a crash of Python's
    # own, and since 3.14 with a complaint, for httpx2 makes a `timedelta` when
    # `datetime` is gone.
    assert ended(str(tmp_path)) == ended()
    assert [line["outcome"] for line in of(tmp_path, "exchange_finished")] == [
        "shutdown"
    ]
    assert events(tmp_path)[-1] == "audit_closed"
    proved(tmp_path)


def in_child(work: Callable[[], object]) -> str:
    """Do something in a fork of this process, and return what came of it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(20)  # or it ends by this
        try:
            said = repr(work())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return said


@blocking
def test_a_used_transport_says_that_it_cannot_be_used_in_a_fork(
    make: Make, kind: Kind
) -> None:
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(inner=provider)
    application.post(RESPONSES, BODY)

    def ask() -> int:
        status: int = application.post(RESPONSES, BODY).status_code
        return status

    def close() -> None:
        application.close()

    assert in_child(ask).startswith("RuntimeError: the transport was used before")
    assert in_child(close) == "None"
    assert application.post(RESPONSES, BODY).status_code == 200
    assert application.ends == ["completed", "completed"]


@blocking
def test_an_open_answer_is_left_to_the_process_that_asked(
    make: Make, kind: Kind
) -> None:
    provider = Provider(kind, CREATED, DELTA, COMPLETED)
    application = make(inner=provider)

    kept = {"content-type": "application/json"}
    with application.http.stream(
        "POST", RESPONSES, content=BODY, headers=kept
    ) as answer:
        pieces = answer.iter_raw()
        begun = next(pieces)
        asked_for_more = in_child(lambda: next(pieces))
        closed = in_child(answer.close)
        rest = b"".join(pieces)

    assert asked_for_more.startswith("RuntimeError: the answer belongs to the process")
    assert closed == "None"
    assert begun + rest == CREATED + DELTA + COMPLETED
    assert application.ends == ["completed"]


@blocking
def test_one_that_was_only_made_can_be_used_in_forks(make: Make, kind: Kind) -> None:
    provider = Provider(kind, b"{}", content_type="application/json")
    application = make(inner=provider)

    def ask() -> int:
        status: int = application.post(RESPONSES, BODY).status_code
        application.close()
        return status

    assert [in_child(ask), in_child(ask)] == ["200", "200"]
    assert application.ends == ["completed", "completed"]


# -- what does not pass through it ---------------------------------------------------


def test_the_environments_proxy_does_not_lead_past_it(
    make: Make, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    application = make(inner=Provider(kind, b"{}", content_type="application/json"))

    application.post(RESPONSES, BODY)

    assert application.ends == ["completed"]


def test_a_mount_of_the_client_leads_past_it(tmp_path: Path) -> None:
    """It is said in the documents; nothing in here can see it."""
    governed = PolicyTransport(policy="no-images", audit=tmp_path)
    other = httpx2.MockTransport(_say)

    with httpx2.Client(transport=governed, mounts={"all://": other}) as http:
        answer = http.post(RESPONSES, content=b"anything")

    assert answer.status_code == 200
    assert events(tmp_path) == []


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")
def test_websockets_do_not_pass_through_it(
    tmp_path: Path, url: str, simulator: Any
) -> None:
    """It is said in the documents; when an SDK changes that, they are wrong."""
    transport = PolicyTransport(policy="no-images", audit=tmp_path)
    sdk = openai_for(url)(http_client=httpx2.Client(transport=transport))

    with sdk, sdk.responses.connect() as connection:
        connection.response.create(model="gpt-5", input="x", tools=[TOOL])
        types = [event.type for event in _until_completed(connection)]

    assert types[-1] == "response.completed"
    assert simulator.received[-1].method == "WEBSOCKET"
    assert not of(tmp_path, "request_rewritten")


def _until_completed(connection: Any) -> Any:
    for event in connection:
        yield event
        if event.type == "response.completed":
            return
