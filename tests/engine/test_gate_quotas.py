"""What of a principal a record tells, where teams have quotas."""

from __future__ import annotations

from asking import CATALOGUE, DESIGN, TODAY, door, policy

from imagegate.engine.gate import Context, Gate


def test_a_team_is_told_of_where_it_is_counted_by() -> None:
    context = Context(decision_id="d", door=door(), date=TODAY, principal=DESIGN)
    by_team = policy("quotas: { images: { team: { day: 3 } } }\n")
    by_name = policy("quotas: { images: { principal: { day: 3 } } }\n")

    told = Gate(by_team, CATALOGUE).account(context)["principal_matched"]

    assert told == {"team": ("design",)}
    assert Gate(by_name, CATALOGUE).account(context)["principal_matched"] == {}
