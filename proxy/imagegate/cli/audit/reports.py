"""The reports: what may be asked of the trail, in SQL.

An image is told of more than once when an answer is read again or resumed; it is
counted once, by its response and its item, and so is what the response cost: when it
was told first, and as that of who asked for it, whoever reads it. Which model made it
is known where only one can have; the events do not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

_TEAM: Final = "coalesce(nullif(array_to_string(principal_team, '+'), ''), '(none)')"
_COMMON: Final = {
    "day": "CAST(time AS DATE)",
    "month": "strftime(time, '%Y-%m')",
    "team": _TEAM,
    "principal": "principal_id",
    "provider": "coalesce(provider, '(none)')",
    "door": "coalesce(door, '(none)')",
    "policy": "policy",
}
_FOUND: Final = {
    "rule": "finding->>'rule'",
    "field": "finding->>'field'",
    "layer": "finding->>'layer'",
    "mode": "finding->>'mode'",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One question, and by what its answer can be grouped.

    Attributes:
        about: For the help.
        source: The rows; `records` are those within the time that was asked for.
        dimensions: By what to group, and how it is had from a row.
        by: The dimensions unless others are asked for.
        measures: What is told of each group.
        once: Whether it counts once what is told more than once. Then it needs all
            records, whatever time or team is asked for: that is for its rows.
    """

    about: str
    source: str
    dimensions: Mapping[str, str]
    by: Sequence[str]
    measures: Mapping[str, str]
    once: bool = False


_ASKED: Final = """
  exchanges AS (
    SELECT decision_id, coalesce(any_value(response_id), decision_id) AS answer,
      {replay: any_value(replay), time: min(time)} AS begun,
      any_value(principal_id) AS principal_id,
      any_value(principal_team) AS principal_team,
      any_value(door) AS door, any_value(policy) AS policy,
      coalesce(any_value(image_model), any_value(
        CASE WHEN tools_count = 1 THEN tools->0->'enforced'->>'model' END)) AS drawn
    FROM records WHERE decision_id IS NOT NULL GROUP BY decision_id),
  asked AS (
    SELECT answer, arg_min(principal_id, begun) AS principal_id,
      arg_min(principal_team, begun) AS principal_team,
      arg_min(door, begun) AS door, arg_min(policy, begun) AS policy,
      arg_min(drawn, begun) AS drawn
    FROM exchanges GROUP BY answer)"""
"""Who asked for each answer: the first exchange that it is of, and not a later one."""
_OF_WHO_ASKED: Final = """
  told.* REPLACE (
    asked.principal_id AS principal_id, asked.principal_team AS principal_team,
    asked.door AS door, asked.policy AS policy)"""
_IMAGES: Final = f"""(
  WITH {_ASKED},
  told AS (
    SELECT *, row_number() OVER (
      PARTITION BY
        coalesce(response_id, CASE type WHEN 'items' THEN '' ELSE decision_id END),
        coalesce(item_id, CAST(output_index AS VARCHAR), instance || '/' || seq)
      ORDER BY replay, time) AS nth
    FROM records WHERE event = 'imagegate.image_finished' AND made)
  SELECT {_OF_WHO_ASKED}, coalesce(told.model, asked.drawn) AS drawn_by
  FROM told JOIN exchanges USING (decision_id) JOIN asked USING (answer)
  WHERE nth = 1 AND (type <> 'items' OR item_id NOT IN (
    SELECT item_id FROM told WHERE type <> 'items' AND item_id IS NOT NULL)))"""  # noqa: S608 - all of it is above
_SPENT: Final = f"""(
  WITH {_ASKED},
  told AS (
    SELECT * REPLACE (
      min(time) OVER (PARTITION BY coalesce(response_id, decision_id)) AS time)
    FROM records
    WHERE event = 'imagegate.exchange_finished' AND images > 0
      AND (response_id IS NOT NULL OR NOT replay)
    QUALIFY row_number() OVER (
      PARTITION BY coalesce(response_id, decision_id)
      ORDER BY CAST(cost_amount AS DECIMAL(18, 6)) DESC NULLS LAST,
        images DESC, replay, records.time) = 1)
  SELECT {_OF_WHO_ASKED}
  FROM told JOIN exchanges USING (decision_id) JOIN asked USING (answer))"""  # noqa: S608 - all of it is above
_REFUSED: Final = """(
  SELECT *, unnest(CASE WHEN violations_count > 0
    THEN CAST(violations AS JSON[]) ELSE [CAST(NULL AS JSON)] END) AS finding
  FROM records
  WHERE event IN ('imagegate.request_blocked', 'imagegate.request_malformed'))"""
_CHANGED: Final = """(
  SELECT *, unnest(CAST(changes AS JSON[])) AS finding FROM records
  WHERE event = 'imagegate.request_rewritten')"""
_OBSERVED: Final = """(
  SELECT *, unnest(CAST(observed AS JSON[])) AS finding FROM records
  WHERE event LIKE 'imagegate.request_%' AND observed_count > 0)"""
