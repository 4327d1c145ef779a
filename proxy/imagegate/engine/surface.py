"""The one table of doors: every route that can lead to an image, and the rest.

A *door* is a method and a path; a *carrier* is a place in its body that can hold
a tool definition. Everything else asks this table: no other code looks at paths.

Matching is exact, on the raw path. What would match only after decoding or
cleaning, as a lenient server upstream might do, is a refusal with a name of its
own; what matches nothing is refused unless the operator opened its group.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal
from urllib.parse import unquote_to_bytes

import msgspec

Stance = Literal["enforce", "pass", "refuse"]
Reading = Literal["responses", "items", "agent", "images", "file", "batch", "none"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Doors that a policy opens or closes by one word in `surface`.

    Attributes:
        stances: The words allowed, the default first.
        why: What a refusal says, and what to use instead.
    """

    stances: tuple[Stance, ...]
    why: str = ""


_ENFORCED: tuple[Stance, ...] = ("enforce", "refuse")
_EITHER: tuple[Stance, ...] = ("enforce", "refuse", "pass")
_OPEN: tuple[Stance, ...] = ("pass", "refuse")
_CLOSED: tuple[Stance, ...] = ("refuse", "pass")
_ANY: tuple[Stance, ...] = ("refuse", "enforce", "pass")

