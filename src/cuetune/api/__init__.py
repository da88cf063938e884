"""The verbs, as Python functions. The command line calls these."""
