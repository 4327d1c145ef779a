"""What workers count, in files that the library maps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from imagegate.metrics.port import DIRECTORY

COUNTING = """
import os
from pathlib import Path

from prometheus_client import CollectorRegistry

from imagegate.metrics import Metrics
from imagegate.metrics.port import DIRECTORY, take_room

take_room(Path(os.environ[DIRECTORY]), os.getpid())
Metrics(CollectorRegistry()).loaded()
"""


def test_no_file_of_a_worker_has_a_hole(tmp_path: Path) -> None:
    subprocess.run(
        (sys.executable, "-c", COUNTING),
        env=os.environ | {DIRECTORY: str(tmp_path)},
        check=True,
    )

    files = {file.name.rpartition("_")[0]: file for file in tmp_path.iterdir()}
    assert {*files} == {"counter", "histogram", "gauge_livesum", "gauge_livemin"}
    for file in files.values():
        found = file.stat()
        assert found.st_blocks * 512 >= found.st_size, file.name
        used = int.from_bytes(file.read_bytes()[:4], sys.byteorder)
        assert 8 < used < found.st_size / 4, file.name
