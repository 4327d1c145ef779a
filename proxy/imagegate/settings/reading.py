"""From what was said to the settings, with every problem on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from imagegate import shipped
from imagegate.settings.checks import check_settings
from imagegate.settings.credential import FromFile, read_credential
from imagegate.settings.keys import OPTIONS, SHORT, Key, is_path, is_section, keys
from imagegate.settings.model import Settings, UpstreamSettings
from imagegate.settings.problems import SettingsProblem
from imagegate.settings.sources import (
    CONFIG,
    Given,
    Source,
    from_environment,
    from_file,
    from_options,
)
from imagegate.settings.upstream import (
    read_prefix,
    read_project,
    read_short,
    read_url,
)

_S = TypeVar("_S", bound=msgspec.Struct)

DEFAULT = "default"
Origins = Mapping[str, str]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was understood.

    Attributes:
        settings: What was said; what could not be read is a default or a blank.
        origins: Where each setting was given, by its path; `default` else.
        problems: All that is wrong; the gateway starts only when nothing is.
    """

    settings: Settings
    origins: Origins
    problems: tuple[SettingsProblem, ...]


def read_settings(
    options: Mapping[str, str | Sequence[str]],
    environ: Mapping[str, str],
    *,
    config: str = "",
    text: bytes | None = None,
) -> Reading:
    """Read the settings out of all their sources.

    Args:
        options: The options of the command line, by the paths of their settings.
        environ: The environment.
        config: The configuration file; IMAGEGATE_CONFIG names it when this is empty.
        text: What that file says, if it has been read already.
    """
    file = config or environ.get(CONFIG, "")
    nothing: Source = ([], [])
    sources = [
        from_file(Path(file), text) if file else nothing,
        from_environment(environ),
        from_options(options),
    ]
    builder = _Builder(problem for source in sources for problem in source[1])
    settings = builder.build(each for source in sources for each in source[0])
    told = {problem.path for problem in builder.problems}
    found = check_settings(settings, builder.origins, environ)
    problems = [*builder.problems, *(each for each in found if each.path not in told)]
    return Reading(settings=settings, origins=builder.origins, problems=tuple(problems))


class _Builder:
    """Puts settings together out of what was given; one use."""

    def __init__(self, problems: Iterable[SettingsProblem]) -> None:
        self.problems = list(problems)
        self.origins: dict[str, str] = dict.fromkeys(keys(), DEFAULT)

    def build(self, given: Iterable[Given]) -> Settings:
        """Build the settings; what cannot be read is its default meanwhile."""
        last: dict[str, Given] = {}
        for each in given:
            if each.path == "upstreams":
                # Who names providers, names all of them.
                last = {k: v for k, v in last.items() if k.split(".")[0] != each.path}
                last |= self._spelled_out(each)
            else:
                last[each.path] = each
        upstreams = self._upstreams(last)
        values = {each.path: self._value(each, last) for each in keys().values()}
        if not values["policy"]:
            self._missing("policy", "say which policy holds")
        if not upstreams:
            self._missing("upstreams", "say where the provider is")
        return _assembled(values, upstreams)

    # -- one value ----------------------------------------------------------------

    def _value(self, key: Key, last: Mapping[str, Given]) -> Any:  # noqa: ANN401 - of the key
        given = last.get(key.path)
        if given is None:
            return key.default
        self.origins[key.path] = given.origin
        try:
            value = key.read(given.value)
        except ValueError as error:
            self._complain("bad-value", given, str(error))
            return key.default
        if key.path in {"policy", "candidate"}:
            return _policy(value, given.base)
        return _based(value, given.base) if is_path(key.kind) else value

    # -- the upstreams --------------------------------------------------------------

    def _spelled_out(self, given: Given) -> dict[str, Given]:
        """Turn the short spelling into what a file would say."""
        try:
            tables = read_short(given.value)
        except ValueError as error:
            self._complain("bad-value", given, str(error))
            return {}
        return {
            f"upstreams.{name}.{key}": Given(
                path=f"upstreams.{name}.{key}", value=value, origin=given.origin
            )
            for name, table in tables.items()
            for key, value in table.items()
        }

    def _upstreams(self, last: dict[str, Given]) -> dict[str, UpstreamSettings]:
        tables: dict[str, dict[str, Given]] = {}
        for path, each in last.items():
            if path.startswith("upstreams."):
                _, name, key = path.split(".")
                tables.setdefault(name, {})[key] = each
        alone = last.get("credential")
        if alone is not None and len(tables) == 1:
            next(iter(tables.values()))["credential"] = alone
        elif alone is not None:
            self._complain(
                "whose-credential",
                alone,
                "of several providers each has a credential of its own: give them in "
                "a configuration file",
            )
        return {name: self._upstream(name, table) for name, table in tables.items()}

    def _upstream(self, name: str, table: Mapping[str, Given]) -> UpstreamSettings:
        read: dict[str, Any] = {"url": ""}
        for key, reader in _READERS.items():
            path, given = f"upstreams.{name}.{key}", table.get(key)
            self.origins[path] = given.origin if given else DEFAULT
            if given is None:
                continue
            try:
                read[key] = _moved(reader(_text(given.value)), given.base)
            except ValueError as error:
                self._complain("bad-value", given, str(error), path)
        if "url" not in table:
            self._missing(f"upstreams.{name}.url", "say where the provider is")
        return UpstreamSettings(**read)

    # -- saying what is wrong -------------------------------------------------------

    def _complain(self, ident: str, given: Given, message: str, path: str = "") -> None:
        self.problems.append(
            SettingsProblem(
                id=ident, path=path or given.path, origin=given.origin, message=message
            )
        )

    def _missing(self, path: str, message: str) -> None:
        if any(problem.path.startswith(path) for problem in self.problems):
            return  # it was said, and could not be read
        names = [name for name in (OPTIONS.get(path), _variable(path)) if name]
        table = "[upstreams.NAME]" if path == "upstreams" else f"`{path}`"
        where = ", ".join([*names, f"{table} in a configuration file"])
        self.problems.append(
            SettingsProblem(
                id="missing", path=path, origin="", message=f"{message}: {where}"
            )
        )


_READERS = {
    "url": read_url,
    "prefix": read_prefix,
    "credential": read_credential,
    "project": read_project,
}


def _variable(path: str) -> str:
    key = keys().get(path)
    return key.variable if key else SHORT.get(path, "")


def _assembled(
    values: Mapping[str, Any], upstreams: Mapping[str, UpstreamSettings]
) -> Settings:
    """Put values into the structs they belong to."""
    tree: dict[str, Any] = {"upstreams": dict(upstreams)}
    for path, value in values.items():
        *sections, name = path.split(".")
        inner = tree
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return _struct(Settings, tree)


def _struct(kind: type[_S], tree: Mapping[str, Any]) -> _S:
    types = get_type_hints(kind)
    fields = {
        name: _struct(types[name], value) if is_section(types[name]) else value
        for name, value in tree.items()
    }
    return kind(**fields)


def _policy(name: str, base: Path | None) -> str:
    return name if name in shipped.policies() else str(_based(Path(name), base))


def _based(path: Path, base: Path | None) -> Path:
    """Make a path absolute: a file's are relative to the file."""
    return (base or Path.cwd()) / path


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004 - as other wrong values
    return value


def _moved(value: object, base: Path | None) -> object:
    """Make the path of a credential absolute."""
    if isinstance(value, FromFile):
        return FromFile(value.header, _based(value.file, base))
    return value
