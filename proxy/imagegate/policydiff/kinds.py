"""Every kind of request that policies can tell apart, the smallest of each.

A setting is asked for alone, at each model, and together with each output format where
that decides whether it has a place; of the Images API alone. Of numbers and sizes it is
those at which a line of one of the policies turns, and those next to them.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from imagegate.engine.body import IMAGE_TOOL
from imagegate.engine.catalogue import Catalogue, Field
from imagegate.engine.catalogue import Provider as Provided
from imagegate.engine.paths import put
from imagegate.engine.policy import SETTINGS, Line, Policy, Principal
from imagegate.engine.scene import PATHS
from imagegate.engine.sizes import Size
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER
from imagegate.policycases.question import Provider, Question

_TEXT_MODEL: Final = "gpt-5"
STRANGER: Final = "something-new"
"""A name or word that nobody knows."""
_FORMAT: Final = "output_format"
_SIZES: Final = (
    "512x512",
    "1024x1024",
    "1536x1024",
    "1024x1536",
    "2048x1152",
    "3840x2160",
)
_EDGE: Final = 16
"""By so much a size is taken past a cap."""
_STATE: Final[Mapping[str, Any]] = {
    "prompt": {"id": "pmpt_1"},
    "conversation": "conv_1",
    "previous_response_id": "resp_1",
    "structured_inputs": {"a": {"type": "text"}},
    "multi_agent": {"enabled": True},
}
_ITEMS: Final = (
    {"type": "item_reference", "id": "msg_1"},
    {"type": "compaction", "encrypted_content": "gAAA"},
)
_SEEN: Final = frozenset({"conv_1", "resp_1", "msg_1"})

Asked = Mapping[str, Any]


class Kind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request, as small as it can be.

    Attributes:
        provider: Whose interface is asked.
        door: The route, by its name.
        path: Method and path instead, where its query is meant.
        body: What is asked for.
        seen: What was judged here before.
        headers: Of the request.
    """

    provider: Provider
    body: Asked
    door: str = "responses.create"
    path: str = ""
    seen: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def asked(self) -> Asked:
        """What is asked for: by the body, by headers, by the path and the query."""
        path, _, query = self.path.partition("?")
        _, _, named = path.partition("/deployments/")
        deployment = {"deployment": named.partition("/")[0]} if named else {}
        said = dict((*self.headers, *parse_qsl(query)))
        return {**self.body, **said, **deployment}

    @property
    def model(self) -> str:
        """The image model that is named; nothing where none is."""
        place = (
            (self.body.get("tools") or ({},))[0] if "input" in self.body else self.body
        )
        return str(place.get("model", ""))

    def question(self, who: Principal, date: datetime.date) -> Question:
        """Have somebody ask it."""
        return Question(
            data=msgspec.json.encode(self.body),
            date=date,
            door=self.door,
            path=self.path,
            provider=self.provider,
            principal=who,
            headers=self.headers,
            seen=self.seen,
        )


def kinds(
    policies: Sequence[Policy], catalogue: Catalogue, provider: Provider
) -> Iterator[Kind]:
    """Yield every kind of request at a provider."""
    known = catalogue.provider(provider)
    ground = _Ground(policies, known)
    for tool in ground.tools():
        yield _with_tool(provider, tool)
        if len(tool) <= 1:
            yield _image_call(provider, tool)
    for name in ground.models() if provider == "azure" else ():
        yield from _deployed(name)
    for body in ground.requests():
        yield Kind(provider=provider, body={"model": _TEXT_MODEL, **body})
    for body in _state(policies):
        request = {"model": _TEXT_MODEL, "input": "a cat", **body}
        yield Kind(provider=provider, body=request)
        yield Kind(provider=provider, body=request, seen=_SEEN)
    for number in ground.counts("images_api_n"):
        yield _image_call(provider, {"n": number})
    yield from _interface(policies, provider)


def _interface(policies: Sequence[Policy], provider: Provider) -> Iterator[Kind]:
    """Yield requests that name a preview, or a version of the interface."""
    text = {"model": _TEXT_MODEL, "input": "a cat"}
    for preview in (*_listed(policies, "interface.previews"), STRANGER):
        headers = (("openai-beta", preview),)
        yield Kind(provider=provider, body=text, headers=headers)
    base = "/openai" if provider == "azure" else ""
    for version in (*_listed(policies, "interface.api_versions"), STRANGER):
        path = f"POST {base}/v1/responses?api-version={version}"
        yield Kind(provider=provider, body=text, door="", path=path)


def _with_tool(provider: Provider, tool: Asked) -> Kind:
    body = {"model": _TEXT_MODEL, "input": "a cat", "tools": [_tool(tool)]}
    return Kind(provider=provider, body=body)


def _image_call(provider: Provider, settings: Asked) -> Kind:
    body = {"prompt": "a cat", **_tool(settings)}
    del body["type"]
    return Kind(provider=provider, door="images.generations", body=body)


def _deployed(name: str) -> Iterator[Kind]:
    """Yield requests that name a deployment elsewhere than in the body."""
    headers, text = ((IMAGE_DEPLOYMENT_HEADER, name),), {"input": "a cat"}
    for said in (text, {**text, "tools": [_tool({})]}):
        body = {"model": _TEXT_MODEL, **said}
        yield Kind(provider="azure", body=body, headers=headers)
    path = f"POST /openai/deployments/{name}/images/generations"
    yield Kind(provider="azure", body={"prompt": "a cat"}, door="", path=path)


