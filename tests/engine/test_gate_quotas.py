"""What a gate tells of a principal, and claims for a request, where quotas count."""

from __future__ import annotations

from asking import CATALOGUE, DESIGN, TODAY, body, door, policy, request, tool

from imagegate.engine.gate import Context, Gate
from imagegate.engine.request import Request
from imagegate.shipped import prices


def test_a_team_is_told_of_where_it_is_counted_by() -> None:
    context = Context(decision_id="d", door=door(), date=TODAY, principal=DESIGN)
    by_team = policy("quotas: { images: { team: { day: 3 } } }\n")
    by_name = policy("quotas: { images: { principal: { day: 3 } } }\n")

    told = Gate(by_team, CATALOGUE).account(context)["principal_matched"]

    assert told == {"team": ("design",)}
    assert Gate(by_name, CATALOGUE).account(context)["principal_matched"] == {}


def test_a_claim_of_money_has_the_price_of_what_is_sent() -> None:
    """However often it is asked: what was decided without counts is remembered."""
    rules = policy(
        "settings: { quality: { max: low, default: low, otherwise: lower } }\n"
        "quotas: { cost: { team: { month: 200 } } }\n"
    )
    gate = Gate(rules, CATALOGUE, prices=prices())
    asks = request(tool(model="gpt-image-2", quality="high", size="1024x1024"))
    asked = Request(match=door(), date=TODAY, body=body(asks), principal=DESIGN)

    assert [gate.claim(asked).price for _ in range(2)] == [6_000, 6_000]
