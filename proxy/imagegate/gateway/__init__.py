"""From settings to a gateway that runs: in one process, or in several.

Everything was checked before; here it is only put together and started. Each worker
does so for itself, from the same plan.
"""

from __future__ import annotations

from imagegate.gateway.assemble import CannotServeError, assemble
from imagegate.gateway.measure import CannotMeasureError
from imagegate.gateway.plan import Live, Plan
from imagegate.gateway.run import serve
from imagegate.gateway.watching import Reread

__all__ = [
    "CannotMeasureError",
    "CannotServeError",
    "Live",
    "Plan",
    "Reread",
    "assemble",
    "serve",
]