def _tool(settings: Asked) -> dict[str, Any]:
    made: dict[str, Any] = {"type": IMAGE_TOOL}
    for name, value in settings.items():
        put(made, PATHS.get(name, (name,)), value)
    return made


class _Ground:
    """What the policies and a provider know, taken together."""

    def __init__(self, policies: Sequence[Policy], provider: Provided) -> None:
        self._policies = policies
        self._provider = provider
        self._lines = list(_lines(policies))

    def tools(self) -> Iterator[Asked]:
        """Yield the settings of tools: alone, at each model, and by formats."""
        models = self.models()
        yield from ({"model": model} for model in (*models, STRANGER))
        yield {}
        for name, model in itertools.product(SETTINGS, (None, *models)):
            for value in self._values(name):
                yield {**({"model": model} if model else {}), name: value}
        restricted = {name for rule in self._provider.rules for name in rule.fields}
        for name in (each for each in SETTINGS if each.split(".")[0] in restricted):
            for form, value in itertools.product(
                self._values(_FORMAT), self._values(name)
            ):
                yield {_FORMAT: form, name: value}
        for name in (*self._deprecated(), STRANGER):
            yield {name: {} if name == "tool_configs" else "a text"}

    def requests(self) -> Iterator[Asked]:
        """Yield what is asked of the request around the tool."""
        tool, text = {"tools": [_tool({})]}, {"input": "a cat"}
        yield text
        for choice in ("none", "required", {"type": IMAGE_TOOL}):
            yield {**text, **tool, "tool_choice": choice}
        for number in self.counts("max_tool_calls"):
            yield {**text, **tool, "max_tool_calls": number}
        for number in self.counts("tools"):
            yield {**text, "tools": [_tool({})] * number}
        for carrier in ("additional_tools", "tool_search_output"):
            yield {"input": [{"type": carrier, "tools": [_tool({})]}]}

    def counts(self, name: str) -> list[int]:
        """Return the numbers at which a limit turns."""
        limits = [line.value for line in self._lines if line.subject == name]
        return sorted({1, 2, *_around(n for n in limits if isinstance(n, int))})

    def models(self) -> tuple[str, ...]:
        """Return every name that one of them has for an image model."""
        named = [
            str(model)
            for line in self._lines
            if line.path == "models" and isinstance(line.value, tuple)
            for model in line.value
        ]
        deployed = [name for policy in self._policies for name in policy.deployments]
        return tuple(dict.fromkeys((*self._provider.models, *named, *deployed)))

    def _values(self, name: str) -> tuple[Any, ...]:
        field = self._provider.fields[name]
        said = [line.value for line in self._lines if line.subject == name]
        flat = [x for value in said for x in _each(value)]
        if SETTINGS[name].kind == "presence":
            return ({"file_id": "file_1"},)
        if SETTINGS[name].kind == "number":
            numbers = [n for n in flat if isinstance(n, int)]
            return tuple(_numbers(field, numbers))
        if SETTINGS[name].kind == "size":
            sizes = [size for size in flat if isinstance(size, Size)]
            return tuple(dict.fromkeys((*_SIZES, "auto", *_past(sizes))))
        words = (*field.words, *(x for x in flat if isinstance(x, str)), STRANGER)
        return tuple(dict.fromkeys(words))

    def _deprecated(self) -> tuple[str, ...]:
        fields = self._provider.fields.items()
        named = [name for name, field in fields if field.deprecated]
        return tuple(dict.fromkeys(("name", "description", "tool_configs", *named)))


def _lines(policies: Iterable[Policy]) -> Iterator[Line]:
    for policy in policies:
        yield from policy.lines
        for team in policy.teams:
            yield from team.lines
        for item in policy.exceptions:
            yield from item.lines


def _each(value: object) -> Sequence[object]:
    return value if isinstance(value, tuple) else (value,)


def _around(numbers: Iterable[int]) -> Iterator[int]:
    for number in numbers:
        yield from (n for n in (number - 1, number, number + 1) if n > 0)


def _numbers(field: Field, turns: Iterable[int]) -> list[int]:
    low, high = field.minimum or 0, field.maximum
    ends = [low] if high is None else [low, high]
    found = {*ends, *_around(turns)}
    return sorted(n for n in found if field.in_range(n))


def _past(caps: Iterable[Size]) -> Iterator[str]:
    """Yield the sizes at a cap, lying and standing, and next to it."""
    for cap in caps:
        yield from (cap.text, f"{cap.height}x{cap.width}")
        yield f"{cap.long + _EDGE}x{cap.short}"
        yield f"{cap.long}x{cap.short + _EDGE}"


def _state(policies: Iterable[Policy]) -> Iterator[Asked]:
    """Yield what brings in something that cannot be seen."""
    yield from ({key: value} for key, value in _STATE.items())
    yield from ({"input": [item]} for item in _ITEMS)
    yield {"agent_reference": {"type": "agent_reference", "name": "agent_1"}}
    for named in _listed(policies, "state.prompt"):
        name, _, version = named.partition("@")
        yield {"prompt": {"id": name} | ({"version": version} if version else {})}
    for named in _listed(policies, "state.agents"):
        name, _, version = named.partition("@")
        reference = {"type": "agent_reference", "name": name}
        yield {"agent_reference": reference | ({"version": version} if version else {})}


def _listed(policies: Iterable[Policy], path: str) -> tuple[str, ...]:
    said = [line.value for line in _lines(policies) if line.path == path]
    lists = [each for value in said if isinstance(value, tuple) for each in value]
    return tuple(dict.fromkeys(map(str, lists)))