GROUPS: Mapping[str, Group] = {
    "responses": Group(stances=_ENFORCED),
    "websocket": Group(
        stances=_ENFORCED, why="use POST on the same path; clients fall back to it"
    ),
    "compact": Group(stances=_EITHER),
    "input_tokens": Group(stances=_EITHER),
    "conversations": Group(stances=_EITHER),
    "images_api": Group(
        stances=_EITHER, why="ask for the image with the image_generation tool"
    ),
    "agent_versions": Group(
        stances=_EITHER, why="have the platform team register the agent"
    ),
    "agent_endpoints": Group(
        stances=("refuse", "enforce"), why="name the agent in agent_reference"
    ),
    "models": Group(stances=_OPEN),
    "chat_completions": Group(stances=_OPEN),
    "embeddings": Group(stances=_OPEN),
    "moderations": Group(stances=_OPEN),
    "audio": Group(stances=_CLOSED, why="not needed for images; ask for it to be open"),
    "files": Group(
        stances=_ANY, why="a file can stage a batch; send the requests one by one"
    ),
    "batches": Group(
        stances=_ANY, why="the lines of a batch are not seen; send them one by one"
    ),
    "uploads": Group(
        stances=_CLOSED, why="parts of a file are not seen; send the requests directly"
    ),
    "evals": Group(
        stances=_CLOSED, why="an eval run calls the model unseen; run it from a client"
    ),
    "live": Group(
        stances=_CLOSED, why="a live session goes around the gateway; use responses"
    ),
    "realtime": Group(
        stances=_CLOSED, why="a session key goes around the gateway; use responses"
    ),
    "hosted_agents": Group(
        stances=_CLOSED, why="hosted execution is not seen; use responses"
    ),
    "assistants": Group(stances=_CLOSED, why="a legacy interface; use responses"),
    "chatkit": Group(
        stances=_CLOSED, why="a workflow at the provider is not seen; use responses"
    ),
    "videos": Group(stances=_CLOSED, why="video is outside this policy"),
    "fine_tuning": Group(stances=_CLOSED, why="training is outside this policy"),
    "vector_stores": Group(stances=_CLOSED, why="not needed for images"),
    "containers": Group(stances=_CLOSED, why="code in a container is not seen"),
    "organization": Group(
        stances=_CLOSED, why="administration does not go through the gateway"
    ),
    "automation": Group(
        stances=_CLOSED, why="work started at the provider is not seen; use responses"
    ),
}


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """A route, and what can be carried through it.

    Attributes:
        name: Stable, for records: `responses.create`.
        group: The word that opens or closes it in a policy.
        method: As on the wire; `WEBSOCKET` for an upgraded GET.
        route: Below a family's base; `{x}` is one segment, a last `*` the rest.
        families: The path families it exists in.
        reading: How its body is read and judged; `none` when there is nothing.
        places: JSON pointers of the arrays that can hold tool definitions,
            with `*` for any index.
        opaque: What goes through it cannot be judged, so that a group which is
            enforced is closed here.
        lines: Its answer is a file, whose lines may tell what a batch made.
    """

    name: str
    group: str
    method: str
    route: str
    families: tuple[str, ...]
    reading: Reading = "none"
    places: tuple[str, ...] = ()
    opaque: bool = False
    lines: bool = False


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A way of spelling the same routes."""

    name: str
    provider: Literal["openai", "azure"]
    base: str


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(name="openai", provider="openai", base="/v1"),
        Family(name="azure-classic", provider="azure", base="/openai"),
        Family(
            name="azure-deployment",
            provider="azure",
            base="/openai/deployments/{deployment}",
        ),
        Family(name="azure-v1", provider="azure", base="/openai/v1"),
        Family(
            name="foundry", provider="azure", base="/api/projects/{project}/openai/v1"
        ),
        Family(
            name="foundry-agent",
            provider="azure",
            base="/api/projects/{project}/agents/{agent}/endpoint/protocols",
        ),
        Family(
            name="foundry-project", provider="azure", base="/api/projects/{project}"
        ),
    )
}

_ALL = ("openai", "azure-classic", "azure-v1", "foundry")
_TOOLS = ("/tools", "/input/*/tools")
_ITEMS = ("/items/*/tools",)


def _door(  # noqa: PLR0913, PLR0917 - one row of the table
    name: str,
    group: str,
    method: str,
    route: str,
    families: tuple[str, ...] = _ALL,
    reading: Reading = "none",
    places: tuple[str, ...] = (),
) -> Door:
    return Door(
        name=name,
        group=group,
        method=method,
        route=route,
        families=families,
        reading=reading,
        places=places,
    )


_R, _C = "/responses", "/conversations"
_F, _B = "/files", "/batches"
_AGENT = ("foundry-agent",)
_PROJECT = ("foundry-project",)
_CLASSIC_DEPLOYMENT = (*_ALL, "azure-deployment")

_GOVERNED = (
    _door("responses.create", "responses", "POST", _R, _ALL, "responses", _TOOLS),
    _door(
        "responses.connect",
        "websocket",
        "WEBSOCKET",
        _R,
        _CLASSIC_DEPLOYMENT,
        "responses",
        _TOOLS,
    ),
    _door("responses.retrieve", "responses", "GET", _R + "/{response_id}"),
    _door("responses.delete", "responses", "DELETE", _R + "/{response_id}"),
    _door("responses.cancel", "responses", "POST", _R + "/{response_id}/cancel"),
    _door("responses.items", "responses", "GET", _R + "/{response_id}/input_items"),
    _door(
        "responses.compact",
        "compact",
        "POST",
        _R + "/compact",
        _ALL,
        "responses",
        ("/tools", "/input/*/tools"),
    ),
    _door(
        "responses.input_tokens",
        "input_tokens",
        "POST",
        _R + "/input_tokens",
        _ALL,
        "responses",
        _TOOLS,
    ),
    _door("conversations.create", "conversations", "POST", _C, _ALL, "items", _ITEMS),
    _door("conversations.retrieve", "conversations", "GET", _C + "/{conversation_id}"),
    _door(
        "conversations.update",
        "conversations",
        "POST",
        _C + "/{conversation_id}",
        _ALL,
        "items",
        _ITEMS,
    ),
    _door("conversations.delete", "conversations", "DELETE", _C + "/{conversation_id}"),
    _door(
        "conversations.items.create",
        "conversations",
        "POST",
        _C + "/{conversation_id}/items",
        _ALL,
        "items",
        _ITEMS,
    ),
    _door(
        "conversations.items.list",
        "conversations",
        "GET",
        _C + "/{conversation_id}/items",
    ),
    _door(
        "conversations.items.retrieve",
        "conversations",
        "GET",
        _C + "/{conversation_id}/items/{item_id}",
    ),
    _door(
        "conversations.items.delete",
        "conversations",
        "DELETE",
        _C + "/{conversation_id}/items/{item_id}",
    ),
    _door(
        "images.generations",
        "images_api",
        "POST",
        "/images/generations",
        _CLASSIC_DEPLOYMENT,
        "images",
    ),
    _door(
        "images.edits",
        "images_api",
        "POST",
        "/images/edits",
        _CLASSIC_DEPLOYMENT,
        "images",
    ),
    _door("files.create", "files", "POST", _F, _ALL, "file"),
    _door("files.list", "files", "GET", _F),
    _door("files.retrieve", "files", "GET", _F + "/{file_id}"),
    Door(
        name="files.content",
        group="files",
        method="GET",
        route=_F + "/{file_id}/content",
        families=_ALL,
        lines=True,
    ),
    _door("files.delete", "files", "DELETE", _F + "/{file_id}"),
    _door("batches.create", "batches", "POST", _B, _ALL, "batch"),
    _door("batches.list", "batches", "GET", _B),
    _door("batches.retrieve", "batches", "GET", _B + "/{batch_id}"),
    _door("batches.cancel", "batches", "POST", _B + "/{batch_id}/cancel"),
    _door(
        "agents.versions.create",
        "agent_versions",
        "POST",
        "/agents/{agent}/versions",
        _PROJECT,
        "agent",
        ("/definition/tools",),
    ),
    _door(
        "agents.responses",
        "agent_endpoints",
        "POST",
        "/openai/responses",
        _AGENT,
        "responses",
        _TOOLS,
    ),
)

_BY_GROUP: Mapping[str, tuple[str, ...]] = {
    "models": ("GET /models", "GET /models/{model}"),
    "chat_completions": ("POST /chat/completions",),
    "embeddings": ("POST /embeddings",),
    "moderations": ("POST /moderations",),
    "audio": ("* /audio/*",),
    "files": ("* /files", "* /files/*"),
    "batches": ("* /batches", "* /batches/*"),
    "uploads": ("* /uploads", "* /uploads/*"),
    "evals": ("* /evals", "* /evals/*"),
    "live": ("* /live/*",),
    "realtime": ("* /realtime", "* /realtime/*"),
    "hosted_agents": ("* /agents", "* /agents/*"),
    "assistants": ("* /assistants", "* /assistants/*", "* /threads", "* /threads/*"),
    "chatkit": ("* /chatkit/*",),
    "images_api": ("POST /images/variations",),
    "videos": ("* /videos", "* /videos/*"),
    "fine_tuning": ("* /fine_tuning/*",),
    "vector_stores": ("* /vector_stores", "* /vector_stores/*"),
    "containers": ("* /containers", "* /containers/*"),
    "organization": ("* /organization/*",),
}

_UNSEEN = tuple(
    Door(
        name=f"{group}{number or ''}",
        group=group,
        method=spec.partition(" ")[0],
        route=spec.partition(" ")[2],
        families=_CLASSIC_DEPLOYMENT,
        opaque=True,
    )
    for group, specs in _BY_GROUP.items()
    for number, spec in enumerate(specs)
)

_FOUNDRY = (
    Door(
        name="agent_endpoints.other",
        group="agent_endpoints",
        method="*",
        route="/*",
        families=_AGENT,
        opaque=True,
    ),
    *(
        _door(f"automation.{name}{tail}", "automation", "*", f"/{name}{rest}", _PROJECT)
        for name in (
            "agents",
            "schedules",
            "routines",
            "redTeams",
            "agent_optimization_jobs",
            "data_generation_jobs",
            "evaluationrules",
            "evaluators",
            "toolboxes",
        )
        for rest, tail in (("", ""), ("/*", ".other"))
    ),
)

DOORS: tuple[Door, ...] = (*_GOVERNED, *_UNSEEN, *_FOUNDRY)
"""In order of particularity: the first that matches is the door."""

IMAGE_DEPLOYMENT_HEADER = "x-ms-oai-image-generation-deployment"
"""On Azure the image model is chosen by this header, whatever the body says."""

LINE_KEYS = frozenset({"body", "custom_id", "method", "url"})
"""What a line of a batch file has."""

FILE_KEYS = frozenset({"expires_after", "file", "purpose"})
"""What the form has by which a batch file is uploaded; one more may be another file."""

BATCH_KEYS = frozenset(
    {
        "completion_window",
        "endpoint",
        "input_file_id",
        "metadata",
        "output_expires_after",
    }
)
"""What a request for a batch has; on Azure others can name lines as well."""

CHOOSING = ("api-version", "beta", "foundry-features", "openai-beta", "query")
"""What refusals call the places where a version or a preview is chosen."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A door that was found, and what its path says."""

    door: Door
    family: Family
    params: Mapping[str, str] = msgspec.field(default_factory=dict)


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """No door: why not, and with which status to say so."""

    code: Literal["path_not_canonical", "method_not_allowed", "route_not_allowed"]
    status: int
    message: str


