"""Looking at a gateway before it serves, or while it does not do what it should.

Nothing here changes anything, but for a file of a few bytes that is written into the
directory of the records and taken away. Providers are asked for their list of models,
which costs nothing.
"""

from __future__ import annotations

from imagegate.doctor.examine import examine
from imagegate.doctor.finding import WEIGHTS, Finding, Weight

__all__ = ["WEIGHTS", "Finding", "Weight", "examine"]
