"""`python cli.py train` from a checkout; installed, the same program is called `mfpgan`."""

from mfpgan.cli import main

main()
