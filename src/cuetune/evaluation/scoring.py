"""Scoring a tuned prompt on its test rows, beside the baselines of its modality."""

from cuetune.backbones.base import Backbone
from cuetune.evaluation.baselines import baselines_for
from cuetune.evaluation.evaluate import Evaluation, Source, evaluate_sources, own_name
from cuetune.library.tuned import TunedPrompt
from cuetune.tuning.data import Data


def score(backbone: Backbone, tuned: TunedPrompt, data: Data, shots: int) -> Evaluation:
    """The prompt on the test rows, beside the baselines of its modality unless `shots` is negative."""
    sources: dict[str, Source] = {own_name(tuned.prompt): tuned.predictor(backbone)}
    if shots >= 0:
        shown = data.splits.train
        sources |= baselines_for(backbone, data.task, shown, head=tuned.head, shots=shots)
    return evaluate_sources(data.task, sources, data.splits.test)
