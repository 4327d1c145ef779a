"""azure-core's pipelines, and the Foundry client with both of its ways out governed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import uvicorn
from azure.ai.projects import AIProjectClient
from azure.ai.projects.models import ImageGenTool, PromptAgentDefinition
from azure.core import AsyncPipelineClient, PipelineClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from azure.core.pipeline.transport import AsyncioRequestsTransport
from azure.core.rest import HttpRequest
from driving import STREAM, turn
from journals import of, wait_for
from stage import Certificates, certify, serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imagegate.simulator import Simulator, create_simulator
from imagegate.transport import PolicyTransport
from imagegate.transport.azure import AsyncPipelinePolicy, PipelinePolicy

JSON = {"content-type": "application/json"}


class Service:
    """Foundry, as far as it registers agents; it answers with what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.stream = b"".join(STREAM)
        self.simulator: Simulator = create_simulator(
            behaviour="bits=0", deployments={"img-mini-prod": "gpt-image-1-mini"}
        )
        routes = [
            Route(
                "/api/projects/p/agents/{name}/versions", self.version, methods=["POST"]
            ),
            Route("/v1/responses", self.streamed, methods=["POST"]),
            Route("/v1/files", self.version, methods=["POST"]),
            Route("/v1/models", self.version),
        ]
        self.app = Starlette(routes=routes)
        self.app.mount("/", self.simulator)

    async def _hear(self, request: Request) -> bytes:
        body = await request.body()
        self.heard.append((request.url.path, dict(request.headers), body))
        return body

    async def version(self, request: Request) -> Response:
        body = await self._hear(request)
        heard = json.loads(body) if body.startswith(b"{") else {}
        return JSONResponse({"id": "v1", "name": "n", "version": "1", **heard})

    async def streamed(self, request: Request) -> Response:
        await self._hear(request)
        return Response(self.stream, media_type="text/event-stream")

    @property
    def definition(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.heard[-1][2])["definition"]
        return found


class Token:
    """A credential that has what it needs."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", int(time.time()) + 3_600)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certify(tmp_path_factory.mktemp("certificates"))


@contextlib.contextmanager
def provider(app: Any, scheme: str = "http", **more: Any) -> Iterator[str]:
    """Serve on asyncio's loop, until the last client has left."""
    config = uvicorn.Config(app, loop="asyncio", log_level="critical", **more)
    server = uvicorn.Server(config)
    with serving(server, scheme) as url:
        yield url
        gc.collect()  # urllib3's pools close their connections when they go
        wait_for(lambda: not server.server_state.connections)


