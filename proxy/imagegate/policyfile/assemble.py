"""From what a file says to what it means: the inherited made explicit.

- A rule that does not say `otherwise` takes the word of the rule it narrows: the
  setting's own in the same layer, then the baseline's.
- A line's mode is its rule's, or the file's; an exception acts as the line does
  whose place it takes.
- What a policy is silent about becomes a baseline line, in the file's mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.policy import (
    SILENT,
    STANCES,
    Exemption,
    Line,
    Mode,
    Policy,
    Reaction,
    Team,
    Value,
)
from imagegate.policyfile.rules import Drafted
from imagegate.policyfile.sections import Draft

SILENCE = "not said in the file"


def assemble(draft: Draft, catalogue: Catalogue) -> Policy:
    """Build the policy that a draft means."""
    said = _reactions(draft.lines)
    baseline = (
        *(_settle(item, draft.mode, said, {}) for item in draft.lines),
        *_silent(draft, catalogue),
    )
    modes = {line.path: line.mode for line in baseline}
    models = _models(baseline)
    return Policy(
        name=draft.name,
        owner=draft.owner,
        mode=draft.mode,
        lines=baseline,
        locked=tuple(path for path, _ in draft.locked),
        surface=draft.surface,
        deployments={name: model for name, (model, _) in draft.deployments.items()},
        teams=tuple(
            Team(
                name=team.name,
                match=team.match,
                lines=_team(team.lines, draft.mode, said, models),
            )
            for team in draft.teams
        ),
        exceptions=tuple(
            Exemption(
                id=item.id,
                match=item.match,
                until=item.until,
                approved_by=item.approved_by,
                lines=tuple(
                    _add_models(_exempt(drafted, draft.mode, said, modes), models)
                    for drafted in item.lines
                ),
            )
            for item in draft.exceptions
        ),
    )


def _reactions(lines: Iterable[Drafted]) -> dict[str, Reaction]:
    """Map the path of each rule to what it says happens otherwise."""
    return {
        _rule(item.line.path): item.line.otherwise
        for item in lines
        if item.says_otherwise
    }


def _rule(path: str) -> str:
    return path.rpartition(".")[0] if "." in path else path


def _settle(
    item: Drafted,
    mode: Mode,
    baseline: Mapping[str, Reaction],
    own: Mapping[str, Reaction],
) -> Line:
    line = item.line
    otherwise = line.otherwise
    if not item.says_otherwise:
        rule, general = _rule(line.path), f"settings.{line.subject}"
        found = (own.get(rule), own.get(general), baseline.get(rule))
        inherited = next((one for one in found if one is not None), None)
        otherwise = inherited or baseline.get(general, "block")
    return msgspec.structs.replace(
        line, otherwise=otherwise, mode=line.mode if item.says_mode else mode
    )


def _silent(draft: Draft, catalogue: Catalogue) -> Iterable[Line]:
    said = {item.line.path for item in draft.lines}
    interface = catalogue.interface
    usual: Mapping[str, Value] = {
        **SILENT,
        "interface.api_versions": tuple(sorted(interface.api_versions)),
        "interface.previews": tuple(sorted(interface.usual)),
    }
    for path in STANCES:
        if path not in said:
            yield Line(
                id=path,
                path=path,
                layer="baseline",
                kind="do",
                subject=path,
                value=usual.get(path) or "refuse",
                mode=draft.mode,
                reason=SILENCE,
            )


def _models(lines: Iterable[Line]) -> tuple[str, ...]:
    """Return the baseline's list of models."""
    return next(
        (_names(line) for line in lines if line.path == "models"),
        (),
    )


def _names(line: Line) -> tuple[str, ...]:
    return tuple(map(str, line.value)) if isinstance(line.value, tuple) else ()


def _team(
    lines: Iterable[Drafted],
    mode: Mode,
    baseline: Mapping[str, Reaction],
    models: tuple[str, ...],
) -> tuple[Line, ...]:
    own = _reactions(lines)
    return tuple(
        _add_models(_settle(item, mode, baseline, own), models) for item in lines
    )


def _add_models(line: Line, others: tuple[str, ...]) -> Line:
    """Let a list of models that loosens add to the baseline's."""
    if line.path != "models" or not line.loosens:
        return line
    both = tuple(sorted({*others, *_names(line)}))
    return msgspec.structs.replace(line, value=both)


def _exempt(
    item: Drafted,
    mode: Mode,
    baseline: Mapping[str, Reaction],
    modes: Mapping[str, Mode],
) -> Line:
    line = _settle(item, mode, baseline, {})
    return msgspec.structs.replace(line, mode=modes.get(line.path, mode))
