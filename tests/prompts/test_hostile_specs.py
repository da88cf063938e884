"""What a damaged record says of a prompt's sizes is held against its tensors: nothing large is made of it."""

import math
import resource
import time
from itertools import combinations

import pytest
import torch

import cuetune.methods.continual.pools  # noqa: F401 - makes the pools known
from cuetune.errors import CuetuneError
from cuetune.prompts import Prompt
from cuetune.prompts.attempt import AttemptPrompt
from cuetune.prompts.calibrated import CalibratedPrompt
from cuetune.prompts.dept import OffsetPrompt
from cuetune.prompts.ensemble import EnsemblePrompt
from cuetune.prompts.hard import HardPrompt
from cuetune.prompts.late import LatePrompt
from cuetune.prompts.lowrank import DecomposedPrompt, UltraLowPrompt
from cuetune.prompts.multitask import MultitaskPrompt
from cuetune.prompts.pixels import FramePrompt, PatchPrompt
from cuetune.prompts.pool import PoolShape
from cuetune.prompts.pool_coda import CodaPrompt
from cuetune.prompts.pool_dual import DualPrompt
from cuetune.prompts.pool_l2p import L2PPrefixPrompt, L2PPrompt
from cuetune.prompts.pool_tasks import TaskPrompts
from cuetune.prompts.prefix import PrefixNetwork, PrefixPrompt
from cuetune.prompts.ptuning import EncodedPrompt
from cuetune.prompts.residual import ResidualPrompt
from cuetune.prompts.soft import SoftPrompt
from cuetune.prompts.temporal import TemporalPrompt
from cuetune.prompts.visual import VisualPrompt
from cuetune.prompts.wave import WavePrompt
from cuetune.support.strict_json import DAMAGED

LONG = 20_000
START = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
STATES = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))  # (L, h_kv, P, d_h)
SHAPE = PoolShape(6, 2, 3, (0, 1, 2))
HOSTILE = (0, -1, 50_000, 10**6, 10**12, 10**400, True, None, "x", 1.5, float("inf"), [], {}, [[]], [10**12])


def grown(pool):
    pool.grow(0)
    pool.finish(torch.randn(5, 6))
    return pool


MADE = {
    "soft": lambda: SoftPrompt(START),
    "hard": lambda: HardPrompt([1, 2, 3, 4], START),
    "late": lambda: LatePrompt(START[None], 1),
    "prefix": lambda: PrefixPrompt(STATES, STATES),
    "prefix-mlp": lambda: PrefixNetwork(START, 2, 3, 5, hidden=7),
    "residual": lambda: ResidualPrompt(START, 3),
    "p-tuning": lambda: EncodedPrompt(START, "mlp", 5),
    "p-tuning lstm": lambda: EncodedPrompt(START, "lstm", 5),
    "decomposed": lambda: DecomposedPrompt(START, 2),
    "ultra-low": lambda: UltraLowPrompt(START, 3),
    "dept": lambda: OffsetPrompt(START, 8, 2),
    "multitask": lambda: MultitaskPrompt(START, ("a", "b")),
    "attempt": lambda: AttemptPrompt(START, torch.stack([START, START]), 3),
    "ensemble": lambda: EnsemblePrompt([SoftPrompt(START), OffsetPrompt(START, 8, 2)]),
    "calibrated": lambda: CalibratedPrompt(UltraLowPrompt(START, 3), torch.tensor([0.4, 0.6])),
    "visual": lambda: VisualPrompt(START[None]),
    "frame": lambda: FramePrompt.begin((3, 8, 8), 2),
    "patch": lambda: PatchPrompt.begin((3, 8, 8), 2),
    "temporal": lambda: TemporalPrompt.begin(2, 3, 1, 4, 6, (8, 8), 0, 0),
    "wave": lambda: WavePrompt.begin(100, 0.1),
    "l2p": lambda: grown(L2PPrompt.begin(SHAPE, 6, 4, 2, 2)),
    "l2p-prefix": lambda: grown(L2PPrefixPrompt.begin(SHAPE, 4, 2, 2)),
    "dual": lambda: grown(DualPrompt.begin(SHAPE, 1, 2, 4)),
    "coda": lambda: grown(CodaPrompt(SHAPE, 2, 2)),
    "task-prompts": lambda: grown(TaskPrompts(SHAPE, 4)),
}


def places(values, at=()):
    for key in values if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ():
        yield (*at, key)
        yield from places(values[key], (*at, key))


def changed(values, place, to):
    if not place:
        return to
    copied = dict(values) if isinstance(values, dict) else list(values)
    copied[place[0]] = changed(values[place[0]], place[1:], to)
    return copied


def cheaply(work):
    """What comes of it: a prompt or what a damaged file raises; in little time and memory."""
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        made = work()
        made.injection() if not isinstance(made, EnsemblePrompt) else None
    except (CuetuneError, *DAMAGED):
        pass
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 * 2**10  # KiB


@pytest.mark.parametrize("name", MADE)
def test_a_prompt_comes_back_and_no_size_in_its_spec_costs_anything(name):
    prompt = MADE[name]()
    spec, tensors = prompt.spec(), dict(prompt.state_dict())
    again = Prompt.rebuild(prompt.kind, spec, tensors)
    assert again.spec() == spec
    assert all(torch.equal(again.state_dict()[part], value) for part, value in tensors.items())
    for place in places(spec):
        for value in HOSTILE:
            other = changed(spec, place, value)
            cheaply(lambda other=other: Prompt.rebuild(prompt.kind, other, dict(tensors)))


@pytest.mark.parametrize("name", MADE)
def test_no_thin_tensors_multiply_to_a_thick_one(name):
    """Two sizes long at a time: each tensor costs little in a file, and what is made of them would cost gigabytes."""
    prompt = MADE[name]()
    tensors = dict(prompt.state_dict())
    sizes = sorted({side for value in tensors.values() for side in value.shape if side > 1})
    for pair in combinations(sizes, 2):
        shapes = {part: [LONG if side in pair else side for side in value.shape] for part, value in tensors.items()}
        if max(math.prod(shape) for shape in shapes.values()) < 2**22:
            thin = {part: torch.zeros(1).expand(shape) for part, shape in shapes.items()}
            cheaply(lambda thin=thin: Prompt.rebuild(prompt.kind, prompt.spec(), thin))
