"""What each provider accepts, read from a dated data file.

It reads bytes that it is handed and opens no file. Everything wrong with them is
said at once, and a file that contradicts itself is refused: a word that a cell
names and its field does not know would silently forbid or allow.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from imagegate.engine.errors import CatalogueError
from imagegate.engine.objections import (
    Objection,
    applies,
    default_of,
    legal_words,
    objections,
)
from imagegate.engine.provider import (
    Cell,
    Field,
    Interface,
    Kind,
    Model,
    Needs,
    Provider,
    Rule,
    Strict,
    Unstated,
    When,
)
from imagegate.engine.sizes import ArbitrarySizes, FixedSizes, Size, Sizes, parse_size

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# One address for whoever asks about providers.
__all__ = [
    "Catalogue",
    "Cell",
    "Field",
    "Interface",
    "Kind",
    "Model",
    "Needs",
    "Objection",
    "Provider",
    "Rule",
    "Unstated",
    "When",
    "applies",
    "default_of",
    "legal_words",
    "objections",
    "read_catalogue",
]


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the file says.

    Attributes:
        date: The ISO date on which the sources were read.
        sources: What was read, and in which version.
        providers: The providers by name.
        interface: Versions and previews, of both.
    """

    date: str
    sources: dict[str, str]
    providers: dict[str, Provider]
    interface: Interface = Interface()

    def provider(self, name: str) -> Provider:
        """Find a provider; KeyError for a name the file does not hold."""
        return self.providers[name]


class _Partial(Strict, frozen=True, kw_only=True):
    legal: tuple[str, ...]
    unknown: tuple[str, ...]


class _ModelSize(Strict, frozen=True, kw_only=True):
    auto: Literal["legal", "unknown", "illegal"]
    fixed: str | None = None
    arbitrary: str | None = None
    standard: str | None = None
    assumed: bool = False


_Cell: TypeAlias = Literal["unknown"] | tuple[str, ...] | _Partial


class _Model(Strict, frozen=True, kw_only=True):
    size: Literal["unknown"] | _ModelSize
    cells: dict[str, _Cell]
    snapshots: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    moving: bool = False
    known: bool = True
    retires: str | None = None


class _Provider(Strict, frozen=True, kw_only=True):
    rules: tuple[str, ...]
    fields: dict[str, Field]
    models: dict[str, _Model]


class _ImagesApi(Strict, frozen=True, kw_only=True):
    shares: tuple[str, ...]
    fields: dict[str, Field]
    only: dict[str, Literal["generations", "edits"]] = msgspec.field(
        default_factory=dict
    )


class _SizeSets(Strict, frozen=True, kw_only=True):
    fixed: dict[str, tuple[str, ...]]
    arbitrary: dict[str, ArbitrarySizes]


class _File(Strict, frozen=True, kw_only=True):
    date: str
    sources: dict[str, str]
    sizes: _SizeSets
    rules: tuple[Rule, ...]
    images_api: _ImagesApi
    providers: dict[str, _Provider]
    interface: Interface = Interface()


def read_catalogue(data: bytes) -> Catalogue:
    """Read the catalogue file.

    Raises:
        CatalogueError: It is no TOML, not of this shape, or contradicts itself.
    """
    try:
        file = msgspec.toml.decode(data, type=_File)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CatalogueError(f"the catalogue cannot be read: {error}") from error
    faults = list(_faults(file))
    if faults:
        raise CatalogueError("; ".join(faults))
    return Catalogue(
        date=file.date,
        sources=file.sources,
        providers={name: _provider(file, name) for name in file.providers},
        interface=file.interface,
    )


def _provider(file: _File, name: str) -> Provider:
    raw = file.providers[name]
    return Provider(
        name=name,
        fields=raw.fields,
        images_api=_images_api(file, raw),
        only=dict(file.images_api.only),
        rules=tuple(rule for rule in file.rules if rule.id in raw.rules),
        models={key: _model(file, raw, key) for key in raw.models},
    )


