"""Try an installed wheel: run by `make wheel`, with `-I`, away from the checkout."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import imagegate
from imagegate import shipped


def main() -> None:
    assert imagegate.__file__ is not None
    home = Path(imagegate.__file__)
    assert home.is_relative_to(sys.prefix), f"not the installed package: {home}"
    assert files(imagegate).joinpath("py.typed").is_file()

    assert shipped.catalogue() is not None
    policies = shipped.policies()
    assert "standard" in policies, f"bundled: {sorted(policies)}"
    for path in policies.values():
        assert path.is_relative_to(sys.prefix), f"not the bundled policy: {path}"

    command = Path(sys.prefix, "bin", "imagegate")
    subprocess.run([command, "--help"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([command, "check", policies["standard"]], check=True)

    names = ", ".join(sorted(policies))
    sys.stdout.write(f"wheel: imagegate {version('imagegate')} with {names}\n")


if __name__ == "__main__":
    main()
