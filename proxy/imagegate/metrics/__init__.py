"""Prometheus metrics, counted from the audit records as they are taken.

A record is the one place where it is said what happened, so nothing else is
counted: numbers here and lines there cannot tell different stories.
"""

from imagegate.metrics.counted import Counted
from imagegate.metrics.losses import Losses
from imagegate.metrics.names import Metrics
from imagegate.metrics.port import serve
from imagegate.metrics.reloads import Reloads

__all__ = ["Counted", "Losses", "Metrics", "Reloads", "serve"]