_SEGMENT = r"[A-Za-z0-9._~:@=-]+"
"""Some proxies name responses in base64, which may end in `=`."""
_CANONICAL = re.compile(rf"(?:/(?!\.\.?(?:/|\Z)){_SEGMENT})+")
_PARAMETER = re.compile(r"\\\{(\w+)\\\}")


def _pattern(template: str) -> re.Pattern[str]:
    """Turn a template into an exact expression."""
    literal = re.escape(template).replace(r"/\*", "/(?P<rest>.+)")
    return re.compile(_PARAMETER.sub(rf"(?P<\1>{_SEGMENT})", literal))


_PATTERNS: tuple[tuple[re.Pattern[str], Door, Family], ...] = tuple(
    (_pattern(FAMILIES[name].base + door.route), door, FAMILIES[name])
    for door in DOORS
    for name in door.families
)
_FOLDED = tuple(
    (re.compile(pattern.pattern, re.IGNORECASE), door, family)
    for pattern, door, family in _PATTERNS
)
"""Servers were seen to route `/V1/Responses` like `/v1/responses`."""
_EXACT: Mapping[tuple[str, str], Match] = {
    (door.method, FAMILIES[name].base + door.route): Match(
        door=door, family=FAMILIES[name]
    )
    for door in reversed(DOORS)
    for name in door.families
    if "{" not in FAMILIES[name].base + door.route
    and "*" not in door.method + door.route
}


