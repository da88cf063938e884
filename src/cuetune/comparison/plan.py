"""What a comparison is to make: methods × training sizes × seeds, and the budget of each run."""

from dataclasses import dataclass

from cuetune.comparison.contenders import CONTENDERS
from cuetune.errors import CuetuneError
from cuetune.modality import MODALITIES
from cuetune.tuning.runs.augmentation import augmentation_for


@dataclass(frozen=True)
class Plan:
    """What is compared. steps: the budget of every tuned run, which early stopping may leave unused.

    search: whether each tuned method first tries several learning rates, on the first seed of each size, with a third
    of the steps. length: virtual tokens. watts: the machine's power, instead of asking it. modality: of the rows.
    head_layer: the layer whose states heads on images read. augment: as of `Settings`.
    Raises CuetuneError for an unknown method or a number that makes no sense.
    """

    methods: tuple[str, ...]
    sizes: tuple[int, ...]
    seeds: int = 3
    steps: int = 100
    search: bool = True
    length: int = 20
    batch_size: int = 16
    watts: float | None = None
    modality: str = "text"
    head_layer: int | None = None
    augment: str = "none"

    def __post_init__(self) -> None:
        for name in ("methods", "sizes"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        augmentation_for(MODALITIES[self.modality], self.augment, 0)  # raises for what cannot be changed
        known = CONTENDERS[self.modality]
        for method in self.methods:
            if method not in known:
                raise CuetuneError(f"unknown method {method!r}; choose from {', '.join(known)}, or all.")
        if not self.methods or not self.sizes:
            raise CuetuneError("nothing to compare: give at least one of --methods and one of --sizes.")
        if min(self.sizes) < 4:
            raise CuetuneError(f"--sizes {min(self.sizes)}: too few training rows to learn from; give at least 4.")
        for name in ("seeds", "steps", "length", "batch_size"):
            if getattr(self, name) < 1:
                raise CuetuneError(f"--{name.replace('_', '-')} {getattr(self, name)}: give at least 1.")

    @property
    def trial_steps(self) -> int:
        return max(1, self.steps // 3)


@dataclass(frozen=True)
class Run:
    """One run of the comparison. size 0: it uses no training rows. factor: a trial of so many times the usual rate."""

    method: str
    size: int
    seed: int
    factor: float | None = None

    @property
    def name(self) -> str:
        tried = "" if self.factor is None else f"-rate-x{self.factor:.2g}"
        return f"{self.method}-{self.size}-{self.seed}{tried}"
