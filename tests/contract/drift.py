"""Compare the catalogue, and the keys of requests, with the types of installed SDKs.

`make drift` runs this with the newest SDKs, the test beside it with the locked
ones. It needs those and imagegate itself, nothing else. Exit status 1 means that
an SDK names a field, a word or a model that the catalogue does not, or a key of
requests that the reader of bodies does not.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
import typing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from imagegate.engine.body import TOP_KEYS
from imagegate.engine.sizes import FixedSizes, parse_size
from imagegate.shipped import catalogue as shipped_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from imagegate.engine.catalogue import Catalogue, Field, Provider

# Every class that requests are typed with. An agreement between them is not taken
# for granted: the tool is spelled out again wherever it can be carried.
TYPES = (
    ("openai", "tool", "openai.types.responses.tool_param", "ImageGeneration"),
    (
        "openai",
        "tool",
        "openai.types.responses.response_tool_search_output_item_param_param",
        "ToolImageGeneration",
    ),
    ("openai", "tool", "openai.types.beta.beta_tool_param", "ImageGeneration"),
    (
        "openai",
        "tool",
        "openai.types.live.responses_delegation_config_param",
        "ToolImageGeneration",
    ),
    (
        "openai",
        "images_api",
        "openai.types.image_generate_params",
        "ImageGenerateParamsNonStreaming",
    ),
    (
        "openai",
        "images_api",
        "openai.types.image_edit_params",
        "ImageEditParamsNonStreaming",
    ),
    (
        "openai",
        "images_api",
        "openai.types.image_create_variation_params",
        "ImageCreateVariationParams",
    ),
    ("azure", "tool", "azure.ai.projects.models", "ImageGenTool"),
)
# The bodies of requests, and of messages that ask for a response.
BODIES = (
    ("openai.types.responses.response_create_params", "ResponseCreateParamsBase"),
    ("openai.types.responses.response_compact_params", "ResponseCompactParams"),
    ("openai.types.responses.input_token_count_params", "InputTokenCountParams"),
    ("openai.types.responses.responses_client_event_param", "ResponseCreate"),
    ("openai.types.responses.response_steer_event_param", "ResponseSteerEventParam"),
    ("openai.types.beta.response_create_params", "ResponseCreateParamsBase"),
    ("openai.types.beta.response_compact_params", "ResponseCompactParams"),
    ("openai.types.beta.beta_responses_client_event_param", "ResponseCreate"),
    (
        "openai.types.conversations.conversation_create_params",
        "ConversationCreateParams",
    ),
    ("openai.types.conversations.item_create_params", "ItemCreateParams"),
)
# What the SDK's methods take and send as a header.
HEADERS = {"betas"}
SDKS = {"openai": "openai", "azure": "azure-ai-projects"}


class Named(NamedTuple):
    """A field that an SDK's types name, and the words they give it."""

    where: str
    provider: str
    surface: str
    path: str
    words: frozenset[str]


def unknown_to_catalogue(catalogue: Catalogue | None = None) -> list[str]:
    """List what the SDKs' types name and the catalogue does not."""
    catalogue = catalogue or shipped_catalogue()
    fields, missing = _read_all()
    lines = (
        line
        for field in fields
        for line in _unknown(catalogue.provider(field.provider), field)
    )
    return [*missing, *dict.fromkeys(lines)]


def unknown_keys(known: AbstractSet[str] = TOP_KEYS) -> list[str]:
    """List the keys of requests that the reader of bodies does not know."""
    lines = []
    for module, name in BODIES:
        class_ = _class(module, name)
        if class_ is None:
            lines.append(f"openai: there is no {name} in {module}")
            continue
        new = sorted(typing.get_type_hints(class_).keys() - known - HEADERS)
        lines += [f"openai request: {key} is not known ({name})" for key in new]
    return [*dict.fromkeys(lines)]


def unknown_to_sdks(catalogue: Catalogue | None = None) -> list[str]:
    """List what the catalogue says the types name, and none of them does."""
    catalogue = catalogue or shipped_catalogue()
    named: dict[tuple[str, str, str], set[str]] = {}
    for field in _read_all()[0]:
        key = field.provider, field.surface, field.path
        named.setdefault(key, set()).update(field.words)
    return [
        line
        for provider in catalogue.providers.values()
        for line in _unnamed(provider, named)
    ]