def find_door(method: str, path: str) -> Match | Lost:
    """Look up a method and a raw path, exactly as they stand in the request line.

    Args:
        method: As on the wire; `WEBSOCKET` for a request to upgrade.
        path: Without the query, undecoded, below any mount point.
    """
    exact = _EXACT.get((method, path))
    if exact is not None:
        return exact
    found = _search(method, path) if _CANONICAL.fullmatch(path) else _NO_ROUTE
    if found is not _NO_ROUTE and not _is_wide(found):
        return found
    # A wide door must not be the way to a particular one, spelled a little off.
    cleaned = _search(method, _cleaned(path), _FOLDED)
    return found if _same_door(found, cleaned) else _NOT_CANONICAL


def _is_wide(found: Match | Lost) -> bool:
    return isinstance(found, Match) and found.door.route.endswith("*")


def _same_door(one: Match | Lost, other: Match | Lost) -> bool:
    if isinstance(one, Match) and isinstance(other, Match):
        return one.door is other.door
    return one is other


def _search(
    method: str,
    path: str,
    patterns: Iterable[tuple[re.Pattern[str], Door, Family]] = _PATTERNS,
) -> Match | Lost:
    other = False
    for pattern, door, family in patterns:
        found = pattern.fullmatch(path)
        if found is None:
            continue
        if door.method in (method, "*"):
            return Match(door=door, family=family, params=found.groupdict())
        other = True
    return _WRONG_METHOD if other else _NO_ROUTE


_WRONG_METHOD = Lost(
    code="method_not_allowed",
    status=405,
    message="this path is not called with this method",
)
_NO_ROUTE = Lost(
    code="route_not_allowed",
    status=404,
    message="this gateway knows no such route, so it does not pass it on",
)
_NOT_CANONICAL = Lost(
    code="path_not_canonical",
    status=400,
    message="spell the path plainly: no escapes, capitals, dots or extra slashes",
)
_ROUNDS = 3
"""How often an escape of an escape is undone; servers were seen to do it twice."""


def _cleaned(path: str) -> str:
    """Read a path as the most lenient server upstream might."""
    for _ in range(_ROUNDS):
        path = unquote_to_bytes(path).decode("utf-8", "replace")
    path = unicodedata.normalize("NFKC", path).casefold().replace("\\", "/")
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    kept: list[str] = []
    for segment in path.split("/"):
        bare = re.sub(r"[\x00-\x20\x7f\ufffd]", "", segment.partition(";")[0])
        if bare == "..":
            kept = kept[:-1]
        elif bare.rstrip("."):
            kept.append(bare.rstrip("."))
    return "/" + "/".join(kept)


def stance_of(door: Door, surface: Mapping[str, str]) -> str:
    """Return what a policy does at a door: its word, or the group's default."""
    stance = surface.get(door.group) or GROUPS[door.group].stances[0]
    return "refuse" if door.opaque and stance == "enforce" else stance
