"""Which version of the interface a request asks for, and which previews of it.

A version or a preview can mean members, tools and defaults that nobody here has
looked at: what was judged would be something else. So what chooses one, in the query
or in a header, is held against lists of those that were reviewed. A parameter of the
query that nobody knows is refused too, a credential first of all: it would go on
beside the gateway's own, and queries end up in the logs of everything on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from imagegate.engine.decision import DATED
from imagegate.engine.notes import Notes
from imagegate.engine.request import Request
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER

VERSIONS: Final = "interface.api_versions"
PREVIEWS: Final = "interface.previews"

_VERSION: Final = "api-version"
_BETA: Final = "beta"
_QUERY: Final = frozenset(
    {
        _VERSION,
        _BETA,
        "after",
        "before",
        "include",
        "include[]",
        "include_obfuscation",
        "limit",
        "order",
        "starting_after",
        "stream",
    }
)
"""All that the judged doors take."""
_OWN: Final[Mapping[str, frozenset[str]]] = {"files.list": frozenset({"purpose"})}
"""What one of them alone takes."""
_MANY: Final = frozenset({"include", "include[]"})
_LISTS: Final = frozenset({"foundry-features", "openai-beta"})
"""Headers that list previews, as `name=version`."""
_SWITCHES: Final = frozenset({"x-ms-enable-preview"})
"""Headers whose presence is the choice."""
_UNKNOWN: Final = "x-ms-oai-"
"""Azure's own headers for this interface; of all but one nobody says what they do."""
_CHOOSING: Final = (_VERSION, *_LISTS, *_SWITCHES, _UNKNOWN)
"""How the names of all these begin, and that of the deployment's."""


def choosing(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that choose something, or may."""
    return tuple(item for item in headers if _plain(item[0]).startswith(_CHOOSING))


def versions_of(query: str, headers: Iterable[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Return the versions that a query names, and headers, which samples send too."""
    named = [value for name, value in _read(query) if name == _VERSION]
    named += [value for key, value in headers if _plain(key) == _VERSION]
    return tuple(named)


def version_told(query: str, known: Collection[str]) -> str | None:
    """Return the one version that a query names, as a record may tell of it."""
    named = versions_of(query)
    if len(named) != 1:
        return None
    plain = named[0] in known or DATED.fullmatch(named[0])
    return named[0] if plain else "other"


def previews_of(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the previews that a request opts into, each with where it says so."""
    for key, value in request.headers:
        name = _plain(key)
        if name in _LISTS:
            yield from ((name, part.strip()) for part in value.split(",") if part)
        elif name in _SWITCHES or _is_unknown(key, name):
            yield name, name
    for name, value in _read(request.query):
        if name == _BETA:
            yield name, f"{name}={value}"


def judge_interface(notes: Notes, request: Request) -> None:
    """Judge what a request chooses besides what is in its body."""
    if request.query:
        _judge_query(notes, request.query, request.match.door.name)
    for version in versions_of(request.query, request.headers):
        _hold(notes, VERSIONS, _VERSION, version)
    for field, preview in previews_of(request):
        _hold(notes, PREVIEWS, field, preview)


def _judge_query(notes: Notes, query: str, door: str) -> None:
    names = [name for name, _ in _read(query)]
    known = _QUERY | _OWN.get(door, frozenset())
    # Some servers part parameters at a semicolon too, and see others than we do.
    if ";" in query or not known.issuperset(names):
        said = "the query has a parameter that this gateway does not know"
        notes.refuse_always("", "query", "query", said, status=400)
    elif any(names.count(name) > 1 for name in known - _MANY):
        said = "the query has a parameter twice"
        notes.refuse_always("", "query", "query", said, status=400)


def _hold(notes: Notes, path: str, field: str, asked: str) -> None:
    """Hold one choice against its list."""
    word, line = notes.scene.book.rules.stance(path)
    if word == "allow" or (isinstance(word, tuple) and asked in word):
        return
    shown = notes.shown(asked)
    named = f"`{asked}`" if shown == asked else "it"
    said = "this version of the interface is not among those that were reviewed"
    if path == PREVIEWS:
        said = "this preview of the interface is not among those that were reviewed"
    fix = f"do without, or have {named} added to `{path}`"
    notes.refuse("", field, line, said, fix=fix, was=asked)


def _read(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True) if query else []


def _plain(key: str) -> str:
    return key.replace("_", "-")


def _is_unknown(key: str, name: str) -> bool:
    return name.startswith(_UNKNOWN) and key != IMAGE_DEPLOYMENT_HEADER
