"""Whether what is written can ever act: a line without effect was meant otherwise.

All that holds for somebody holds together, so that a rule for one model cannot be
looser than the rule for all, and loosening one of the two leaves the other as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagegate.engine.policy import SETTINGS, Layers, Line, Rules, merge
from imagegate.engine.settle import breaks
from imagegate.engine.sizes import Size, within
from imagegate.policyfile.check_layers import locks
from imagegate.policyfile.context import LIMITING, Context, names, scalar, spoken, under


def check_idle(context: Context) -> None:
    """Warn of limits that a stricter one always comes before, and of empty locks."""
    policy = context.policy
    loosened = {x.path for x in (*context.teams, *context.exempt) if _replaces(x)}
    own = [line for line in policy.lines if line.model is not None]
    _check(context, merge(policy, Layers()), own, loosened)
    for team in policy.teams:
        layers = Layers(teams=(team,), loosening=True)
        _check(context, merge(policy, layers), filter(_replaces, team.lines))
    for item in policy.exceptions:
        if item.until >= context.today:
            layers = Layers(exceptions=(item,), loosening=True)
            _check(context, merge(policy, layers), item.lines)
    _check_locks(context)


def _replaces(line: Line) -> bool:
    return line.loosens or line.layer == "exception"


def _replaced(context: Context, line: Line) -> Iterator[Line]:
    """Yield the lines in whose place one may stand."""
    for other in (*context.policy.lines, *context.teams):
        if other.path == line.path and other.id != line.id:
            yield other


def _check(
    context: Context,
    rules: Rules,
    lines: Iterable[Line],
    loosened: Iterable[str] = (),
) -> None:
    for line in lines:
        if line.kind not in LIMITING or line.subject not in SETTINGS:
            continue
        first = _stricter(rules, line)
        if first is None or first.path in loosened or context.doubtful([line, first]):
            continue
        if any(_before(other, first) for other in _replaced(context, line)):
            continue  # up to the stricter one, it does let somebody have more
        message = (
            f"{spoken([line])} never lets anybody have more: {spoken([first])} of "
            f"`{first.id}` holds as well; change that one too, or remove this"
        )
        context.add("limit-idle", line, message, severity="warning")


def _stricter(rules: Rules, line: Line) -> Line | None:
    """Find what is stricter than a line, whichever of its models draws."""
    listed = [set(names(each)) for each in rules.at("models")]
    models = (
        [line.model] if line.model else sorted(set.intersection(*listed or [set()]))
    )
    found = [
        next((x for x in rules.constraints(line.subject, m) if _before(x, line)), None)
        for m in models
    ]
    return found[0] if found and all(found) else None


def _before(other: Line, line: Line) -> bool:
    """Tell whether another line forbids all that this one does, and more."""
    if other.kind != line.kind or (other.mode, line.mode) == ("observe", "enforce"):
        return False
    mine, theirs = line.value, other.value
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return set(theirs) < set(mine)
    if isinstance(mine, Size) and isinstance(theirs, Size):
        return mine != theirs and within(theirs, mine)
    return bool(breaks([other], scalar(mine)))


def _check_locks(context: Context) -> None:
    """Warn of a lock on a setting that the policy leaves to whoever asks."""
    for path, place in context.draft.locked:
        said = (at for line in context.policy.lines for at in locks(line))
        if path.startswith("settings.") and not any(under(at, path) for at in said):
            message = (
                f"no rule of the baseline stands at `{path}`, so that any value is "
                "allowed and the lock holds nothing; say the rule as well"
            )
            context.report.add(
                "lock-idle", "locked", message, place, severity="warning"
            )
