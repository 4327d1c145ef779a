from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from driving import (
    GATE,
    JSON,
    Call,
    Inner,
    Notebook,
    asking,
    governed,
    request,
)
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from imagegate.middleware import PolicyMiddleware

pytestmark = pytest.mark.anyio
Mounted = Callable[[str, ASGIApp], ASGIApp]
HIGH = asking({"type": "image_generation", "quality": "high"})


async def echo(request: Request) -> JSONResponse:
    """Answer with what of the request is of interest here."""
    return JSONResponse({"path": request.url.path, "body": await request.json()})


def starlette(**more: Any) -> Starlette:
    return Starlette(routes=[Route("/v1/responses", echo, methods=["POST"])], **more)


def fastapi(**more: Any) -> FastAPI:
    app = FastAPI(**more)

    @app.post("/v1/responses")
    async def create(request: Request) -> dict[str, Any]:
        return {"path": request.url.path, "body": await request.json()}

    return app


def added(app: Starlette, audit: Notebook) -> ASGIApp:
    app.add_middleware(PolicyMiddleware, gate=GATE, audit=audit)
    return app


def listed(audit: Notebook) -> ASGIApp:
    return starlette(middleware=[Middleware(PolicyMiddleware, gate=GATE, audit=audit)])


@pytest.mark.parametrize(
    "app",
    [
        lambda audit: governed(starlette(), audit),
        lambda audit: governed(fastapi(), audit),
        lambda audit: added(starlette(), audit),
        lambda audit: added(fastapi(), audit),
        listed,
    ],
    ids=["around Starlette", "around FastAPI", "in Starlette", "in FastAPI", "listed"],
)
async def test_it_governs_what_it_is_put_around(app: Any, audit: Notebook) -> None:
    call = await Call(app(audit), body=[HIGH]).whole()

    assert call.status == 200
    assert b'"quality":"medium"' in call.body
    assert audit.events == ["request_rewritten", "exchange_finished"]
    assert audit.completion.outcome == "completed"


def in_starlette(at: str, app: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Mount(at, app)])


def in_fastapi(at: str, app: ASGIApp) -> ASGIApp:
    outer = FastAPI()
    outer.mount(at, app)
    return outer


def in_a_mount(at: str, app: ASGIApp) -> ASGIApp:
    return Starlette(routes=[Mount("/outer", routes=[Mount(at, app)])])


@pytest.mark.parametrize(
    "at", ["/gw", "/gw/deep", "/b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher", "/a b"]
)
@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi, in_a_mount])
@pytest.mark.parametrize("raw", [True, False], ids=["raw_path", "no raw_path"])
@pytest.mark.parametrize("root", ["", "/proxy"])
async def test_it_governs_a_mount(
    mounted: Mounted, at: str, root: str, audit: Notebook, *, raw: bool
) -> None:
    path = f"{'/outer' if mounted is in_a_mount else ''}{at}/v1/responses"
    scope = request(path=root + path, root_path=root)
    if not raw:
        del scope["raw_path"]
    app = mounted(at, governed(starlette(), audit))

    call = await Call(app, scope, [HIGH]).whole()

    assert call.status == 200
    assert audit.decision.door == "responses.create"
    assert b'"quality":"medium"' in call.body


async def test_a_mounted_application_keeps_its_own_middleware(audit: Notebook) -> None:
    outer = Starlette(routes=[Mount("/gw", added(fastapi(), audit))])

    call = await Call(outer, request(path="/gw/v1/responses"), [HIGH]).whole()

    assert call.status == 200
    assert audit.events == ["request_rewritten", "exchange_finished"]


