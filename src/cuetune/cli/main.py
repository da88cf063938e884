"""The command line: a dictionary verb -> function, with options made from its signature and docstring."""
