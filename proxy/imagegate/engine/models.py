"""Which image model draws: the name asked for, what it means, what is written."""

from __future__ import annotations

from typing import Literal

import msgspec

from imagegate.engine.catalogue import Model
from imagegate.engine.policy import Line, Use, most_particular
from imagegate.engine.scene import Scene
from imagegate.engine.strict import letters_of

Outcome = Literal["kept", "written", "refused", "unknown", "disguised"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the image model.

    Attributes:
        outcome: `disguised` is a value that only looks like a name; `unknown` is
            one that no rule limits and nobody knows.
        name: The model that draws; None when that is the provider's secret.
        row: What the catalogue says about it.
        entries: The names by which the policy's lists have it: each layer's rules
            for the model stand under that layer's own name for it.
        written: How it is spelled for the provider.
        by: The line that decided.
    """

    outcome: Outcome
    name: str | None = None
    row: Model | None = None
    entries: tuple[str, ...] = ()
    written: str | None = None
    by: Line | None = None


def choose_model(scene: Scene, asked: object) -> Choice:
    """Decide on the image model; None, and null, name none."""
    if asked is not None and not _plausible(scene, asked):
        return Choice(outcome="disguised")  # no list can allow it
    name = _meant(scene, asked) if isinstance(asked, str) else None
    broken = [line for line in scene.book.models if _entry(scene, name, line) is None]
    if broken:
        return _replace(scene, named=asked is not None, broken=broken)
    if asked is not None and row_of(scene, name) is None:
        known = bool(scene.book.models) or name in scene.deployments.values()
        entries = _entries(scene, name)
        return Choice(
            outcome="kept" if known else "unknown", name=name, entries=entries
        )
    return _keep(scene, name, "kept")


def row_of(scene: Scene, name: str | None) -> Model | None:
    """Look a model up, by its own name or that of a snapshot."""
    return None if name is None else scene.provider.model(name)


def spelled(scene: Scene, name: str) -> str | None:
    """Spell a model for the provider: on Azure by one of its deployments."""
    if not scene.deployments:
        return name
    mapped = (key for key, model in scene.deployments.items() if model == name)
    return min(mapped, default=None)


def listed_models(scene: Scene) -> tuple[str, ...]:
    """Return the names that a request may give."""
    lists = [line.value for line in scene.book.models if isinstance(line.value, tuple)]
    names = [str(name) for name in lists[0]] if lists else []
    known = (spelled(scene, name) for name in names if all(name in x for x in lists))
    return tuple(name for name in known if name is not None)


def _plausible(scene: Scene, asked: object) -> bool:
    """Tell a name from a value made to look like one to somebody else."""
    if not isinstance(asked, str) or not asked:
        return False
    words = scene.vocabulary
    return asked in words.words or letters_of(asked) not in words.folded


def _meant(scene: Scene, asked: str) -> str | None:
    """Return the model behind a name; on Azure that is a deployment's."""
    return scene.deployments.get(asked) if scene.deployments else asked


def _entry(scene: Scene, name: str | None, line: Line) -> str | None:
    """Find the entry that a name falls under: its own, or its model's."""
    row = row_of(scene, name)
    listed = line.value if isinstance(line.value, tuple) else ()
    names = (name, row.name if row else None)
    return next((each for each in names if each is not None and each in listed), None)


def _entries(scene: Scene, name: str | None) -> tuple[str, ...]:
    """Return every name by which a list of the policy has a model."""
    row = row_of(scene, name)
    found = [_entry(scene, name, line) for line in scene.book.models]
    if not found:
        found = [name, row.name if row else None]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _keep(
    scene: Scene,
    name: str | None,
    outcome: Outcome,
    *,
    written: str | None = None,
    by: Line | None = None,
) -> Choice:
    row = row_of(scene, name or scene.provider.default_model)
    return Choice(
        outcome=outcome,
        name=name,
        row=row,
        entries=_entries(scene, name),
        written=written,
        by=by,
    )


def _replace(scene: Scene, *, named: bool, broken: list[Line]) -> Choice:
    """Find the model to use in the place of one that is not listed."""
    using = most_particular(line for line in broken if isinstance(line.otherwise, Use))
    blocked = most_particular(line for line in broken if line.otherwise == "block")
    default = None if named else scene.book.default_model
    by = default or blocked or using
    name = None
    if default is not None:
        name = str(default.value)
    elif using is not None and isinstance(using.otherwise, Use) and blocked is None:
        name = str(using.otherwise.value)
    written = None if name is None else spelled(scene, name)
    lists = scene.book.models
    if written is None or any(_entry(scene, name, line) is None for line in lists):
        return Choice(outcome="refused", by=by)
    return _keep(scene, name, "written", written=written, by=by)
