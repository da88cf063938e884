"""Stochastic task sampling: its distribution is that of the specification, and a resumed run sees the same rows."""

from collections import Counter
from itertools import product

import pytest
from scipy.stats import chisquare

from cuetune.errors import CuetuneError
from cuetune.methods.multitask.sampling import CAP, StochasticTasks, probabilities

SIZES, DRAWS = [10, 30, 60], 10_000


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [
        ("uniform", [1 / 3] * 3),
        ("proportional", [0.1, 0.3, 0.6]),
        ("stratified", [0.2345, 0.3464, 0.4170]),
    ],
)
def test_mixing(mixing, expected):
    assert probabilities(SIZES, mixing) == pytest.approx(expected, abs=1e-2)


def test_capped_mixing_caps():
    small, large = probabilities([CAP, 100 * CAP], "capped")
    assert small == large == 0.5
    with pytest.raises(CuetuneError, match="unknown mixing 'fair'; choose one of uniform"):
        probabilities(SIZES, "fair")


def shares_by_hand(size: int, likely: list[float]) -> dict[tuple, float]:
    """The probability of every multiset of (task, rows) that a batch can consist of, from the definition."""
    found: Counter = Counter()
    n_tasks = len(likely)
    for wanted in range(2, n_tasks + 1):
        drawn = min(size, wanted)
        for tasks in product(range(n_tasks), repeat=drawn):
            chance = 1 / (n_tasks - 1)
            for task in tasks:
                chance *= likely[task]
            if size <= wanted:
                found[tuple(sorted(Counter(tasks).items()))] += chance
                continue
            for extra in tasks:
                rows = Counter()
                for task in tasks:
                    rows[task] += size // wanted
                rows[extra] += size % wanted
                found[tuple(sorted(rows.items()))] += chance / wanted
    return found


@pytest.mark.parametrize("size", [2, 3, 8])
def test_batches_are_distributed_as_specified(size):
    sampler = StochasticTasks(SIZES, size, mixing="proportional", seed=5)
    expected = shares_by_hand(size, probabilities(SIZES, "proportional"))
    assert sum(expected.values()) == pytest.approx(1)
    seen = Counter(tuple((task, len(rows)) for task, rows in sampler.of(step)) for step in range(DRAWS))
    assert set(seen) <= set(expected)
    likely = {kind: chance for kind, chance in expected.items() if chance * DRAWS >= 5}
    counts = [seen[kind] for kind in likely] + [DRAWS - sum(seen[kind] for kind in likely)]
    wanted = [chance * DRAWS for chance in likely.values()]
    wanted.append(DRAWS - sum(wanted))
    if wanted[-1] < 1e-6:
        counts, wanted = counts[:-1], wanted[:-1]
    assert chisquare(counts, wanted).pvalue > 1e-3


def test_every_batch_is_full_and_rows_come_in_passes():
    sampler = StochasticTasks(SIZES, 7, seed=1)
    taken: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for step in range(60):
        batch = sampler.of(step)
        assert sum(len(rows) for _, rows in batch) == 7
        assert len({task for task, _ in batch}) == len(batch)
        for task, rows in batch:
            taken[task] += rows
    for task, rows in taken.items():
        whole = len(rows) // SIZES[task] * SIZES[task]
        for start in range(0, whole, SIZES[task]):
            assert sorted(rows[start : start + SIZES[task]]) == list(range(SIZES[task]))


def test_all_tasks_in_every_batch_when_not_stochastic():
    sampler = StochasticTasks(SIZES, 8, stochastic=False, seed=1)
    assert all([len(rows) for _, rows in sampler.of(step)] in ([4, 2, 2], [2, 4, 2], [2, 2, 4]) for step in range(20))


def test_rows_follow_from_seed_and_step_alone():
    first, again, other = (StochasticTasks(SIZES, 6, seed=seed) for seed in (2, 2, 3))
    in_order = [first.of(step) for step in range(30)]
    assert [again.of(step) for step in (20, 5, 29)] == [in_order[step] for step in (20, 5, 29)]
    assert [other.of(step) for step in range(30)] != in_order
