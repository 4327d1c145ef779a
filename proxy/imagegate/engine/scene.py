"""What a tool is judged against, and the words that may be spoken about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from imagegate.engine.body import CHOICE_KEYS, TOOL_KEYS, TOP_KEYS
from imagegate.engine.catalogue import Catalogue, Field, Provider
from imagegate.engine.decision import Reason, Shown, shown
from imagegate.engine.items import ITEM_KEYS
from imagegate.engine.paths import Path
from imagegate.engine.policy import LIMITS, SETTINGS, STANCES, Line
from imagegate.engine.quota import WHAT
from imagegate.engine.rulebook import Rulebook
from imagegate.engine.strict import letters_of
from imagegate.engine.surface import (
    BATCH_KEYS,
    CHOOSING,
    DOORS,
    FILE_KEYS,
    IMAGE_DEPLOYMENT_HEADER,
    LINE_KEYS,
)

PATHS: Mapping[str, Path] = {
    name: tuple(name.split(".")) for name in ("model", *SETTINGS)
}
"""Where each setting stands in a tool."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}")


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the catalogue and of a policy.

    Attributes:
        words: Values that may be shown as they are.
        folded: The same, as a careless reader would take them.
        folds: Known paths with the last name as a careless reader would take it.
        known: The paths of members that any provider knows: SDKs send the fields
            of one to another.
        deprecated: Those that a provider asks not to send.
    """

    words: frozenset[str]
    folded: frozenset[str]
    folds: frozenset[Path]
    known: frozenset[Path]
    deprecated: frozenset[Path]


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool is judged against.

    Attributes:
        deployments: On Azure, the model behind each name; empty elsewhere.
        images_api: The body itself is judged, by that interface's parameters.
        absent: The settings that the route has no parameter for.
        hash_key: Lets equal secrets be found without being shown.
    """

    catalogue: Catalogue
    provider: Provider
    book: Rulebook
    vocabulary: Vocabulary
    deployments: Mapping[str, str] = msgspec.field(default_factory=dict)
    images_api: bool = False
    absent: frozenset[str] = frozenset()
    hash_key: bytes = b""

    def always(self, rule: str = "") -> Reason | None:
        """Cite what holds whatever the policy says; None where it does not act."""
        mode = self.book.always
        name = f"always.{rule}" if rule else "always"
        return None if mode is None else Reason(rule=name, mode=mode)

    def reason(self, line: Line | None) -> Reason | None:
        """Cite a line, or without one what always holds."""
        return self.always() if line is None else reason_of(line)

    def shown(self, value: object) -> Shown:
        """Make a value fit to be shown."""
        return shown(value, self.vocabulary.words, self.hash_key)

    def fields(self, name: str) -> tuple[Field, ...]:
        """Return what each provider says about a field."""
        return tuple(
            field
            for provider in self.catalogue.providers.values()
            if (field := fields_of(provider, images_api=self.images_api).get(name))
        )


def absent_at(provider: Provider, route: str) -> frozenset[str]:
    """Return the settings that a route of the Images API has no parameter for."""
    return frozenset(x for x in SETTINGS if not provider.has_parameter(x, route))


def fields_of(provider: Provider, *, images_api: bool) -> Mapping[str, Field]:
    """Return the fields of the tool, or the parameters of the Images API."""
    return provider.images_api if images_api else provider.fields


def vocabulary(
    catalogue: Catalogue, deployments: Iterable[str] = (), *, images_api: bool = False
) -> Vocabulary:
    """Collect the words once for all requests."""
    words = {*deployments, "image_generation", "auto"}
    interface = catalogue.interface
    fields: dict[Path, Field] = {}
    deprecated: set[Path] = set()
    for provider in catalogue.providers.values():
        for model in provider.models.values():
            words.update((model.name, *model.snapshots, *model.aliases))
        for name, field in fields_of(provider, images_api=images_api).items():
            path = tuple(name.split("."))
            words.update(field.words)
            if not field.server_only:
                fields[path] = field
            if field.deprecated:
                deprecated.add(path)
    for setting in SETTINGS.values():
        words.update(setting.order)
    return Vocabulary(
        # The folded ones are what a model's name must not resemble.
        words=frozenset({*words, *interface.api_versions, *interface.previews}),
        folded=frozenset(map(letters_of, words)),
        folds=frozenset((*path[:-1], letters_of(path[-1])) for path in fields),
        known=frozenset(fields),
        deprecated=frozenset(deprecated),
    )


def api_names(catalogue: Catalogue) -> frozenset[str]:
    """Collect the names that members of requests have by the API's documents.

    With them, what else records call by a name: headers, limits, kinds of state.
    """
    fields = {
        path
        for provider in catalogue.providers.values()
        for path in (*provider.fields, *provider.images_api)
    }
    places = {place for door in DOORS for place in door.places}
    said = {"tool", "kind", "deployment", IMAGE_DEPLOYMENT_HEADER, *LIMITS, *CHOOSING}
    said |= FILE_KEYS | LINE_KEYS | BATCH_KEYS
    return frozenset(said | TOP_KEYS | TOOL_KEYS | CHOICE_KEYS | ITEM_KEYS).union(
        WHAT,
        *(path.split(".") for path in (*fields, *STANCES)),
        *(place.split("/") for place in places),
    )


def name_of(path: Path) -> str:
    """Spell a path for people; a stranger's name may be a secret in a wrong place."""
    return ".".join(step if _PLAIN_NAME.fullmatch(step) else "?" for step in path)


def reason_of(line: Line) -> Reason:
    """Cite a line."""
    return Reason(
        rule=line.id,
        layer=line.layer,
        mode=line.mode,
        reason=line.reason,
        owner=line.owner,
    )
