"""`python -m tandem` is the command `tandem`; never anything else."""

from tandem.cli.main import main

main()
