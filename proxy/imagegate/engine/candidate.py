"""What another policy would have decided about a request, beside the one that acts.

Nothing follows from it but a part of the decision record.
"""

from __future__ import annotations

from imagegate.engine.decision import Decision, Rewrite
from imagegate.engine.gate import Gate
from imagegate.engine.records import CandidateRecord
from imagegate.engine.report import candidate_record
from imagegate.engine.request import Request


def decided_beside(gate: Gate, request: Request, decision: Decision) -> CandidateRecord:
    """Decide about a request again.

    Args:
        gate: The other policy.
        request: What was decided about; what it refers to is `seen` by this policy.
        decision: What was decided.
    """
    door = request.match.door
    unread = request.body is None and door.reading != "none" and not request.is_message
    if unread and gate.decider.stance(door) == "enforce":
        # The policy that acts did not ask for the body, and nobody reads it for this.
        return candidate_record(gate.policy.name, gate.digest, undecided="unread")
    other = gate.decider.decide(request)
    return candidate_record(
        gate.policy.name,
        gate.digest,
        other,
        names=gate.names,
        differs=_differ(decision, other),
    )


def refused_beside(gate: Gate) -> CandidateRecord:
    """Say of what nobody can judge that this policy would have refused it too."""
    return CandidateRecord(
        policy=gate.policy.name,
        policy_digest=gate.digest,
        decision="block",
        differs=False,
    )


def failed_beside(gate: Gate) -> CandidateRecord:
    """Say that the other policy could not be asked."""
    return candidate_record(gate.policy.name, gate.digest, undecided="failed")


def _differ(one: Decision, other: Decision) -> bool:
    """Tell whether something else would have gone on, or nothing instead of it."""
    if isinstance(one, Rewrite) and isinstance(other, Rewrite):
        first, second = (dict(each.edits) for each in (one, other))
        return first != second or one.headers != other.headers
    return type(one) is not type(other)
