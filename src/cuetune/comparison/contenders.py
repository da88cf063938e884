"""The methods that are compared: each turns the same labelled rows into answers for the same held-out rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from cuetune.backbones.base import Backbone
from cuetune.backbones.registry import modality_of
from cuetune.backbones.text import TextBackbone
from cuetune.comparison.run_result import Curve, Job, Outcome, measured, scored
from cuetune.cost.energy import EnergyMeter
from cuetune.cost.flops import count
from cuetune.cost.meter import peak_memory, weight_bytes
from cuetune.data.splits import Splits
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import best_answers, in_words
from cuetune.evaluation.features import features_of
from cuetune.methods.adaptation import ModelWeights, fine_tuning, lora
from cuetune.methods.calibration import calibrate
from cuetune.methods.initial_prompt import first_prompt
from cuetune.prediction.probe import fit_probe, predict_probe
from cuetune.prediction.registry import predictor_for
from cuetune.prediction.text import Predictor
from cuetune.prompts.base import Prompt
from cuetune.prompts.nearest import nearest_prompt
from cuetune.prompts.registry import METHODS, methods_of
from cuetune.prompts.start import Method
from cuetune.prompts.words import instructed
from cuetune.tuning.data import Data
from cuetune.tuning.deciding import decided
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.runs.augmentation import COPIES, augmentation_for

SHOTS = 8


def _words(shots: int) -> Callable[[Job], Outcome]:
    """The instruction with as many of `shots` demonstrations as fit; long ones are cut."""

    def run(job: Job) -> Outcome:
        name, predictor = in_words_of(job, shots)
        return answered(job, predictor, f"{name}, {predictor.prompt.length} tokens")

    return run


def in_words_of(job: Job, shots: int) -> tuple[str, Predictor]:
    """The task said in words, by the name that tells how many demonstrations fit."""
    shown = job.rows.train if shots else ()
    made = in_words(job.backbone, job.task, shown, shots, job.settings.seed)
    if not made:
        raise CuetuneError(f"{job.backbone.identity.name} cannot score the labels' words; leave this method out.")
    return list(made.items())[-1]


def _calibrated(job: Job) -> Outcome:
    name, words = in_words_of(job, SHOTS)
    return _found(job, lambda: calibrate(job.backbone, job.task, words.prompt), f"{name}, calibrated")


def _nearest(job: Job) -> Outcome:
    shots = min(SHOTS, len(job.rows.train))
    find = partial(nearest_prompt, job.backbone, job.task, job.rows.train, shots, seed=job.settings.seed)
    return _found(job, find, f"{shots} demonstrations a row")


def _found(job: Job, find: Callable[[], Prompt], note: str) -> Outcome:
    """The outcome of a prompt that is computed, not trained."""
    made: list[Prompt] = []
    with EnergyMeter(job.backbone.device, watts=job.watts) as meter:
        flops = count(lambda: made.append(find()))
    outcome = measured(answered(job, Predictor(job.backbone, job.task, made[0]), note), meter)
    outcome.seconds, outcome.flops, outcome.stored_bytes = meter.seconds, float(flops), _bytes_of(made[0])
    return outcome


def _bytes_of(prompt: Prompt) -> int:
    """What is kept of a prompt that was found: its tensors, but of words the token ids instead of their embeddings."""
    state = prompt.state_dict().items()
    ids = sum(value.shape[0] for name, value in state if name.endswith("embeddings"))
    return 4 * ids + sum(v.numel() * v.element_size() for name, v in state if not name.endswith("embeddings"))


def answered(job: Job, predictor: Predictor, note: str) -> Outcome:
    """The outcome of a prompt that is found without training; kept are its token ids."""
    outcome = Outcome(stored_bytes=4 * predictor.prompt.length, note=note)
    scored(outcome, job, lambda rows: list(best_answers(predictor, rows)))
    outcome.peak_memory_bytes = peak_memory(job.backbone.device)
    return outcome


def _tuned(method: str) -> Callable[[Job], Outcome]:
    def run(job: Job) -> Outcome:
        methods = METHODS[modality_of(job.backbone).name]
        settings = job.settings.model_copy(update={"readout": methods[method].readout})
        data = Data(job.task, Splits([*job.rows.train], [], []), "")
        prompt = first_prompt(job.backbone, data, method, 0, settings)
        return tune_and_score(replace(job, settings=settings), prompt, job.backbone)

    return run


Adapt = Callable[[Any, int], tuple[Any, ModelWeights]]


def _adapted(make: Adapt) -> Callable[[Job], Outcome]:
    """A model of its own, tuned behind the instruction in words: the start that prompts have, too."""

    def run(job: Job) -> Outcome:
        backbone, weights = make(job.backbone, job.settings.seed)
        outcome = tune_and_score(replace(job, task=instructed(job.task)), weights, backbone)
        outcome.peak_memory_bytes -= weight_bytes(job.backbone)  # the copy could stand in the frozen model's place
        return outcome

    return run


def tune_and_score(job: Job, prompt: Prompt, backbone: Backbone) -> Outcome:
    """Tune in the common loop, count one step's operations, and score."""
    settings = job.settings.resolved(backbone, len(job.rows.train), prompt)
    assert settings.learning_rate is not None
    settings = settings.model_copy(update={"learning_rate": float(f"{settings.learning_rate * job.factor:.3g}")})
    curve = Curve()
    data = TaskData(job.task, job.rows.train, job.rows.validation)
    tuner = Tuner(backbone, prompt, data, settings, reporters=[curve])
    with EnergyMeter(backbone.device, watts=job.watts) as meter:
        done = tuner.run()
    if done.progress.stopped == "interrupted":
        raise KeyboardInterrupt
    kept = prompt if isinstance(prompt, ModelWeights) else prompt.fold()
    head, in_file = (0, 0) if done.head is None else (done.head.n_trained, done.head.n_kept)
    outcome = Outcome(
        validation=done.progress.best_scores,
        seconds=done.progress.seconds,
        flops=tuner.flops(),
        peak_memory_bytes=done.peak_memory_bytes,
        trained=prompt.n_trained + head,
        stored_bytes=4 * (sum(value.numel() for value in kept.state_dict().values()) + in_file),
        rate=settings.learning_rate,
        steps=done.progress.step,
        best_step=done.progress.best_step,
        stopped=done.progress.stopped,
        curve=curve.points,
    )
    task = decided(job.task, lambda: predictor_for(backbone, job.task, kept, done.head), job.rows.validation)
    predictor = predictor_for(backbone, task, kept, done.head)
    return scored(measured(outcome, meter), job, lambda rows: list(best_answers(predictor, rows)))


