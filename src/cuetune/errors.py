"""The one error that users see: one line that says where, what was found, what was expected, and what to do next."""

from cuetune.visible import visible


class CuetuneError(Exception):
    """A mistake that the user can mend. Its message is one line; the command line prints it and exits with 2."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(" ".join(message.split())))
