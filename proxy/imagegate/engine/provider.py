"""One provider as the catalogue describes it: fields, rules, models.

Values only, and questions that one of them answers alone. What is wrong with a
tool is asked in `objections`; where the values come from, `catalogue` knows.
"""

from __future__ import annotations

import enum
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from imagegate.engine.sizes import Sizes

Kind: TypeAlias = Literal[
    "word", "integer", "size", "name", "text", "boolean", "object", "map", "file"
]


class Unstated(enum.Enum):
    """A default that is no value."""

    UNKNOWN = "unknown"  # no source says what an omitted field means
    INHERITS = "inherits"  # something outside the tool decides


_UNSTATED = {each.value: each for each in Unstated}


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a misspelt key is an error."""


class Field(Strict, frozen=True, kw_only=True):
    """One field of the tool, or one parameter of the Images API.

    Attributes:
        kind: What values look like.
        words: Every word any provider's types name, lowest first where ordered.
        unlisted: Words this provider's own types do not name: unknown here.
        deprecated_words: Words that are still named, but not to be used.
        minimum: The least integer, where one is stated.
        maximum: The greatest integer, where one is stated.
        stated_default: `default` as the file spells it.
        deprecated: Whether the provider asks not to send it.
        required: Whether it must be sent.
        known: Whether this provider's types name the field at all.
        server_only: Echoed by the server and refused in a request.
        per_model: Whether each model says which words it takes.
        everywhere: Whether every model has the field; where not, a cell that is
            unknown leaves open whether the model does.
    """

    kind: Kind
    words: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    deprecated_words: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    stated_default: str | int | None = msgspec.field(default=None, name="default")
    deprecated: bool = False
    required: bool = False
    known: bool = True
    server_only: bool = False
    per_model: bool = False
    everywhere: bool = True

    @property
    def default(self) -> str | int | Unstated | None:
        """What an omitted field means; None when it means nothing at all."""
        stated = self.stated_default
        return _UNSTATED.get(stated, stated) if isinstance(stated, str) else stated

    def in_range(self, value: int) -> bool:
        """Whether an integer is within the range, where one is stated."""
        low = self.minimum is None or self.minimum <= value
        return low and (self.maximum is None or value <= self.maximum)


class When(Strict, frozen=True, kw_only=True):
    """Which values of a field a rule is about; any value when it says nothing."""

    words: tuple[str, ...] = ()
    above: int | None = None
    below: int | None = None

    @property
    def always(self) -> bool:
        """Whether the mere presence of the field is meant."""
        return not self.words and self.above is None and self.below is None

    def matches(self, value: object) -> bool:
        """Whether this value is meant."""
        if type(value) is not int:  # True is an int
            return self.always or value in self.words
        above = self.above is not None and value > self.above
        below = self.below is not None and value < self.below
        return self.always or above or below


class Needs(Strict, frozen=True, kw_only=True):
    """What another field must hold: one of some words, or none of them."""

    field: str
    among: tuple[str, ...] = ()
    not_among: tuple[str, ...] = ()


class Rule(Strict, frozen=True, kw_only=True):
    """A rule between fields.

    Attributes:
        id: Stable; it is the rule of an `Objection`.
        says: The rule in one sentence.
        fields: The fields it restricts.
        needs: What they need of another field.
        when: Which of their values it is about.
    """

    id: str
    says: str
    fields: tuple[str, ...]
    needs: Needs
    when: When = When()


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What one model takes in one field.

    Attributes:
        legal: Words that are known to be taken.
        unknown: Words of which nothing is known; they count as legal.
    """

    legal: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether the field must be omitted."""
        return not self.legal and not self.unknown

    def takes(self, word: str) -> bool:
        """Whether a word is not known to be illegal."""
        return word in self.legal or word in self.unknown


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One image model.

    Attributes:
        name: The canonical name.
        snapshots: Dated names of the same model.
        aliases: Other names of the same model.
        moving: Whether what the name means changes without notice.
        known: Whether the provider's types name it.
        retires: The ISO date of its end, where one is published.
        sizes: What it makes; None when nothing is known.
        cells: What it takes, by field.
    """

    name: str
    snapshots: tuple[str, ...]
    aliases: tuple[str, ...]
    moving: bool
    known: bool
    retires: str | None
    sizes: Sizes | None
    cells: dict[str, Cell]

    def retired(self, on: date) -> bool:
        """Whether the model has ended on that day; its last date counts as ended."""
        return self.retires is not None and on >= date.fromisoformat(self.retires)


class Interface(Strict, frozen=True, kw_only=True):
    """What is known of the interface's versions and previews.

    Attributes:
        api_versions: Those in which the tool is as this file describes it.
        previews: What headers and queries opt into, as they spell it.
        usual: Those previews that are allowed where a policy is silent.
    """

    api_versions: tuple[str, ...] = ()
    previews: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        name: `openai` or `azure`.
        fields: The tool's fields by dotted path (`svg.reasoning.effort`).
        images_api: All parameters of the Images API, likewise.
        only: Those that one of its routes has: `generations` or `edits`.
        rules: The rules between fields.
        models: The models by canonical name.
    """

    name: str
    fields: dict[str, Field]
    images_api: dict[str, Field]
    rules: tuple[Rule, ...]
    models: dict[str, Model]
    only: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def default_model(self) -> str | None:
        """The model used when none is named; None when that is not known."""
        default = self.fields["model"].default
        return default if isinstance(default, str) else None

    def has_parameter(self, path: str, route: str) -> bool:
        """Tell whether a route of the Images API has a parameter."""
        return path in self.images_api and self.only.get(path, route) == route

    def model(self, name: str) -> Model | None:
        """Find a model by its exact name, one of its snapshots or aliases."""
        if name in self.models:
            return self.models[name]
        for model in self.models.values():
            if name in model.snapshots or name in model.aliases:
                return model
        return None
