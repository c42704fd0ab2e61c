"""`python -m mfpgan`."""

from mfpgan.cli import main

main()
