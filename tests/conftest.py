"""What holds for every test: the hypothesis profiles, and whom clients believe.

`dev` is in force unless `--hypothesis-profile` names another. Deadlines are off in
all of them: they would measure the machine, not the code.

Clients believe an authority whose key nobody has. They are made by the thousand, to
speak in clear, and would each read the machine's hundred and forty certificates.
"""

from __future__ import annotations

import os
from pathlib import Path

import outside
from hypothesis import HealthCheck, settings

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, max_examples=50, print_blob=True)
settings.register_profile(
    "soak",
    deadline=None,
    max_examples=5_000,
    suppress_health_check=[HealthCheck.too_slow],
)
nobody = Path(outside.__file__).with_name("nobody.pem")
os.environ["SSL_CERT_FILE"] = str(nobody)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
