"""`python -m phenomae` is the command `phenomae`."""

from phenomae.cli import main

main()
