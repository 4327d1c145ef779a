"""Whether the models and deployments that a policy names exist, and fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagegate.engine.policy import Line, Use
from imagegate.policyfile.context import Context, names
from imagegate.policyfile.words import nearest


def check_models(context: Context) -> None:
    """Check the lists of models, and what a request without one gets."""
    for line in (*context.policy.lines, *context.teams, *context.exempt):
        if line.path == "models":
            _check_known(context, line, names(line))
        elif line.path == "models.default" and not _is_listed(context, line):
            _check_known(context, line, [str(line.value)])
    for lines in (context.policy.lines, *(x.lines for x in context.policy.teams)):
        _check_choice(context, lines)
    _check_deployments(context)


def _is_listed(context: Context, default: Line) -> bool:
    listed = context.baseline.get("models")
    return listed is not None and default.value in names(listed)


def _check_choice(context: Context, lines: Iterable[Line]) -> None:
    """Check what one layer writes for a model that is missing or not allowed."""
    said = {line.path: line for line in lines}
    listed, default = said.get("models"), said.get("models.default")
    if listed is None:
        return
    use = listed.otherwise
    if context.doubtful([listed, *filter(None, [default])]):
        return
    if default is not None and default.value not in names(listed):
        message = "the default is not among the models allowed here; list it as well"
        context.add("default-forbidden", default, message)
    if isinstance(use, Use):
        if context.says_otherwise(listed) and use.value not in names(listed):
            message = "`use` names a model that is not in the list; list it as well"
            at = f"{listed.id}.otherwise"
            context.add("use-forbidden", listed, message, at=at)
    elif default is None and "models.default" not in context.baseline:
        message = (
            "say `default: MODEL`, the one written when a request names none, "
            "or `otherwise: { use: MODEL }`"
        )
        context.add("cap-without-default", listed, message)


def _check_known(context: Context, line: Line, models: Iterable[str]) -> None:
    lenient = context.baseline["fields.unknown_values"].value == "pass"
    for name in models:
        rows = context.find(name)
        at = f"{line.id}.{name}"
        if at not in context.draft.places and (
            line.layer == "team" or _inherited(context, line, name)
        ):
            continue  # a baseline's model that a list which loosens repeats
        if not rows and lenient:
            message = f"nothing is known of {name!r}, so nothing about it is checked"
            context.add("unknown-model", line, message, at=at, severity="warning")
        elif not rows:
            message = (
                f"the catalogue knows no image model {name!r}, and one that is newer "
                "needs `fields.unknown_values: pass`; "
            )
            message += nearest(name, _known(context))
            context.add("unknown-model", line, message, at=at)
        _warn(context, line, name)


def _inherited(context: Context, line: Line, name: str) -> bool:
    listed = context.baseline.get("models")
    return line.layer == "exception" and listed is not None and name in names(listed)


def _warn(context: Context, line: Line, name: str) -> None:
    """Warn about a model that ends or changes; neither may fail a restart."""
    azure = bool(context.policy.deployments)
    rows = [row for at, row in context.find(name) if azure or at.name != "azure"]
    at = f"{line.id}.{name}"
    if rows and all(row.retired(context.today) for row in rows):
        message = f"{name} is retired since {rows[0].retires}; list its successor"
        context.add("retired-model", line, message, at=at, severity="warning")
    elif any(row.moving for row in rows):
        message = f"what {name} means changes without notice; name a fixed model"
        context.add("moving-model", line, message, at=at, severity="warning")


def _known(context: Context) -> dict[str, None]:
    return {
        name: None
        for provider in context.catalogue.providers.values()
        for row in provider.models.values()
        for name in (row.name, *row.snapshots, *row.aliases)
    }


def _check_deployments(context: Context) -> None:
    azure = context.catalogue.providers["azure"]
    for name, (model, place) in context.draft.deployments.items():
        if azure.model(model) is None:
            message = f"Azure is not known to deploy {model!r}; "
            message += nearest(model, azure.models)
            path = f"deployments.{name}"
            context.report.add("unknown-model", path, message, place)
    mapped = context.policy.deployments.values()
    for line in context.policy.lines if mapped else ():
        for model in _written(line):
            if model not in mapped:
                message = (
                    f"no deployment is mapped to {model}, so that an Azure request "
                    "that needs it is refused; add it to `deployments`"
                )
                problem = "model-without-deployment"
                context.add(problem, line, message, severity="warning")


def _written(line: Line) -> Iterator[str]:
    """Yield the models that a line may write into a request."""
    if line.path == "models.default":
        yield str(line.value)
    elif line.path == "models" and isinstance(line.otherwise, Use):
        yield str(line.otherwise.value)
