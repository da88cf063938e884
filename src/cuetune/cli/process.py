"""What the command line changes of its own process, and a program that imports cuetune should decide for itself.

Importing and using cuetune from Python changes none of it.
"""

import logging
import os
import warnings

from cuetune.support import console

VARIABLES = {
    # Loading bars and notices of other libraries are not for our users; warnings and errors are.
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    # oneDNN, and torch above it, keep the code they made for the last 1,024 shapes of products: more than half a
    # gigabyte, and hardly any is used again, because packed passes differ in length.
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}


class Notices(logging.Handler):
    """What cuetune tells a program through its logger "cuetune", the command line's user reads on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        console.note(record.getMessage())


def prepare_process() -> None:
    """Set up this process before torch and transformers are imported. What the user has set stands."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    logging.getLogger("cuetune").handlers[:] = [Notices()]
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # a meter that cannot read is no news
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")  # what is too large is refused by us
