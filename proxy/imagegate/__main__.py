"""`python -m imagegate` is the `imagegate` command."""

from imagegate.cli import main

main()
