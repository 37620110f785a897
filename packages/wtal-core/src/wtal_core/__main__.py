"""`python -m wtal_core` is the `wtal` command."""

from wtal_core.cli import main

main()
