"""What is learned or said: one file per prompt kind. Importing this makes all kinds known to `Prompt.rebuild`."""

from cuetune.prompts.attempt import AttemptPrompt
from cuetune.prompts.base import Prompt
from cuetune.prompts.calibrated import CalibratedPrompt
from cuetune.prompts.corrected import CorrectedPrompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.ensemble import EnsemblePrompt
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.lowrank import DecomposedPrompt, UltraLowPrompt
from cuetune.prompts.multitask import MultitaskPrompt
from cuetune.prompts.nearest import NearestPrompt
from cuetune.prompts.pixels import FramePrompt, PatchPrompt
from cuetune.prompts.pool_coda import CodaPrompt
from cuetune.prompts.pool_dual import DualPrompt
from cuetune.prompts.pool_l2p import L2PPrefixPrompt, L2PPrompt
from cuetune.prompts.pool_tasks import TaskPrompts
from cuetune.prompts.prefix import PrefixNetwork, PrefixPrompt
from cuetune.prompts.ptuning import EncodedPrompt
from cuetune.prompts.residual import ResidualPrompt
from cuetune.prompts.soft import SoftPrompt
from cuetune.prompts.temporal import TemporalPrompt
from cuetune.prompts.told import ToldPrompt
from cuetune.prompts.visual import VisualPrompt
from cuetune.prompts.wave import WavePrompt

__all__ = [
    "AttemptPrompt",
    "CalibratedPrompt",
    "CodaPrompt",
    "CorrectedPrompt",
    "DecomposedPrompt",
    "DualPrompt",
    "EncodedPrompt",
    "EnsemblePrompt",
    "FramePrompt",
    "HardPrompt",
    "L2PPrefixPrompt",
    "L2PPrompt",
    "LatePrompt",
    "MultitaskPrompt",
    "NearestPrompt",
    "OffsetPrompt",
    "PatchPrompt",
    "PrefixNetwork",
    "PrefixPrompt",
    "Prompt",
    "ResidualPrompt",
    "SoftPrompt",
    "TaskPrompts",
    "TemporalPrompt",
    "ToldPrompt",
    "UltraLowPrompt",
    "VisualPrompt",
    "WavePrompt",
]