def _unknown(provider: Provider, named: Named) -> Iterator[str]:
    fields = provider.fields if named.surface == "tool" else provider.images_api
    here = f"{provider.name} {named.surface}: {named.path}"
    field = fields.get(named.path)
    if field is None:
        yield f"{here} is not in the catalogue ({named.where})"
        return
    if not field.known:
        yield f"{here} is marked as unknown to the types ({named.where})"
    is_known = _judge(provider, named.path, field)
    for word in sorted(named.words):
        if not is_known(word):
            yield f"{here} {word!r} is not in the catalogue ({named.where})"


def _judge(provider: Provider, path: str, field: Field) -> Callable[[str], bool]:
    if path == "model":

        def is_known(word: str) -> bool:
            row = provider.model(word)
            return row is not None and row.known

    else:

        def is_known(word: str) -> bool:
            if path == "size" and parse_size(word) in _sizes(provider):
                return True
            return word in field.words and word not in field.unlisted

    return is_known


def _sizes(provider: Provider) -> set[object]:
    return {
        size
        for model in provider.models.values()
        if isinstance(model.sizes, FixedSizes)
        for size in model.sizes.sizes
    }


def _unnamed(
    provider: Provider, named: Mapping[tuple[str, str, str], set[str]]
) -> Iterator[str]:
    # Of Azure's Images API there are no types to compare with.
    for surface, fields in (
        ("tool", provider.fields),
        ("images_api", provider.images_api if provider.name == "openai" else {}),
    ):
        for path, field in fields.items():
            here = f"{provider.name} {surface}: {path}"
            words = named.get((provider.name, surface, path))
            if words is None and field.known:
                yield f"{here} is named by no SDK"
            for word in field.words:
                if words is not None and word not in {*words, *field.unlisted}:
                    yield f"{here} {word!r} is named by no SDK"
    models = {
        word
        for (name, _, path), words in named.items()
        if (name, path) == (provider.name, "model")
        for word in words
    }
    for model in provider.models.values():
        for name in (model.name, *model.snapshots, *model.aliases):
            if model.known and name not in models:
                yield f"{provider.name}: model {name!r} is named by no SDK"


def _read_all() -> tuple[list[Named], list[str]]:
    found, missing = [], []
    for provider, surface, module, name in TYPES:
        class_ = _class(module, name)
        if class_ is None:
            missing.append(f"{provider}: there is no {name} in {module}")
            continue
        found += [
            Named(name, provider, surface, path, words)
            for path, words in _fields(class_)
        ]
    return found, missing


def _class(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        return None


def _fields(class_: Any, prefix: str = "") -> Iterator[tuple[str, frozenset[str]]]:
    # Azure's annotations speak of `_models`, which only a type checker imports.
    names = {"_models": sys.modules.get("azure.ai.projects.models")}
    for name, hint in typing.get_type_hints(class_, localns=names).items():
        if not name.startswith("_"):
            words: set[str] = set()
            nested = list(_nested(hint, words))
            yield prefix + name, frozenset(words)
            for inner in nested:
                yield from _fields(inner, f"{prefix}{name}.")


def _nested(hint: Any, words: set[str]) -> Iterator[Any]:
    """Collect the words of a type, and return the classes with fields inside it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        values = [a.value if isinstance(a, enum.Enum) else a for a in args]
        words.update(value for value in values if isinstance(value, str))
    elif origin in (typing.Union, types.UnionType):
        for arg in args:
            yield from _nested(arg, words)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        words.update(str(each.value) for each in hint)
    elif isinstance(hint, type) and hint.__module__.startswith(("openai.", "azure.")):
        yield hint


def main() -> int:
    """Print what was found; 1 when the catalogue has to be brought up to date."""
    for name in SDKS.values():
        print(f"{name} {version(name)}")  # noqa: T201 - this is a script
    print(f"catalogue of {shipped_catalogue().date}")  # noqa: T201
    unknown = [*unknown_to_catalogue(), *unknown_keys()]
    for line in unknown:
        print(f"NEW   {line}")  # noqa: T201
    for line in unknown_to_sdks():
        print(f"info  {line}")  # noqa: T201
    print(f"{len(unknown)} unknown")  # noqa: T201
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
