"""`python -m cuetune`, the same as the command `cuetune`."""

from cuetune.cli.main import main

main()
