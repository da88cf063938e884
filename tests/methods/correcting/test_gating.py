"""Where a fix acts: whitening, groups, keys and thresholds against what defines them; and rows that stand in."""

import torch
import torch.nn.functional as F

from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.methods.correcting import gating
from cuetune.methods.correcting.written import written_rows
from tiny import backbone, rows

D = 256
DRAW = torch.Generator().manual_seed(0)
# Queries that all point the same way and differ much more in some directions than in others, as a model's states do.
SPREAD = torch.logspace(1, -1, D)
WRITTEN = 30 + torch.randn(600, D, generator=DRAW) * SPREAD
OWN = 30 + torch.randn(20, D, generator=DRAW) * SPREAD
OTHERS = 30 + torch.randn(400, D, generator=DRAW) * SPREAD
LABELS = ["pos"] * 13 + ["neg"] * 7


def test_whitened_queries_are_centred_and_differ_alike_in_every_direction(monkeypatch):
    monkeypatch.setattr(gating, "SHRINKAGE", 0.0)
    plain = F.normalize(OTHERS, dim=-1)
    assert (plain @ plain.T).min() > 0.9
    whitened = gating.space_of(WRITTEN, OWN).of(OTHERS)
    assert whitened.mean(dim=0).abs().max() < 0.4
    assert whitened.var(dim=0).min() > 0.5
    assert whitened.var(dim=0).max() < 2.5
    z = F.normalize(whitened, dim=-1)
    assert (z @ z.T).fill_diagonal_(0).abs().max() < 0.6


def test_all_rows_of_a_component_are_reached_alike_and_others_hardly():
    gate = gating.gate_of(gating.space_of(WRITTEN, OWN), OWN, LABELS)
    assert gate.labels == ["neg", "pos", "pos", "pos"]
    cosines = F.normalize(gate.space.of(OWN), dim=-1) @ gate.keys.T
    full = cosines >= gate.reach[:, 1] - 1e-5
    assert full.any(dim=1).all()
    own = torch.tensor([[label == each for each in gate.labels] for label in LABELS])
    for number in range(len(gate.labels)):
        members = cosines[full[:, number] & own[:, number], number]
        torch.testing.assert_close(members, members[:1].expand_as(members), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(gate.reach[:, 0], gating.REACH * gate.reach[:, 1])
    others = F.normalize(gate.space.of(OTHERS), dim=-1) @ gate.keys.T
    assert (others > gate.reach[:, 0]).any(dim=1).float().mean() < 0.03


def test_groups_are_balanced_and_hold_every_row_once():
    z = F.normalize(torch.randn(23, 16, generator=DRAW), dim=-1)
    groups = list(gating._groups(z, torch.Generator().manual_seed(1)))
    assert sorted(number for members in groups for number in members) == list(range(23))
    assert max(map(len, groups)) <= 5


def test_few_rows_share_their_key_with_strangers():
    for n in (1, 2, 4):
        z = F.normalize(torch.randn(n, 64, generator=DRAW), dim=-1)
        key = gating._key(z, torch.Generator().manual_seed(1))
        assert (z @ key).max() < 0.7
        torch.testing.assert_close(z @ key, (z @ key)[:1].expand(n), rtol=1e-3, atol=1e-4)


def test_rows_are_written_by_model_and_seed_alone():
    task = Task(template="{title}: {text} =", labels=("pos", "neg"), instruction="Good or bad?", name="mood")
    like = [task.example(row, labelled=False) for row in read_rows(with_titles(6))]
    first, again, other = (written_rows(backbone(), task, like, 12, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert 6 <= len(first) <= 12
    given = {each.fields["text"] for each in like}
    assert all(set(each.fields) == {"title", "text"} and each.label is None for each in first)
    assert not given & {each.fields["text"] for each in first}
    assert all("\n" not in text for each in first for text in each.fields.values())


def with_titles(n: int) -> list[dict[str, str]]:
    return [{**row, "title": f"number {number}"} for number, row in enumerate(rows(n))]
