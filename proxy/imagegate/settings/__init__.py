"""The gateway's own configuration: one typed, frozen description of it.

What can be set is said by the rooms it is for; here it is only collected, from the
defaults, one file, the environment and the command line, each above the one before.
Everything that is wrong is found before the first request, all of it at once.
"""

from __future__ import annotations

from imagegate.settings.model import (
    AuditSettings,
    MetricsSettings,
    Pool,
    QuotaSettings,
    Settings,
    StateSettings,
    UpstreamSettings,
)
from imagegate.settings.problems import SettingsProblem
from imagegate.settings.reading import Reading, read_settings
from imagegate.settings.show import show

__all__ = [
    "AuditSettings",
    "MetricsSettings",
    "Pool",
    "QuotaSettings",
    "Reading",
    "Settings",
    "SettingsProblem",
    "StateSettings",
    "UpstreamSettings",
    "read_settings",
    "show",
]