def _images_api(file: _File, raw: _Provider) -> dict[str, Field]:
    own = file.images_api.fields
    return {path: raw.fields[path] for path in file.images_api.shares} | own


def _model(file: _File, provider: _Provider, name: str) -> Model:
    raw = provider.models[name]
    cells = {
        path: _cell(cell, _words(file, provider, path))
        for path, cell in raw.cells.items()
    }
    return Model(
        name=name,
        snapshots=raw.snapshots,
        aliases=raw.aliases,
        moving=raw.moving,
        known=raw.known,
        retires=raw.retires,
        sizes=_sizes(file.sizes, raw.size),
        cells=cells | {"size": _size_cell(file.sizes, raw.size)},
    )


def _words(file: _File, provider: _Provider, path: str) -> tuple[str, ...]:
    # Of an unknown cell the Images API's own words are as unknown as the tool's.
    words = provider.fields[path].words
    own = file.images_api.fields.get(path)
    return words if own is None else tuple(dict.fromkeys((*words, *own.words)))


def _cell(raw: _Cell, words: tuple[str, ...]) -> Cell:
    if isinstance(raw, _Partial):
        return Cell(legal=raw.legal, unknown=raw.unknown)
    if isinstance(raw, str):
        return Cell(legal=(), unknown=words)
    return Cell(legal=raw, unknown=())


def _sizes(sets: _SizeSets, raw: str | _ModelSize) -> Sizes | None:
    if isinstance(raw, str):
        return None
    if raw.arbitrary is not None:
        limits = sets.arbitrary[raw.arbitrary]
        return msgspec.structs.replace(limits, assumed=raw.assumed)
    return FixedSizes(sizes=_listed(sets.fixed[raw.fixed or ""]))


def _listed(texts: Iterable[str]) -> tuple[Size, ...]:
    return tuple(size for text in texts if (size := parse_size(text)) is not None)


def _size_cell(sets: _SizeSets, raw: str | _ModelSize) -> Cell:
    if isinstance(raw, str):
        return Cell(legal=(), unknown=("auto",))
    named = raw.fixed or raw.standard
    sizes = sets.fixed[named] if named else ()
    return Cell(
        legal=(*sizes, "auto") if raw.auto == "legal" else sizes,
        unknown=("auto",) if raw.auto == "unknown" else (),
    )


def _faults(file: _File) -> Iterator[str]:
    yield from _date_faults("date", file.date)
    for name, sizes in file.sizes.fixed.items():
        if len(_listed(sizes)) != len(sizes):
            yield f"sizes.fixed.{name}: not every size is WIDTHxHEIGHT"
    yield from _repeats("rules", [rule.id for rule in file.rules])
    own = file.images_api
    yield from _field_faults("images_api", own.fields)
    yield from _strangers("images_api.only", own.only, {*own.shares, *own.fields})
    yield from _interface_faults(file.interface)
    for name, provider in file.providers.items():
        yield from _provider_faults(file, name, provider)


def _interface_faults(interface: Interface) -> Iterator[str]:
    where = "interface.previews"
    yield from _repeats("interface.api_versions", interface.api_versions)
    yield from _repeats(where, interface.previews)
    yield from _strangers(where, interface.usual, interface.previews)


def _provider_faults(file: _File, where: str, provider: _Provider) -> Iterator[str]:
    fields, models = provider.fields, provider.models
    yield from _field_faults(where, fields)
    yield from _strangers(f"{where}.images_api", file.images_api.shares, fields)
    yield from _strangers(f"{where}.rules", provider.rules, [r.id for r in file.rules])
    for rule in file.rules:
        if rule.id in provider.rules:
            yield from _rule_faults(
                f"{where}.{rule.id}", rule, fields, file.images_api.fields
            )
    names = [(key, *model.snapshots, *model.aliases) for key, model in models.items()]
    yield from _repeats(f"{where}.models", [each for row in names for each in row])
    if "model" not in fields:
        yield f"{where}.fields: there must be a field 'model'"
    elif isinstance(default := fields["model"].default, str):
        yield from _strangers(f"{where}.model", [default], models)
    for key, model in models.items():
        yield from _model_faults(file, f"{where}.{key}", provider, model)


