"""What is known to be illegal about a tool, at one provider and for one model.

Legal means 'not known to be illegal': where nobody documents what a model takes,
nothing is objected to. Policy is no business of this room; it answers what would
be refused upstream, so that a rewrite never turns a good request into a bad one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from imagegate.engine.provider import (
    Cell,
    Field,
    Kind,
    Model,
    Needs,
    Provider,
    Unstated,
)
from imagegate.engine.sizes import parse_size, why_illegal

# The JSON type of each kind. A file arrives in a form, in no type of its own.
_TYPES: Final[dict[Kind, tuple[type, str]]] = {
    "word": (str, "a string"),
    "integer": (int, "an integer"),
    "size": (str, "a string"),
    "name": (str, "a string"),
    "text": (str, "a string"),
    "boolean": (bool, "true or false"),
    "object": (Mapping, "an object"),
    "map": (Mapping, "an object"),
    "file": (object, "a file"),
}


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a tool that is known to be illegal.

    Attributes:
        field: Its dotted path.
        rule: Stable: the id of a rule, or a family and the field. Families are
            `kind` (wrong JSON type), `word` (a word no types know), `range`,
            `cell` (not for this model), `server-only`, and `size.` with what is
            wrong about a size.
        message: One sentence for the developer. A value is in it only when it is
            a word of the catalogue, a number or a size.
        remedy: `omit` when dropping the field cures it and leaves nothing to the
            provider's choice; None when another value has to be found.
    """

    field: str
    rule: str
    message: str
    remedy: Literal["omit"] | None = None


def default_of(
    provider: Provider, model: Model | None, field: str
) -> str | int | Unstated | None:
    """Say what an omitted field of the tool means.

    Returns:
        A value; `Unstated` when no value is known; None when it means nothing,
        because it has no default or the model does not take the field at all.
    """
    if field not in provider.fields:
        return Unstated.UNKNOWN
    return None if _barred(model, field) else provider.fields[field].default


def legal_words(provider: Provider, model: Model | None, field: str) -> tuple[str, ...]:
    """List the words of a field not known to be illegal on a model, in its order."""
    cell, words = _cell(model, field), provider.fields[field].words
    return tuple(word for word in words if cell is None or cell.takes(word))


def is_doubtful(provider: Provider, model: Model | None, field: str) -> bool:
    """Say whether it is open that a model has a field at all.

    Writing such a field may be refused, and leaving it out may mean nothing.
    """
    known = provider.fields.get(field)
    if known is None or known.everywhere:
        return False
    cell = _cell(model, field)
    return cell is None or (not cell.legal and bool(cell.unknown))


def applies(
    provider: Provider,
    model: Model | None,
    field: str,
    tool: Mapping[str, object],
    *,
    value: object = None,
) -> bool:
    """Say whether a field has a place in this tool.

    False when writing it is known to be illegal whatever its value; when a value is
    given, also when a rule between fields refuses that value.
    """
    known = provider.fields.get(field)
    if (known is not None and known.server_only) or _barred(model, field):
        return False
    return not any(
        f"{field}.".startswith(f"{path}.")
        and (rule.when.always or rule.when.matches(value))
        and _offender(provider, model, tool, rule.needs)
        for rule in provider.rules
        for path in rule.fields
    )


def objections(
    provider: Provider,
    model: Model | None,
    tool: Mapping[str, object],
    *,
    images_api: bool = False,
    about: str = "",
) -> tuple[Objection, ...]:
    """List what is known to be illegal about a decoded tool.

    Null counts as omitted. Fields the catalogue does not hold are not objected to:
    nothing is known about them.

    Args:
        provider: Who would be asked.
        model: Which model would draw; None when nothing is known about it.
        tool: Any JSON object.
        images_api: Whether it is the body of an Images API request instead.
        about: The one field, with those that it stands in, that is asked about;
            all of them when it is empty.

    Returns:
        What is wrong with single fields, in the order of the catalogue, then what
        the rules between fields say.
    """
    fields = provider.images_api if images_api else provider.fields
    if about:
        fields = {path: fields[path] for path in _upwards(about) if path in fields}
    gif = _effective(provider, model, tool, "output_format") == "gif"
    found = []
    for path, field in fields.items():
        value = _at(tool, path)
        if field.server_only and path in tool:
            found.append(
                _objection(path, "server-only", f"{path} must be omitted", omit=True)
            )
        elif value is not None and _barred(model, path):
            message = f"{path} must be omitted for this model"
            found.append(_objection(path, "cell", message, omit=True))
        elif value is not None:
            found.extend(_misfits(path, field, model, value, gif=gif))
    return (*found, *_breaches(provider, model, tool, fields))


