"""Splits by columns: what stays together, what is held out, and what is said when that cannot be."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuetune.data.row import Example
from cuetune.data.splits import split_examples, text_key
from cuetune.errors import CuetuneError
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings
from tiny import folder, rows, write_csv

VOICES = ("ann", "bob", "cy", "dee", "eve")
SPOKEN = [
    {"text": f"{voice} says {word}, take {take}", "label": word, "voice": voice}
    for voice, word, take in itertools.product(VOICES, ("yes", "no"), range(4))
]


def parted(rows=SPOKEN, **how):
    return prepare(rows, None, how.pop("test", None), None, Settings(seed=how.pop("seed", 0)), **how)


def voices(examples):
    return {example.fields["text"].split()[0] for example in examples}


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_one_voice_stay_on_one_side_and_every_part_has_one(seed):
    splits = parted(group_by="voice", seed=seed).splits
    sides = [voices(part) for part in (splits.train, splits.validation, splits.test)]
    assert [len(side) for side in sides] == [3, 1, 1]
    assert set.union(*sides) == set(VOICES)
    alone = parted(seed=seed).splits
    assert voices(alone.train) & voices(alone.test), "without it, they do not"


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40), st.integers(0, 3))
def test_neither_copies_of_a_text_nor_what_is_together_is_parted(drawn, seed):
    rows = [Example(f"row {n}", {"text": f"text {text}"}, f"l{text % 2}") for n, (_, text) in enumerate(drawn)]
    owner = {row.where: str(group) for row, (group, _) in zip(rows, drawn, strict=True)}
    splits = split_examples(rows, seed=seed, together=list(owner.values()))
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(row.where for part in parts for row in part) == sorted(owner)
    for key in (text_key, lambda row: owner[row.where]):
        for one, other in itertools.combinations(parts, 2):
            assert not {key(row) for row in one} & {key(row) for row in other}


def test_groups_of_one_label_are_dealt_label_by_label():
    rows = [{"text": f"{n} {take}", "label": "ab"[n % 2], "thing": n} for n in range(20) for take in range(3)]
    test = parted(rows, group_by="thing").splits.test
    things = {example.fields["text"].split()[0]: example.label for example in test}
    assert sorted(things.values()) == ["a", "a", "b", "b"]
    assert len(test) == 12


def test_groups_of_several_labels_are_dealt_whatever_label_comes_first():
    rows = [
        {"text": f"{n} {turn}", "label": "abcdef"[(n + turn) % 6], "thing": n} for n in range(6) for turn in range(6)
    ]
    splits = parted(rows, group_by="thing").splits
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [24, 6, 6]


@pytest.mark.parametrize("seed", range(6))
def test_groups_of_unequal_size_count_with_their_rows(seed):
    sizes = (80, 80, 75, 45, 35, 25, 20, 15, 12, 10, 10)
    rows = [
        {"text": f"{kit} {n}", "label": "ab"[n % 2], "kit": kit} for kit, size in enumerate(sizes) for n in range(size)
    ]
    splits = parted(rows, group_by="kit", seed=seed).splits
    for part, share in ((splits.test, 0.2), (splits.validation, 0.1)):
        assert abs(len(part) - share * len(rows)) <= 40, "at most half a kit off"


def test_what_is_held_out_by_its_column_is_the_test_part():
    made = parted(hold_out={"voice": ["bob", "eve"]})
    assert voices(made.splits.test) == {"bob", "eve"}
    assert len(made.splits.test) == 16
    rest = [*made.splits.train, *made.splits.validation]
    assert voices(rest) == {"ann", "cy", "dee"}
    assert made.splits.validation
    assert made.parted == {"hold_out": {"voice": ["bob", "eve"]}}
    both = parted(hold_out={"voice": "bob"}, group_by="voice").splits
    assert not voices(both.train) & voices(both.validation)
    assert voices(both.test) == {"bob"}


def test_runs_on_data_that_is_parted_otherwise_are_told_apart():
    ways = ({}, {"group_by": "voice"}, {"hold_out": {"voice": "bob"}}, {"hold_out": {"voice": "eve"}})
    made = [parted(**way) for way in ways]
    assert len({each.key for each in made}) == 4
    assert len({each.fingerprint for each in made}) == 1


def test_a_label_that_only_held_out_rows_have_is_said():
    rows = [*SPOKEN, *({**row, "text": f"zoe {n}", "voice": "zoe"} for n, row in enumerate(SPOKEN[:8]))]
    rows.append({"text": "zoe says perhaps", "label": "perhaps", "voice": "zoe"})
    notes = [" ".join(parted(rows, group_by="voice", seed=seed).notes) for seed in range(6)]
    assert any("label 'perhaps': no row to tune on has it" in said for said in notes)
    with pytest.raises(CuetuneError, match=r"rows\[48\], column 'label': unknown label 'perhaps'"):
        parted(rows, hold_out={"voice": "zoe"})


def test_numbers_are_values_too_and_a_label_that_no_row_has_is_no_news():
    rows = [{**row, "year": 2020 + n % 3} for n, row in enumerate(SPOKEN)]
    made = parted(rows, hold_out={"year": 2021}, labels=["yes", "no", "never"])
    assert len(made.splits.test) == 13
    assert made.parted == {"hold_out": {"year": ["2021"]}}
    assert not made.notes


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            {"group_by": "speaker"},
            r"--group-by: rows\[0\] has no column 'speaker'; it has 'text', 'label', 'voice'\.",
        ),
        ({"hold_out": {"speaker": "ann"}}, r"--hold-out: rows\[0\] has no column 'speaker'"),
        ({"hold_out": {"voice": "bo"}}, r"--hold-out: no row has 'bo' in 'voice'; there are ann, bob, cy, dee, eve\."),
        ({"hold_out": {"voice": VOICES}}, r"--hold-out: all rows are held out and none is left"),
        ({"hold_out": {"voice": "bob"}, "test": SPOKEN}, r"--hold-out and --test both say"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(how, said):
    with pytest.raises(CuetuneError, match=said):
        parted(**how)


def test_one_voice_alone_cannot_be_parted():
    with pytest.raises(CuetuneError, match="all rows have the same 'voice', so none can be held out"):
        parted([row for row in SPOKEN if row["voice"] == "bob"], group_by="voice")


FAST = ("--steps", "2", "--batch-size", "4", "--dtype", "float32")


def test_the_verbs_take_both_and_a_prompt_says_how_its_rows_were_parted(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", [{**row, "kit": f"kit {n % 5}"} for n, row in enumerate(rows(60))])
    code, out, err = cuetune(
        "tune", data, "--to", tmp_path / "prompt", "--model", folder(), *FAST, "--group-by", "kit",
        "--hold-out", "kit=kit 1, kit 4", "--no-baselines",
    )  # fmt: skip
    assert code == 0, err
    assert "rows: 24 to tune on, 12 to validate, 24 held out" in out
    record = json.loads((tmp_path / "prompt" / "cuetune.json").read_text())["record"]
    assert record["data"]["group_by"] == "kit"
    assert record["data"]["hold_out"] == {"kit": ["kit 1", "kit 4"]}
    assert record["scored_rows"] == 24
    given = (data, "--to", tmp_path / "compared", "--model", folder(), *FAST, "--no-search", "--sizes", "8")
    given = (*given, "--methods", "linear-probe", "--seeds", "1")
    code, out, err = cuetune("compare", *given, "--hold-out", "kit=kit 2")
    assert code == 0, err
    assert "on 12 held-out rows" in out
    code, out, err = cuetune("compare", *given, "--hold-out", "kit=kit 3")
    assert code == 2
    assert "holds a comparison with another held-out rows" in err
    code, out, err = cuetune("search", data, "--to", tmp_path / "words", "--hold-out", "kit")
    assert code == 2
    assert "--hold-out 'kit': write name=value, e.g. --hold-out style=cartoon,drawing." in err
