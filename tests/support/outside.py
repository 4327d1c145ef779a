"""The environment as it was found, for what really goes out: what is installed."""

from __future__ import annotations

import os

ENVIRONMENT = dict(os.environ)