def _probe(job: Job) -> Outcome:
    rows, modality = job.rows, modality_of(job.backbone)
    features = features_of(modality.name, job.backbone, job.task, job.settings.head_layer)
    augmentation = augmentation_for(modality, job.settings.augment, job.settings.seed)
    copies = COPIES if augmentation else 0
    with EnergyMeter(job.backbone.device, watts=job.watts) as meter:
        learned = [features.of(rows.train)]
        learned += [features.of_copy(rows.train, augmentation, copy) for copy in range(copies)]
        train = {name: np.concatenate([each[name] for each in learned]) for name in learned[0]}
        shown = [*rows.train] * len(learned)
        probe = fit_probe(job.task, (train, shown), (features.of(rows.validation), rows.validation))
    sample = rows.train[:16]
    outcome = Outcome(
        validation={"quality" if job.task.answers.kind != "classification" else "accuracy": probe.quality},
        seconds=meter.seconds,
        flops=count(lambda: features.of(sample)) * (len(shown) + len(rows.validation)) / len(sample),
        peak_memory_bytes=peak_memory(job.backbone.device),
        trained=probe.n_trained,
        stored_bytes=4 * probe.n_trained,
        note=f"{probe.features}, C={probe.strength:g}",
    )
    measured(outcome, meter)
    return scored(outcome, job, lambda asked: predict_probe(probe, job.task, features.of(asked), asked))


@dataclass(frozen=True)
class Contender:
    """A method of the comparison. tuned: it has a learning rate. uses_train: its answers depend on training rows.

    family: what is learned, for readers: methods of one family look alike in plots.
    """

    title: str
    family: str
    run: Callable[[Job], Outcome]
    tuned: bool = False
    uses_train: bool = True


DEEP = ("prefix", "prefix-mlp", "p-tuning-v2", "late", "vpt", "temporal", "deep", "decoder-prefix")
PIXELS = ("frame", "patch", "wave")


def _prompt(name: str, method: Method) -> Contender:
    family = "prompts in deeper layers" if name in DEEP else "prompts at the embedding layer"
    return Contender(method.title, "prompts in pixels" if name in PIXELS else family, _tuned(name), tuned=True)


TEXT_CONTENDERS: dict[str, Contender] = {
    "zero-shot": Contender("the instruction in words", "words", _words(0), uses_train=False),
    "few-shot": Contender(f"the instruction and {SHOTS} demonstrations in words", "words", _words(SHOTS)),
    "calibrated": Contender(f"the same {SHOTS} demonstrations, calibrated (Zhao 2021)", "words", _calibrated),
    "nearest": Contender(f"the {SHOTS} demonstrations nearest to each row (KATE 2022)", "words", _nearest),
    "linear-probe": Contender("logistic regression on frozen features", "features", _probe),
    **{name: _prompt(name, method) for name, method in METHODS["text"].items()},
    "lora": Contender("low-rank updates of every linear layer (2022, PEFT)", "weights", _adapted(lora), tuned=True),
    "fine-tuning": Contender("all weights of a copy of the model", "weights", _adapted(fine_tuning), tuned=True),
}


def _of_media(methods: Mapping[str, Method]) -> dict[str, Contender]:
    """A linear probe, prompts and fine-tuning."""
    prompts = {name: _prompt(name, method) for name, method in methods.items()}
    probe, weights = TEXT_CONTENDERS["linear-probe"], TEXT_CONTENDERS["fine-tuning"]
    return {"linear-probe": probe, **prompts, "fine-tuning": weights}


CONTENDERS: dict[str, Mapping[str, Contender]] = {
    "image": _of_media(METHODS["image"]),
    "audio": _of_media(METHODS["audio"]),
    "video": _of_media(METHODS["video"]),
    "text": TEXT_CONTENDERS,
}


def contenders_of(backbone: Backbone) -> dict[str, Contender]:
    """Those of the backbone's modality that it takes. An encoder-decoder has no state that a linear probe reads."""
    modality = modality_of(backbone)
    methods, taken = METHODS[modality.name], methods_of(backbone)
    return {
        name: each
        for name, each in CONTENDERS[modality.name].items()
        if (name not in methods or name in taken)
        and not (name == "linear-probe" and isinstance(backbone, TextBackbone) and backbone.answers_apart)
    }


def contender(name: str) -> Contender:
    """The method of this name, of whatever modality: those that share a name are of one family."""
    return next(contenders[name] for contenders in reversed(CONTENDERS.values()) if name in contenders)