def _field_faults(where: str, fields: dict[str, Field]) -> Iterator[str]:
    for path, field in fields.items():
        here, words = f"{where}.{path}", field.words
        yield from _repeats(here, words)
        yield from _strangers(here, (*field.unlisted, *field.deprecated_words), words)
        if (field.kind == "word") and not words:
            yield f"{here}: a word field needs words"
        if (field.minimum is None) != (field.maximum is None):
            yield f"{here}: a range has two ends"
        if not _fits(field, field.default):
            yield f"{here}: the default {field.default!r} is no value of the field"
        parent = path.rpartition(".")[0]
        if parent and (parent not in fields or fields[parent].kind != "object"):
            yield f"{here}: {parent!r} is no object"


def _fits(field: Field, default: str | int | Unstated | None) -> bool:
    if default is None or isinstance(default, Unstated):
        return True
    if isinstance(default, int):
        return field.kind == "integer" and field.in_range(default)
    return default in field.words if field.words else field.kind in {"name", "text"}


def _rule_faults(
    where: str, rule: Rule, fields: dict[str, Field], images_api: dict[str, Field]
) -> Iterator[str]:
    yield from _strangers(where, rule.fields, fields.keys() | images_api.keys())
    known = [fields[path].words for path in rule.fields if path in fields]
    for words in known:
        yield from _strangers(where, rule.when.words, words)
    needs = rule.needs
    if needs.field not in fields:
        yield f"{where}: no field {needs.field!r}"
    else:
        words = fields[needs.field].words
        yield from _strangers(where, (*needs.among, *needs.not_among), words)
    if bool(needs.among) == bool(needs.not_among):
        yield f"{where}: needs either among or not_among"


def _model_faults(
    file: _File, where: str, provider: _Provider, model: _Model
) -> Iterator[str]:
    if model.retires is not None:
        yield from _date_faults(where, model.retires)
    wanted = [path for path, field in provider.fields.items() if field.per_model]
    for path in wanted:
        if path not in model.cells:
            yield f"{where}: no cell for {path!r}"
    yield from _strangers(f"{where}.cells", model.cells, wanted)
    for path, raw in model.cells.items():
        if path in wanted and not isinstance(raw, str):
            cell = _cell(raw, ())
            both = (*cell.legal, *cell.unknown)
            yield from _repeats(f"{where}.{path}", both)
            yield from _strangers(f"{where}.{path}", both, provider.fields[path].words)
    if not isinstance(model.size, str):
        yield from _size_faults(file.sizes, f"{where}.size", model.size)


def _size_faults(sets: _SizeSets, where: str, size: _ModelSize) -> Iterator[str]:
    if (size.fixed is None) == (size.arbitrary is None):
        yield f"{where}: either fixed or arbitrary"
    if size.auto == "illegal" and size.fixed is None:
        # Its cell would be empty, which says that size must be omitted.
        yield f"{where}: auto can be illegal only where sizes are fixed"
    fixed = [name for name in (size.fixed, size.standard) if name is not None]
    yield from _strangers(where, fixed, sets.fixed)
    if size.arbitrary is not None:
        yield from _strangers(where, [size.arbitrary], sets.arbitrary)


def _date_faults(where: str, text: str) -> Iterator[str]:
    try:
        date.fromisoformat(text)
    except ValueError:
        yield f"{where}: {text!r} is no ISO date"


def _strangers(
    where: str, words: Iterable[str], known: Collection[str]
) -> Iterator[str]:
    for word in words:
        if word not in known:
            yield f"{where}: {word!r} is not known"


def _repeats(where: str, words: Collection[str]) -> Iterator[str]:
    if len(set(words)) != len(words):
        yield f"{where}: a name occurs twice"
