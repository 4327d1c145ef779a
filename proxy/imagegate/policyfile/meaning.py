"""Whether the lines of a policy make sense together, and to the providers.

Everything here could be found out by the first unlucky request; it is found out
before. Checks read the assembled policy, and point at the drafted places.
"""

from __future__ import annotations

from imagegate.policyfile.check_idle import check_idle
from imagegate.policyfile.check_layers import check_layers
from imagegate.policyfile.check_models import check_models
from imagegate.policyfile.check_pairs import check_pairs
from imagegate.policyfile.check_quotas import check_quotas
from imagegate.policyfile.check_rules import check_rules
from imagegate.policyfile.context import Context


def check_meaning(context: Context) -> None:
    """Report everything that does not make sense."""
    check_rules(context)
    check_models(context)
    check_layers(context)
    check_pairs(context)
    check_quotas(context)
    check_idle(context)
