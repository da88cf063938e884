"""What is learned or said: one file per prompt kind. Importing this makes all kinds known to `Prompt.rebuild`."""

from cuetune.prompts.base import Prompt
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.soft import SoftPrompt

__all__ = ["HardPrompt", "Prompt", "SoftPrompt"]