_COMPARED: Final = """(
  SELECT *, unnest(CASE
    WHEN CAST(candidate->>'violations_count' AS INT) > 0
      THEN CAST(candidate->'violations' AS JSON[])
    WHEN CAST(candidate->>'changes_count' AS INT) > 0
      THEN CAST(candidate->'changes' AS JSON[])
    ELSE [CAST(NULL AS JSON)] END) AS finding
  FROM records
  WHERE event LIKE 'imagegate.request_%' AND candidate->>'differs' = 'true')"""
_ENDED: Final = "(SELECT * FROM records WHERE event = 'imagegate.exchange_finished')"

REPORTS: Final[Mapping[str, Report]] = {
    "images": Report(
        about="images made, each counted once",
        source=_IMAGES,
        dimensions={
            **_COMMON,
            "model": "coalesce(drawn_by, '(unknown)')",
            "quality": "coalesce(quality->>'$', '(unknown)')",
            "size": "coalesce(size->>'$', dimensions, '(unknown)')",
            "format": "coalesce(media, '(unknown)')",
        },
        by=("day", "team", "model", "quality"),
        measures={
            "images": "count(*)",
            "bytes": "CAST(sum(image_bytes) AS BIGINT)",
            "mismatches": "count(*) FILTER (json_array_length(mismatches) > 0)",
        },
        once=True,
    ),
    "refusals": Report(
        about="requests that were refused, by the rule that refused them",
        source=_REFUSED,
        dimensions={
            **_COMMON,
            **_FOUND,
            "rule": "coalesce(finding->>'rule', '(unreadable)')",
            "code": "coalesce(finding->>'code', '(none)')",
        },
        by=("rule", "team"),
        measures={"requests": "count(DISTINCT decision_id)"},
    ),
    "rewrites": Report(
        about="settings that were rewritten, by the rule that did it",
        source=_CHANGED,
        dimensions={**_COMMON, **_FOUND},
        by=("rule", "field", "team"),
        measures={"requests": "count(DISTINCT decision_id)", "changes": "count(*)"},
    ),
    "observed": Report(
        about="what rules in observe mode would have done",
        source=_OBSERVED,
        dimensions={**_COMMON, **_FOUND, "verdict": "finding->>'verdict'"},
        by=("rule", "verdict", "team"),
        measures={"requests": "count(DISTINCT decision_id)"},
    ),
    "candidate": Report(
        about="requests on which the candidate would have decided otherwise",
        source=_COMPARED,
        dimensions={
            **_COMMON,
            **_FOUND,
            "rule": "coalesce(finding->>'rule', '(none)')",
            "decision": "decision",
            "candidate": "candidate->>'decision'",
            "digest": "candidate->>'policy_digest'",
        },
        by=("decision", "candidate", "rule", "team"),
        measures={"requests": "count(DISTINCT decision_id)"},
    ),
    "cost": Report(
        about="what images cost, by the price table; what is unknown is counted apart",
        source=_SPENT,
        dimensions={
            **_COMMON,
            "model": "coalesce(image_model, '(unknown)')",
            "basis": "coalesce(cost_basis, '(unknown)')",
            "currency": "coalesce(cost_currency, '(unknown)')",
            "prices": "coalesce(cost_prices, '(none)')",
        },
        by=("day", "team", "model"),
        measures={
            "images": "CAST(sum(images) AS BIGINT)",
            "cost": "sum(CAST(cost_amount AS DECIMAL(18, 6)))",
            "currency": "any_value(cost_currency)",
            "unpriced": (
                "CAST(sum(CASE WHEN cost_amount IS NULL THEN images ELSE 0 END) "
                "AS BIGINT)"
            ),
        },
        once=True,
    ),
    "ends": Report(
        about="how exchanges ended: completed, cut, client_left, timeout, …",
        source=_ENDED,
        dimensions={
            **_COMMON,
            "outcome": "outcome",
            "transport": "transport",
            "status": "coalesce(status->>'$', '(none)')",
        },
        by=("outcome", "provider"),
        measures={
            "exchanges": "count(*)",
            "generating": "CAST(sum(generating) AS BIGINT)",
            "images": "CAST(sum(images) AS BIGINT)",
        },
    ),
}


def statement(report: Report, by: Sequence[str], where: Sequence[str] = ()) -> str:
    """Write the SQL of a report, on such of its rows as `where` says."""
    groups = [f'{report.dimensions[name]} AS "{name}"' for name in by]
    told = [f'{sql} AS "{name}"' for name, sql in report.measures.items()]
    order = ", ".join(str(number + 1) for number in range(len(by)))
    return (
        f"SELECT {', '.join([*groups, *told])} FROM {report.source}"  # noqa: S608 - all of it is above
        + (f" WHERE {' AND '.join(where)}" if where else "")
        + (f" GROUP BY {order} ORDER BY {order}" if by else "")
    )
