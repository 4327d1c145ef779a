"""Every place in the installed SDKs' requests that can carry an image tool.

Routes are read from the SDKs' own calls, shapes from the types of their bodies.
What is claimed is exactly this: no carrier that these versions of the SDKs know is
open where the table of doors does not know it. `make drift` runs it with the newest
SDKs, the test beside it with the locked ones.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typing_extensions

from imagegate.cli.doors.carriers import Carrier, fate_of

TOOL = "image_generation"
BASES = ("/v1", "/openai", "/openai/v1", "/api/projects/p/openai/v1")
"""Under each of these the routes of the OpenAI SDK are known."""
DEEPEST = 14

_VERBS = {
    "_post": "POST",
    "_put": "PUT",
    "_patch": "PATCH",
    "_get": "GET",
    "_delete": "DELETE",
    "_get_api_list": "GET",
}
_IMAGE_FIELDS = {"prompt", "quality", "size"}


def all_carriers() -> frozenset[Carrier]:
    """Find the carriers of both SDKs."""
    spelled = [*openai_carriers(), *openai_messages()]
    return frozenset(
        (
            *(
                Carrier(each.method, base + each.path, each.pointer)
                for base in BASES
                for each in spelled
            ),
            *azure_carriers(),
        )
    )


def open_carriers(carriers: Iterable[Carrier]) -> list[str]:
    """Say which carriers are open, or unknown to the door that they lead through."""
    fates = [fate_of(carrier, {}) for carrier in carriers]
    return sorted(
        f"{fate.method} {fate.path} {fate.pointer}: {fate.what}"
        for fate in fates
        if not fate.fine
    )


# -- shapes: TypedDicts of openai, models of azure --------------------------------


def places(shape: Any) -> frozenset[str]:
    """Return where in a shape the tool can stand."""
    return frozenset(_walk(shape, "", ()))


def _walk(shape: Any, pointer: str, above: tuple[Any, ...]) -> Iterator[str]:
    if len(above) > DEEPEST or shape in above:
        return
    fields = _fields(shape)
    if fields is None:
        step = "/*" if _is_sequence(shape) else ""
        for argument in typing.get_args(shape):
            yield from _walk(argument, pointer + step, above)
        return
    if TOOL in _words(fields.get("type")):
        yield pointer
    if not above and set(fields) >= _IMAGE_FIELDS:
        yield pointer
    for name, hint in fields.items():
        yield from _walk(hint, f"{pointer}/{name}", (*above, shape))
    for kind in _azure_kinds(shape):
        yield from _walk(kind, pointer, (*above, shape))


@functools.cache
def _fields(shape: Any) -> Mapping[str, Any] | None:
    """Return the members of an object; None for what is none."""
    if typing_extensions.is_typeddict(shape):
        return typing.get_type_hints(shape)
    if _is_azure_model(shape):
        hints = typing.get_type_hints(shape, _azure_names(shape.__module__))
        return {name: hints[name] for name in hints if not name.startswith("_")}
    return None


def _is_sequence(shape: Any) -> bool:
    origin = typing.get_origin(shape)
    if origin is typing.Union:  # a class, since 3.14
        return False
    return isinstance(origin, type) and not issubclass(origin, Mapping)


def _words(hint: Any) -> frozenset[str]:
    """Return the literals that a hint admits."""
    if typing.get_origin(hint) is typing.Literal:
        return frozenset(getattr(v, "value", v) for v in typing.get_args(hint))
    empty: frozenset[str] = frozenset()
    return empty.union(*(_words(each) for each in typing.get_args(hint)))


# -- routes of openai -------------------------------------------------------------


def openai_carriers() -> Iterator[Carrier]:
    """Find the carriers in the requests of the OpenAI SDK."""
    seen: dict[str, frozenset[str]] = {}
    for method, route, shape in _openai_calls():
        key = repr(shape)
        if key not in seen:
            seen[key] = places(shape)
        for pointer in seen[key]:
            yield Carrier(method, _filled(route), pointer)


def _openai_calls() -> Iterator[tuple[str, str, Any]]:
    package = importlib.import_module("openai.resources")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                method = _VERBS.get(node.func.attr)
                if method and node.args:
                    yield method, _route(node.args[0]), _body_type(node, module)


def _route(node: ast.expr) -> str:
    """Read a path, written out or as a template."""
    if isinstance(node, ast.Call) and node.args:
        return _route(node.args[0])
    return str(node.value).partition("?")[0] if isinstance(node, ast.Constant) else ""


def _body_type(call: ast.Call, module: types.ModuleType) -> Any:
    """Find the types that stand in what is said of a body."""
    bodies = [each.value for each in call.keywords if each.arg == "body"]
    named = [node for body in bodies for node in ast.walk(body)]
    found = [
        value
        for node in named
        if isinstance(node, ast.Attribute)
        and typing_extensions.is_typeddict(value := _value(node, module))
    ]
    return typing.Union[tuple(found)] if found else None  # noqa: UP007 - of values


def _value(node: ast.expr, module: types.ModuleType) -> Any:
    try:
        return eval(ast.unparse(node), vars(module))  # noqa: S307 - the SDK's own source
    except (NameError, AttributeError):
        return None


def openai_messages() -> Iterator[Carrier]:
    """Find the carriers in the messages that a client sends over a connection."""
    package = importlib.import_module("openai.types")
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("client_event_param"):
            continue
        area = re.split(r"[._]", found.name.removeprefix("openai.types.beta."))
        route = next(r for word, r in _CONNECTIONS.items() if word in area)
        module = importlib.import_module(found.name)
        words = found.name.rpartition(".")[2].split("_")
        for pointer in places(getattr(module, "".join(map(str.title, words)))):
            yield Carrier("WEBSOCKET", route, pointer)


_CONNECTIONS = {
    "responses": "/responses",
    "live": "/live/sessions",
    "realtime": "/realtime",
}


def _filled(route: str) -> str:
    return re.sub(r"\{\w+\}", "x", route)


# -- routes of azure --------------------------------------------------------------


def _azure_names(module: str) -> dict[str, Any]:
    """Return what annotations of the SDK may name; some only for type checkers."""
    root = "azure.ai.projects"
    unions = importlib.import_module(f"{root}._unions")
    models = importlib.import_module(f"{root}.models")
    named = {"_models": models, "_unions": unions, "_types": unions}
    vars(unions).setdefault("_models", models)
    return {**vars(importlib.import_module(module)), **named}


def _is_azure_model(shape: Any) -> bool:
    # Its metaclass is that of mappings, which would look at every class there is.
    return isinstance(shape, type) and _azure_base() in shape.__mro__


@functools.cache
def _azure_base() -> Any:
    return importlib.import_module("azure.ai.projects._utils.model_base").Model


def _azure_kinds(shape: Any) -> Iterable[type]:
    """Return what may stand for a model: those told apart by one of its words."""
    return shape.__subclasses__() if _is_azure_model(shape) else ()


def azure_carriers() -> Iterator[Carrier]:
    """Find the carriers in the requests of the Foundry SDK."""
    module = importlib.import_module("azure.ai.projects.operations._operations")
    tree = ast.parse(Path(inspect.getfile(module)).read_text("utf-8"))
    builders = dict(_builders(tree))
    names = _azure_names(module.__name__)
    for group in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        by_name: dict[str, list[ast.FunctionDef]] = {}
        for node in group.body:
            if isinstance(node, ast.FunctionDef):
                by_name.setdefault(node.name, []).append(node)
        for overloads in by_name.values():
            yield from _azure_method(overloads, builders, names)


def _builders(tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield what each function that builds a request calls, and how."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("build_"):
            source = ast.unparse(node)
            url = re.search(r"_url = '([^']+)'", source)
            method = re.search(r"method='(\w+)'", source)
            if url and method:
                yield node.name, (method.group(1), url.group(1))


def _azure_method(
    overloads: list[ast.FunctionDef],
    builders: Mapping[str, tuple[str, str]],
    names: dict[str, Any],
) -> Iterator[Carrier]:
    source = ast.unparse(overloads[-1])
    built = next((name for name in builders if f"{name}(" in source), None)
    if built is None:
        return
    method, url = builders[built]
    path = f"/api/projects/p{_filled(url)}"
    for overload in overloads:
        arguments = overload.args
        for argument in (*arguments.args, *arguments.kwonlyargs):
            if argument.annotation is None:
                continue
            shape = eval(ast.unparse(argument.annotation), names)  # noqa: S307 - the SDK's own source
            # A model by position is the body; a keyword is a member of it.
            prefix = "" if argument in arguments.args else f"/{argument.arg}"
            for pointer in places(shape):
                yield Carrier(method, path, prefix + pointer)


if __name__ == "__main__":
    found = open_carriers(all_carriers())
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
