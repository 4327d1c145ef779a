"""`imagegate catalogue`: what is known about the providers' image models."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from imagegate import shipped
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, print_json, print_table, print_text
from imagegate.engine.catalogue import (
    Catalogue,
    Cell,
    Field,
    Model,
    Provider,
    Unstated,
    default_of,
)
from imagegate.engine.sizes import FixedSizes, Sizes

HEADS = ("MODEL", "SIZES", "QUALITY", "FORMAT", "NOTE")
FIELD_HEADS = ("FIELD", "TAKES", "LEFT OUT", "NOTE")
LEGEND = "? is not known: no source says whether it is taken"
UNKNOWN = "not known"
MUST_OMIT = "must be left out"


def run(name: str | None, *, as_json: bool) -> Exit:
    """Print the catalogue, or all about one model, and return the exit code."""
    catalogue = shipped.catalogue()
    if name is None:
        print_json(catalogue) if as_json else _print_models(catalogue)
        return Exit.FINE
    found = {
        provider: model
        for provider, each in catalogue.providers.items()
        if (model := each.model(name)) is not None
    }
    if not found:
        complain(_unknown(catalogue, name))
        return Exit.USAGE
    if as_json:
        print_json(_described(catalogue, found))
        return Exit.FINE
    for provider, model in found.items():
        _print_model(catalogue.provider(provider), model)
    _print_rules([catalogue.provider(provider) for provider in found])
    print_text("", LEGEND)
    return Exit.FINE


def _unknown(catalogue: Catalogue, name: str) -> str:
    known = sorted(
        {
            each
            for provider in catalogue.providers.values()
            for model in provider.models.values()
            for each in (model.name, *model.snapshots, *model.aliases)
        }
    )
    close = difflib.get_close_matches(name.casefold()[:100], known, n=3, cutoff=0.5)
    meant = f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known)}"
    return f"no image model is called {name!r}; {meant}"


def _described(catalogue: Catalogue, found: dict[str, Model]) -> dict[str, object]:
    return {
        "date": catalogue.date,
        "providers": {
            name: {
                "model": model,
                "fields": catalogue.provider(name).fields,
                "rules": catalogue.provider(name).rules,
            }
            for name, model in found.items()
        },
    }


def _print_models(catalogue: Catalogue) -> None:
    for name, provider in catalogue.providers.items():
        rows = [_model_row(provider, model) for model in provider.models.values()]
        title = f"{name} · read on {catalogue.date}"
        print_table(HEADS, rows, title=title, remarks=True)
        print_text("")
    print_text(LEGEND)


def _model_row(provider: Provider, model: Model) -> tuple[str, ...]:
    notes = [
        f"retires {model.retires}" if model.retires else "",
        "the default" if provider.default_model == model.name else "",
        "changes without notice" if model.moving else "",
        "" if model.known else f"not named by {provider.name}'s SDK",
    ]
    return (
        model.name,
        _sizes(model.sizes),
        _cell(model.cells["quality"]),
        _cell(model.cells["output_format"]),
        ", ".join(filter(None, notes)),
    )


def _sizes(sizes: Sizes | None) -> str:
    if sizes is None:
        return UNKNOWN
    if isinstance(sizes, FixedSizes):
        return " ".join(size.text for size in sizes.sizes)
    return f"any up to {sizes.max_edge} a side{'?' if sizes.assumed else ''}"


def _cell(cell: Cell) -> str:
    if cell.empty:
        return MUST_OMIT
    if not cell.legal:
        return UNKNOWN
    return " ".join((*cell.legal, *(f"{word}?" for word in cell.unknown)))


def _print_model(provider: Provider, model: Model) -> None:
    title = f"{model.name} · {provider.name}"
    print_table(("NAME", model.name), _facts(provider, model), title=title)
    print_text("")
    rows = [
        _field_row(provider, model, path, field)
        for path, field in provider.fields.items()
        if path != "type"
    ]
    print_table(FIELD_HEADS, rows, remarks=True)
    print_text("")


def _print_rules(providers: list[Provider]) -> None:
    """Print the rules between fields, and who has each."""
    rules = {rule.id: rule for each in providers for rule in each.rules}
    rows = [
        (
            rule.id,
            rule.says,
            ", ".join(each.name for each in providers if rule in each.rules),
        )
        for rule in rules.values()
    ]
    print_table(("RULE", "SAYS", "PROVIDER"), rows)


def _facts(provider: Provider, model: Model) -> Iterator[tuple[str, str]]:
    if not model.known:
        yield "named", f"not by {provider.name}'s SDK"
    if model.snapshots:
        yield "snapshots", " ".join(model.snapshots)
    if model.aliases:
        yield "aliases", " ".join(model.aliases)
    if model.moving:
        yield "meaning", "changes without notice"
    yield "retires", model.retires or "no date is published"
    yield from _size_facts(model.sizes)


def _size_facts(sizes: Sizes | None) -> Iterator[tuple[str, str]]:
    if sizes is None or isinstance(sizes, FixedSizes):
        yield "sizes", _sizes(sizes)
        return
    source = "as its sibling's, which is not confirmed: " if sizes.assumed else ""
    yield "sizes", f"{source}any whose edges are multiples of {sizes.multiple}"
    yield "", f"no edge longer than {sizes.max_edge}"
    yield "", f"from 1:{sizes.max_ratio} to {sizes.max_ratio}:1"
    yield "", f"from {sizes.min_pixels} to {sizes.max_pixels} pixels; a GIF may be less"
    yield "", f"experimental above {sizes.experimental_above} pixels"


def _field_row(
    provider: Provider, model: Model, path: str, field: Field
) -> tuple[str, ...]:
    notes = [
        "deprecated" if field.deprecated else "",
        "written by the server alone" if field.server_only else "",
        "" if field.known else f"not named by {provider.name}'s SDK",
    ]
    left = default_of(provider, model, path)
    if isinstance(left, Unstated):
        said = UNKNOWN if left is Unstated.UNKNOWN else "as the request"
    else:
        said = "" if left is None else str(left)
    return path, _takes(model, path, field), said, ", ".join(filter(None, notes))


def _takes(model: Model, path: str, field: Field) -> str:
    if field.server_only:
        return MUST_OMIT
    if path == "size":
        return "a size, or auto" + ("?" if "auto" in model.cells[path].unknown else "")
    if path in model.cells:
        return _cell(model.cells[path])
    if field.minimum is not None:
        return f"{field.minimum} to {field.maximum}"
    unlisted = set(field.unlisted)
    words = (f"{word}?" if word in unlisted else word for word in field.words)
    return " ".join(words) or f"any {field.kind}"
