"""nginx and Envoy in front of the gateway, as `deploy/` configures them.

Behind either, the gateway must see what the client wrote, and the client what the
gateway answers, as it comes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from running import Gateway, until
from stage import Certificates
from tools import DEPLOY, run, tool
from websockets.sync.client import connect

from imagegate.simulator import Simulator

TOOL: Any = {"type": "image_generation", "quality": "high"}
Certified = Callable[[Path], str]


@dataclass(frozen=True)
class Front:
    """A proxy with TLS in front of the gateway."""

    port: int
    trust: ssl.SSLContext

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"https://localhost:{self.port}/v1",
            api_key="k",
            max_retries=0,
            http_client=httpx2.Client(verify=self.trust, trust_env=False),
        )

    def ask(
        self, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        """Ask without a client that would mend what it is given."""
        connection = http.client.HTTPSConnection(
            "localhost", self.port, context=self.trust, timeout=30
        )
        with contextlib.closing(connection):
            connection.putrequest("POST", path, skip_accept_encoding=True)
            for name, value in [*headers, ("content-length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()


def sent_quality(simulator: Simulator) -> object:
    [sent] = json.loads(simulator.received[-1].body)["tools"]
    return sent["quality"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def started(words: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a front until it is not needed any more."""

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("::1", port), 1):
            return True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        return False

    with log.open("wb") as said:
        running = subprocess.Popen(words, stdout=said, stderr=said)
    try:
        until(lambda: listens() or running.poll() is not None)
        assert running.poll() is None, log.read_text()
        yield
    finally:
        running.terminate()
        running.wait(30)


@contextlib.contextmanager
def nginx(gateway: Gateway, certified: Certified, folder: Path) -> Iterator[int]:
    port, behind = free_port(), gateway.url.removeprefix("http://")
    site = certified(DEPLOY / "nginx/imagegate.conf")
    site = site.replace("127.0.0.1:8080", behind)
    site = site.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    site = site.replace("    listen [::]:443 ssl;\n", "")
    folder.joinpath("site.conf").write_text(site)
    paths = "client_body", "proxy", "fastcgi", "uwsgi", "scgi"
    temporary = "\n".join(f"{name}_temp_path {folder}/{name};" for name in paths)
    whole = folder / "nginx.conf"
    whole.write_text(
        f"daemon off; master_process off; pid {folder}/pid;\n"
        f"error_log {folder}/errors;\nevents {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    run("nginx", "-t", "-c", whole, "-e", folder / "errors")
    words = [tool("nginx"), "-c", str(whole), "-e", str(folder / "errors")]
    with started(words, port, folder / "log"):
        yield port


@contextlib.contextmanager
def envoy(gateway: Gateway, certified: Certified, folder: Path) -> Iterator[int]:
    port, behind = free_port(), gateway.url.rpartition(":")[2]
    text = certified(DEPLOY / "envoy/envoy.yaml")
    text = text.replace("port_value: 8080", f"port_value: {behind}")
    text = text.replace("port_value: 8443", f"port_value: {port}")
    text = text.replace("address: 0.0.0.0", "address: 127.0.0.1")
    file = folder / "envoy.yaml"
    file.write_text(text)
    run("envoy", "--mode", "validate", "-c", file)
    words = [tool("envoy"), "-c", str(file), "--log-level", "warning"]
    words += ["--use-dynamic-base-id", "--concurrency", "1"]
    with started(words, port, folder / "log"):
        yield port


FRONTS = {"nginx": nginx, "envoy": envoy}


@pytest.fixture(scope="module", params=sorted(FRONTS))
def front(
    request: pytest.FixtureRequest,
    gateway: Gateway,
    certified: Certified,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp(request.param)
    trust = ssl.create_default_context(cafile=str(certificates.authority))
    with FRONTS[request.param](gateway, certified, folder) as port:
        yield Front(port, trust)


def test_the_policy_holds_behind_it(front: Front, simulator: Simulator) -> None:
    with front.client() as client:
        response = client.responses.create(model="gpt-5", input="a cat", tools=[TOOL])

    assert response.output
    assert sent_quality(simulator) == "medium"


def test_events_come_as_they_are_made(front: Front) -> None:
    # The picture takes its time, and its first events must not wait for it.
    slow = {"simulator": "delay_ms=100"}

    with (
        front.client() as client,
        client.responses.stream(
            model="gpt-5", input="a cat", tools=[TOOL], metadata=slow
        ) as stream,
    ):
        kinds = [(event.type, time.monotonic()) for event in stream]

    assert kinds[0][0] == "response.created"
    assert kinds[-1][0] == "response.completed"
    assert kinds[-1][1] - kinds[0][1] > 0.4


@pytest.mark.parametrize(
    "path", ["/v1//responses", "/v1/%72esponses", "/v1/./responses"]
)
def test_the_path_is_judged_as_it_was_written(
    front: Front, path: str, simulator: Simulator
) -> None:
    before = len(simulator.received)
    headers = [("content-type", "application/json")]

    status, said = front.ask(path, headers, b'{"model":"gpt-5","input":"x"}')

    assert status in {400, 404}, said
    assert len(simulator.received) == before


def test_a_twin_of_a_header_is_refused(front: Front, simulator: Simulator) -> None:
    before = len(simulator.received)
    twins = [("content-type", "application/json"), ("content_type", "text/plain")]

    status, _ = front.ask("/v1/responses", twins, b'{"model":"gpt-5","input":"x"}')

    assert status == 400
    assert len(simulator.received) == before


def test_websockets_go_through_it(
    front: Front, certificates: Certificates, gateway: Gateway
) -> None:
    before = len(gateway.records("request_rewritten"))
    trust = ssl.create_default_context(cafile=str(certificates.authority))
    url = f"wss://localhost:{front.port}/v1/responses"
    asked = (
        '{"type":"response.create","model":"gpt-5","input":"a cat",'
        '"tools":[{"type":"image_generation","quality":"high"}]}'
    )

    with connect(
        url,
        ssl=trust,
        proxy=None,
        max_size=None,
        additional_headers={"authorization": "Bearer k"},
    ) as socket_:
        socket_.send(asked)
        while '"response.completed"' not in str(socket_.recv(30))[:400]:
            pass

    # Its messages are judged one by one, and each is recorded.
    until(lambda: len(gateway.records("request_rewritten")) > before)


def test_a_refusal_comes_as_the_gateway_wrote_it(front: Front) -> None:
    bad: Any = {**TOOL, "type": "Image_Generation"}

    with (
        front.client() as client,
        pytest.raises(openai.PermissionDeniedError) as raised,
    ):
        client.responses.create(model="gpt-5", input="x", tools=[bad])

    assert raised.value.code
    assert raised.value.response.headers["x-imagegate-decision"]


def test_a_client_that_leaves_ends_the_call(front: Front, gateway: Gateway) -> None:
    def left() -> int:
        ends = gateway.records("exchange_finished")
        return sum(each["outcome"] == "client_left" for each in ends)

    before = left()
    with front.client() as client:
        stream = client.responses.create(
            model="gpt-5",
            input="x",
            tools=[TOOL],
            metadata={"simulator": "delay_ms=1000"},
            stream=True,
        )
        with stream:
            next(iter(stream))

    until(lambda: left() > before)