@pytest.mark.parametrize(
    ("app", "path"),
    [
        (lambda audit: added(fastapi(), audit), "/v1/responses"),
        (lambda audit: governed(starlette(), audit), "/v1/responses"),
        (
            lambda audit: in_starlette("/gw", governed(starlette(), audit)),
            "/gw/v1/responses",
        ),
    ],
    ids=["inside", "around", "mounted"],
)
async def test_a_prefix_that_a_proxy_took_away_is_not_looked_for(
    app: Any, path: str, audit: Notebook
) -> None:
    """`root_path` names it, and `path` begins behind it."""
    scope = request(path=path, root_path="/api")

    call = await Call(app(audit), scope, [HIGH]).whole()

    assert call.status == 200
    assert audit.decision.door == "responses.create"


async def test_a_fastapi_root_path_with_a_mount_inside(audit: Notebook) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions advise against it
        outer = FastAPI(root_path="/api")
    outer.mount("/gw", governed(starlette(), audit))

    call = await Call(outer, request(path="/gw/v1/responses"), [HIGH]).whole()

    assert call.status == 200
    assert audit.decision.door == "responses.create"


@pytest.mark.parametrize(
    ("path", "root", "raw", "told"),
    [
        # As they are, where they agree.
        ("/v1/responses", "", b"/v1/responses", b"/v1/responses"),
        ("/gw/v1/responses", "/gw", b"/gw/v1/responses", b"/gw/v1/responses"),
        ("/v1/responses", "/gw", b"/v1/responses", b"/v1/responses"),
        ("/v1/responses", "/gw", b"/gw/v1/responses", b"/gw/v1/responses"),
        ("/gw/v1/responses", "/gw/", b"/gw/v1/responses", None),
        # A middleware around rewrote the path, and forgot the raw one.
        ("/v1/responses", "", b"/old/v1/responses", b"/v1/responses"),
        ("/gw/v1/responses", "/gw", b"/old/v1/responses", b"/gw/v1/responses"),
        # Servers that put the query behind it.
        ("/v1/responses", "", b"/v1/responses?a=b", b"/v1/responses"),
        (
            "/\xfc/v1/responses",
            "/\xfc",
            b"/%C3%BC/v1/responses",
            b"/%C3%BC/v1/responses",
        ),
    ],
)
async def test_every_spelling_of_the_path_is_the_judged_one(
    path: str, root: str, raw: bytes, told: bytes | None, audit: Notebook
) -> None:
    inner = Inner()
    scope = request(path=path, root_path=root, raw_path=raw)

    await Call(governed(inner, audit), scope).whole()

    assert [each["raw_path"] for each in inner.scopes] == ([told] if told else [])
    assert {each["path"] for each in inner.scopes} <= {path}


async def test_a_path_that_is_gone_in_part_is_told_whole(audit: Notebook) -> None:
    """Starlette inside would look for the mount, and not find it."""
    inner = Inner()
    scope = request(path="/gw/v1/responses", root_path="/api/gw", app_root_path="/api")

    await Call(governed(inner, audit), scope).whole()

    assert inner.scope["path"] == "/api/gw/v1/responses"
    assert inner.scope["raw_path"] == b"/api/gw/v1/responses"


@pytest.mark.parametrize(
    ("path", "raw", "code"),
    [
        ("/v1/responses", b"/v1/r%65sponses", "path_not_canonical"),
        ("/v1/responses", b"/v1%2Fresponses", "path_not_canonical"),
        ("/v1//responses", b"/v1//responses", "path_not_canonical"),
        ("/v1/responses/", b"/v1/responses/", "path_not_canonical"),
        ("http://evil/v1/responses", b"http://evil/v1/responses", "route_not_allowed"),
        ("/v1/r\N{REPLACEMENT CHARACTER}", b"/v1/r%FF", "route_not_allowed"),
        ("/v1/unheard-of", b"/v1/unheard-of", "route_not_allowed"),
        ("/gwv1/responses", b"/gwv1/responses", "route_not_allowed"),
        ("/gw", b"/gw", "route_not_allowed"),
    ],
)
@pytest.mark.parametrize("root", ["", "/gw"])
async def test_what_is_no_plain_path_to_a_door_is_refused(
    path: str, raw: bytes, code: str, root: str, audit: Notebook
) -> None:
    inner = Inner()
    scope = request(path=path, raw_path=raw, root_path=root)

    call = await Call(governed(inner, audit), scope).whole()

    assert call.code == code
    assert inner.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]
    assert audit.completion.outcome == "refused"