def _upwards(path: str) -> list[str]:
    """Name the objects that a field stands in, and the field."""
    steps = path.split(".")
    return [".".join(steps[:end]) for end in range(1, len(steps) + 1)]


def _misfits(
    path: str, field: Field, model: Model | None, value: object, *, gif: bool
) -> Iterator[Objection]:
    type_, called = _TYPES[field.kind]
    if not isinstance(value, type_) or (type_ is int and isinstance(value, bool)):
        yield _objection(path, "kind", f"{path} must be {called}")
    elif isinstance(value, int) and not field.in_range(value):
        limits = f"between {field.minimum} and {field.maximum}"
        yield _objection(path, "range", f"{path} must be {limits}")
    elif isinstance(value, str) and field.words:
        yield from _misfit_word(path, field, model, value, gif=gif)


def _misfit_word(
    path: str, field: Field, model: Model | None, value: str, *, gif: bool
) -> Iterator[Objection]:
    if field.kind == "size" and value not in field.words:
        yield from _misfit_size(path, model, value, gif=gif)
    elif value not in field.words:
        words = ", ".join(field.words)
        yield _objection(path, "word", f"{path} must be one of {words}")
    elif (cell := _cell(model, path)) and not cell.takes(value):
        words = ", ".join((*cell.legal, *cell.unknown))
        message = f"{path} {value} is not for this model, which takes {words}"
        omit = _settled(field.default) and cell.takes(str(field.default))
        yield _objection(path, "cell", message, omit=omit)


def _misfit_size(
    path: str, model: Model | None, value: str, *, gif: bool
) -> Iterator[Objection]:
    size = parse_size(value)
    if size is None:
        yield Objection(
            field=path,
            rule="size.format",
            message=f"{path} must be auto or WIDTHxHEIGHT such as 1024x1024",
        )
    elif fault := why_illegal(size, model.sizes if model else None, gif=gif):
        yield Objection(field=path, rule=fault.rule, message=fault.message)


def _breaches(
    provider: Provider,
    model: Model | None,
    tool: Mapping[str, object],
    fields: Mapping[str, Field],
) -> Iterator[Objection]:
    for rule in provider.rules:
        for path in rule.fields:
            value = _at(tool, path) if path in fields else None
            if value is None:
                continue
            offender = _offender(provider, model, tool, rule.needs)
            if offender is None:
                continue
            if rule.when.matches(value):
                omit = rule.when.always or _settled(fields[path].default)
                yield Objection(
                    field=path,
                    rule=rule.id,
                    message=f"{rule.says}, not {offender}"
                    if rule.needs.among
                    else rule.says,
                    remedy="omit" if omit else None,
                )


def _offender(
    provider: Provider, model: Model | None, tool: Mapping[str, object], needs: Needs
) -> str | None:
    """Return the word that stands against a rule; an unknown word never does."""
    word = _effective(provider, model, tool, needs.field)
    if not isinstance(word, str) or word not in provider.fields[needs.field].words:
        return None
    met = word in needs.among if needs.among else word not in needs.not_among
    return None if met else word


def _effective(
    provider: Provider, model: Model | None, tool: Mapping[str, object], path: str
) -> object:
    value = _at(tool, path)
    return default_of(provider, model, path) if value is None else value


def _at(tool: Mapping[str, object], path: str) -> object:
    # Hundreds of look-ups a request, nearly all of them of the first form.
    if "." not in path:
        return tool.get(path)
    found: object = tool
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _cell(model: Model | None, path: str) -> Cell | None:
    return model.cells.get(path) if model else None


def _barred(model: Model | None, path: str) -> bool:
    cell = _cell(model, path)
    return cell is not None and cell.empty


def _settled(default: str | int | Unstated | None) -> bool:
    """Whether an omitted field leaves nothing to the provider's choice."""
    return isinstance(default, str | int) and default != "auto"


def _objection(
    path: str, family: str, message: str, *, omit: bool = False
) -> Objection:
    return Objection(
        field=path,
        rule=f"{family}.{path}",
        message=message,
        remedy="omit" if omit else None,
    )