@pytest.fixture
def endpoint(
    service: Service, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    files = {
        "ssl_certfile": str(certificates.server),
        "ssl_keyfile": str(certificates.key),
    }
    with provider(service.app, "https", **files) as url:
        yield url.replace("127.0.0.1", "localhost") + "/api/projects/p"


@pytest.fixture
def plain(service: Service) -> Iterator[str]:
    with provider(service.app) as url:
        yield url


@contextlib.contextmanager
def governed(
    endpoint: str, certificates: Certificates, trail: Path
) -> Iterator[AIProjectClient]:
    ca = str(certificates.authority)
    with (
        PipelinePolicy(policy="azure-foundry", audit=trail) as policy,
        AIProjectClient(
            endpoint, Token(), per_call_policies=[policy], connection_verify=ca
        ) as project,
    ):
        yield project


def agent(**tool: Any) -> PromptAgentDefinition:
    return PromptAgentDefinition(model="gpt-5", tools=[ImageGenTool(**tool)])


# -- AIProjectClient -----------------------------------------------------------------


def test_an_agent_is_registered_as_the_policy_allows(
    endpoint: str, certificates: Certificates, service: Service, tmp_path: Path
) -> None:
    with governed(endpoint, certificates, tmp_path) as project:
        version = project.agents.create_version(
            "painter", definition=agent(model="img-mini-prod", quality="high")
        )

    assert version.version == "1"
    assert service.definition["tools"][0]["quality"] == "medium"
    assert service.heard[-1][1]["authorization"] == "Bearer token"
    [decision] = of(tmp_path, "request_rewritten")
    assert decision["door"] == "agents.versions.create"
    assert decision["transport"] == "in_process"
    [end] = of(tmp_path, "exchange_finished")
    assert (end["outcome"], end["status"]) == ("completed", 200)


def test_an_agent_that_may_not_be_is_the_clients_own_error(
    endpoint: str, certificates: Certificates, service: Service, tmp_path: Path
) -> None:
    with (
        governed(endpoint, certificates, tmp_path) as project,
        pytest.raises(HttpResponseError) as raised,
    ):
        project.agents.create_version("painter", definition=agent(model="unlisted"))

    assert raised.value.status_code == 403
    assert raised.value.reason == "Forbidden"
    assert raised.value.error is not None
    assert raised.value.error.code == "image_policy_violation"
    assert service.heard == []
    assert len(of(tmp_path, "request_blocked")) == 1


def test_the_openai_client_of_a_project_takes_a_transport(
    endpoint: str, certificates: Certificates, service: Service, tmp_path: Path
) -> None:
    transport = PolicyTransport(policy="azure-foundry", audit=tmp_path)
    tool: Any = {"type": "image_generation", "quality": "high"}
    project = AIProjectClient(
        endpoint, Token(), connection_verify=str(certificates.authority)
    )
    http = openai.DefaultHttpxClient(transport=transport)

    with project, project.get_openai_client(http_client=http) as client:
        answer = client.responses.create(model="gpt-5", input="a cat", tools=[tool])

    assert answer.output[0].type == "image_generation_call"
    received = service.simulator.received[-1]
    assert received.path == "/api/projects/p/openai/v1/responses"
    assert json.loads(received.body)["tools"][0]["model"] == "img-mini-prod"
    assert received.header("authorization") == "Bearer token"
    assert len(of(tmp_path, "request_rewritten")) == 1


def test_without_the_policy_the_projects_own_calls_are_not_governed(
    endpoint: str, certificates: Certificates, service: Service, tmp_path: Path
) -> None:
    """The OpenAI client's transport has no part in them: it is said, and so it is."""
    transport = PolicyTransport(policy="azure-foundry", audit=tmp_path)
    project = AIProjectClient(
        endpoint, Token(), connection_verify=str(certificates.authority)
    )
    http = httpx2.Client(transport=transport)

    with project, project.get_openai_client(http_client=http):
        project.agents.create_version("painter", definition=agent(model="unlisted"))

    assert service.definition["tools"][0]["model"] == "unlisted"
    assert not of(tmp_path, "request_blocked")


# -- any pipeline --------------------------------------------------------------------


def pipeline(url: str, policy: PipelinePolicy) -> PipelineClient[Any, Any]:
    return PipelineClient(url, per_call_policies=[policy])


class Ways:
    """A pipeline of either kind, to send requests by."""

    def __init__(self, url: str, trail: Path, *, asynchronous: bool) -> None:
        self.url = url
        self.trail = trail
        self.asynchronous = asynchronous

    def send(self, request: HttpRequest, **more: Any) -> Any:
        """Send a request; the answer is read."""
        if self.asynchronous:
            return asyncio.run(self._send(request, **more))
        with (
            PipelinePolicy(policy="standard", audit=self.trail) as policy,
            pipeline(self.url, policy) as client,
        ):
            answer = client.send_request(request, **more)
            answer.read()
            return answer

    async def _send(self, request: HttpRequest, **more: Any) -> Any:
        transport = AsyncioRequestsTransport()
        async with AsyncPipelinePolicy(policy="standard", audit=self.trail) as policy:
            client: AsyncPipelineClient[Any, Any] = AsyncPipelineClient(
                self.url, per_call_policies=[policy], transport=transport
            )
            async with client:
                answer = await client.send_request(request, **more)
                await answer.read()
                return answer


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def ways(request: pytest.FixtureRequest, plain: str, tmp_path: Path) -> Ways:
    return Ways(plain, tmp_path, asynchronous=request.param)


def responses(url: str, **more: Any) -> HttpRequest:
    tool = {"type": "image_generation", "model": "gpt-image-2", "quality": "high"}
    body = {"model": "gpt-5", "input": "x", "tools": [tool], **more}
    return HttpRequest("POST", f"{url}/v1/responses", json=body)


def test_a_request_is_rewritten(ways: Ways, service: Service) -> None:
    service.stream = turn("created") + turn("completed", 1, status="completed")

    answer = ways.send(responses(ways.url))

    assert answer.status_code == 200
    assert answer.content == service.stream
    assert json.loads(service.heard[-1][2])["tools"][0]["quality"] == "low"
    assert of(ways.trail, "exchange_finished")[0]["outcome"] == "completed"


def test_what_is_cut_is_cut_for_the_operation_too(ways: Ways, service: Service) -> None:
    service.stream = turn("created", quality="high") + turn("completed", 1)

    answer = ways.send(responses(ways.url))

    assert b"response.completed" not in answer.content
    assert b"image_policy_violation" in answer.content
    assert of(ways.trail, "exchange_finished")[0]["outcome"] == "cut"


def test_a_refusal_is_an_answer(ways: Ways, service: Service) -> None:
    answer = ways.send(responses(ways.url, tools=[{"type": "image-generation"}]))

    assert service.heard == []
    assert (answer.status_code, answer.reason) == (403, "Forbidden")
    assert answer.json()["error"]["code"] == "image_policy_violation"
    assert answer.content_type == "application/json"
    assert answer.headers["X-Should-Retry"] == "false"
    assert answer.url == answer.request.url
    assert answer.is_closed
    assert answer.is_stream_consumed
    assert "403 Forbidden" in repr(answer)
    with pytest.raises(HttpResponseError):
        answer.raise_for_status()
    answer.encoding = "latin-1"
    assert answer.encoding == "latin-1"
    assert _all(answer) == answer.content


def _all(answer: Any) -> bytes:
    """Read an answer by each of the ways there are, which must agree."""
    if not hasattr(answer, "__aenter__"):
        with answer as entered:
            assert b"".join(entered.iter_raw()) == b"".join(entered.iter_bytes())
            return bytes(entered.read())

    async def reading() -> bytes:
        async with answer as entered:
            raw = [piece async for piece in entered.iter_raw()]
            assert raw == [piece async for piece in entered.iter_bytes()]
            await entered.close()
            return bytes(await entered.read())

    return asyncio.run(reading())


def test_a_body_that_comes_in_pieces_cannot_be_judged(
    ways: Ways, service: Service
) -> None:
    pieces = iter([b'{"model":"gpt-5"}'])
    url = f"{ways.url}/v1/responses"

    answer = ways.send(HttpRequest("POST", url, content=pieces, headers=JSON))

    assert answer.status_code == 400
    assert service.heard == []


def test_a_form_cannot_be_judged(ways: Ways, service: Service) -> None:
    form = {"file": b"zip"}
    url = f"{ways.url}/api/projects/p/agents/a/versions"

    answer = ways.send(HttpRequest("POST", url, files=form))

    assert answer.status_code == 415
    assert service.heard == []


def test_a_get_has_no_body(ways: Ways, service: Service) -> None:
    answer = ways.send(HttpRequest("GET", f"{ways.url}/v1/models"))

    assert answer.status_code == 200
    assert service.heard[-1][2] == b""


def test_what_the_pipeline_raises_is_raised(ways: Ways) -> None:
    nowhere = HttpRequest("GET", "http://127.0.0.1:1/v1/models")

    with pytest.raises(ServiceRequestError):
        ways.send(nowhere)

    assert of(ways.trail, "exchange_finished")[0]["outcome"] == "upstream_error"


def test_a_form_goes_on_where_the_operator_opened_the_door(
    plain: str, service: Service, tmp_path: Path
) -> None:
    draft = tmp_path / "open.yaml"
    draft.write_text(
        "version: 1\nname: open\nowner: o@example.com\nmode: enforce\n"
        "surface: { files: pass }\n"
    )
    request = HttpRequest("POST", f"{plain}/v1/files", files={"file": b"content"})

    with (
        PipelinePolicy(policy=draft, audit=tmp_path / "trail") as policy,
        pipeline(plain, policy) as client,
    ):
        client.send_request(request)

    path, headers, body = service.heard[-1]
    assert path == "/v1/files"
    assert b"content" in body
    assert headers["content-type"].startswith("multipart/form-data; boundary=")


def test_a_pipeline_does_not_send_what_is_not_its_own(
    ways: Ways, service: Service
) -> None:
    """A background answer cannot be cancelled: the program's log says so."""
    service.stream = json.dumps(
        {
            "id": "resp_1",
            "object": "response",
            "status": "queued",
            "tools": [{"type": "image_generation", "quality": "max"}],
        }
    ).encode()

    answer = ways.send(responses(ways.url, background=True))

    assert answer.status_code == 200
    assert [path for path, *_ in service.heard] == ["/v1/responses"]
