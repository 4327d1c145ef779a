"""`imagegate serve` that looks at its files twenty times a second, for tests."""

from __future__ import annotations

from imagegate.cli import main
from imagegate.gates import watch, watched

if __name__ == "__main__":
    watched.SETTLE = 0.02
    watch.PAUSE = watch.BREATH = 0.01
    watch.EVERY = 0.05
    main()
