"""Counters of quotas: what was used in each window, and what requests hold of it.

A request that may start an image holds a place for as long as it runs, so that many
at once do not all take the last one. When an image starts, a place becomes a count;
a place that comes to nothing is given back, and one of which nobody speaks any more
ends by itself.
"""

from imagegate.quotas.guarded import Guarded, Trouble
from imagegate.quotas.memory import MemoryQuotas
from imagegate.quotas.store import (
    Quotas,
    QuotasLost,
    Reading,
    Slot,
    Step,
    slot_of,
)

__all__ = [
    "Guarded",
    "MemoryQuotas",
    "Quotas",
    "QuotasLost",
    "Reading",
    "Slot",
    "Step",
    "Trouble",
    "slot_of",
]
