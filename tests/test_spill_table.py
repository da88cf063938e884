"""Tensors that are kept: the same bits from memory and from a file, whatever their shape and dtype."""

import pytest
import torch

from cuetune.errors import CuetuneError
from cuetune.support import spill_table
from cuetune.support.spill_table import SpillTable

SHAPES = [((3, 4), torch.bfloat16), ((5,), torch.uint8), ((0, 2), torch.float32), ((2, 3), torch.float64)]


def tensors():
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(shape, generator=generator) * 100).to(dtype) for shape, dtype in SHAPES]


@pytest.mark.parametrize("limit", [0, 30, 10**6])
def test_spill_table_gives_back_every_bit(limit, monkeypatch, tmp_path):
    monkeypatch.setattr(spill_table, "IN_MEMORY", limit)
    table, wanted = SpillTable(tmp_path), tensors()
    for number, each in enumerate(wanted):
        table.put(number, each)
        assert torch.equal(table.of(number), each)  # the file grows between reads
    for number, each in enumerate(wanted):
        assert table.of(number).dtype == each.dtype
        assert torch.equal(table.of(number), each)
    assert (3 in table, 4 in table) == (True, False)
    assert table.bytes == sum(each.numel() * each.element_size() for each in wanted)
    assert list(tmp_path.iterdir()) == []  # the file has no name


def test_spill_table_keeps_copies(monkeypatch):
    table, values = SpillTable(), torch.ones(4)
    table.put("a", values)
    values.zero_()
    assert torch.equal(table.of("a"), torch.ones(4))


def test_spill_table_says_where_the_disk_refuses(monkeypatch, tmp_path):
    monkeypatch.setattr(spill_table, "IN_MEMORY", 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(CuetuneError, match="It keeps numbers"):
        SpillTable(tmp_path / "file" / "below", "It keeps numbers.").put(0, torch.ones(1))