async def test_a_mount_of_many_slashes_costs_little(audit: Notebook) -> None:
    path = "/" * 8000 + "v1/responses"
    scope = request(path=path, root_path="/gw/deep")

    call = await Call(governed(Inner(), audit), scope).whole()

    assert call.code == "path_not_canonical"


async def test_lifespan_passes_untouched(audit: Notebook) -> None:
    seen: list[Any] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend((scope, await receive(), send))

    call = Call(governed(inner, audit), {"type": "lifespan", "state": {}}, None)
    startup = {"type": "lifespan.startup"}
    call.put(startup)
    await call.whole()

    assert seen[0] is call.scope
    assert seen[1:] == [startup, call.send]
    assert audit.records == []


async def test_a_scope_of_an_unknown_kind_goes_nowhere(audit: Notebook) -> None:
    inner = Inner()

    with pytest.raises(ValueError, match="webtransport"):
        await Call(governed(inner, audit), {"type": "webtransport"}).whole()

    assert inner.scopes == []


async def test_the_servers_scope_is_not_written_to(audit: Notebook) -> None:
    scope = request(extensions={"tls": {}, "http.response.pathsend": {}})
    before = {**scope, "extensions": {**scope["extensions"]}}
    inner = Inner()

    await Call(governed(inner, audit), scope, [HIGH]).whole()

    assert scope == before
    ours = ["imagegate.outcome", "imagegate.views", "imagegate.departure"]
    assert [*inner.scope["extensions"]] == ["tls", *ours]


# -- an application's own paths -----------------------------------------------------


@pytest.mark.parametrize(
    ("path", "passes"),
    [
        ("/", True),
        ("/health", True),
        ("/static/a%20b.css", True),
        ("/static/", True),
        ("/health/", False),
        ("/static", False),
        ("/static/../v1/responses", False),
        ("/static/%2e%2e/v1/responses", False),
        ("/v1/batches", False),
        ("/v1/responses", False),
    ],
)
async def test_paths_of_its_own_are_none_of_the_policys_business(
    path: str, audit: Notebook, *, passes: bool
) -> None:
    inner = Inner()
    own = ["/", "/health", "/static/*"]
    scope = request("GET", path, headers=[(b"x-original-url", b"/v1/responses"), JSON])

    await Call(governed(inner, audit, own_paths=own), scope).whole()

    assert bool(inner.scopes) is passes
    assert bool(audit.records) is not passes
    assert not passes or inner.header(b"x-original-url") == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/v1/batches",
        "/V1/Responses",
        "/v1/*",
        "/*",
        "/openai/*",
        "/api/projects/*",
        "/api/projects/p/*",
        "/api/projects/p/openai/*",
        "/v1/files/mine/*",
        "health",
        "/a//b",
        "/a/../b",
        "/a/*/b",
        "",
    ],
)
def test_an_own_path_cannot_lead_to_an_image(path: str, audit: Notebook) -> None:
    with pytest.raises(ValueError, match="door"):
        governed(Inner(), audit, own_paths=[path])


async def test_the_body_arrives_as_it_was_judged(audit: Notebook) -> None:
    """A compact request that needs no change keeps each byte."""
    inner = Inner()
    body = asking(
        {
            "type": "image_generation",
            "model": "gpt-image-1-mini",
            "quality": "low",
            "moderation": "auto",
        }
    )

    await Call(governed(inner, audit), body=[body[:7], body[7:]]).whole()

    assert inner.bodies == [body]
    assert inner.header(b"content-length") == [b"%d" % len(body)]
    assert audit.events == ["request_forwarded", "exchange_finished"]
