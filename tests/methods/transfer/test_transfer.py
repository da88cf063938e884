"""Transfer: a prompt that answers the new task is proposed first and kept; a bad one is not."""

import pytest
import torch

from cuetune.api.tune import tune
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.collection import PromptLibrary
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.transfer.ranking import Candidate, Proposal, weighted_average
from cuetune.methods.transfer.transfer import transfer
from cuetune.prompts import SoftPrompt
from cuetune.tuning.settings import Settings
from cuetune.tuning.task_embedding import embedding, read_embedding
from tiny import backbone, rows

QUIET = {"log": lambda line: None, "reporters": ()}
SETTINGS = Settings(steps=24, batch_size=8, length=4, evaluate_every=12, learning_rate=0.1)
SHORT = SETTINGS.model_copy(update={"steps": 2, "evaluate_every": 2})
LONG = SETTINGS.model_copy(update={"steps": 80, "patience": 9})


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> PromptLibrary:
    """A prompt of the very rows that are asked later, one of their opposite, and one of another model."""
    place = tmp_path_factory.mktemp("library")
    shelf = PromptLibrary(place / "library")
    same = tune(rows(60, 7), place / "same", model=backbone("llama"), settings=LONG, baselines=False, **QUIET)
    flipped = [{**row, "label": {"pos": "neg", "neg": "pos"}[row["label"]]} for row in rows(60, 7)]
    opposite = tune(flipped, place / "opposite", model=backbone("llama"), settings=LONG, baselines=False, **QUIET)
    foreign = TunedPrompt(SoftPrompt(torch.randn(4, 32)), same.task, backbone("gpt2").identity, {})
    for name, tuned in {"same": same, "opposite": opposite, "foreign": foreign}.items():
        shelf.add(tuned, name)
    return shelf


def test_the_prompt_of_the_same_task_is_proposed_first_and_kept(library, tmp_path):
    found = transfer(rows(60, 7), library, tmp_path / "new", model=backbone("llama"), settings=SHORT, top=1, **QUIET)
    first, last = found.proposals
    assert (first.candidate.name, last.candidate.name) == ("same", "opposite")
    assert first.gain > 0.2 + last.gain
    assert first.at_start["accuracy"] > last.at_start["accuracy"]
    assert first.measured
    assert not last.measured, "only the top ones are tried"
    assert found.chosen == "same"
    saved = TunedPrompt.load(tmp_path / "new")
    assert saved.record["lineage"][0]["digest"] == library.entry("same").digest
    assert {"tuned", "from words", "zero-shot"} <= set(saved.record["scores"])


def test_similarity_of_tasks(library, tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 21})
    found = transfer(
        rows(60, 7),
        library,
        tmp_path / "new",
        model=backbone("llama"),
        settings=settings,
        rank_by="similarity",
        **QUIET,
    )
    alike = {each.candidate.name: each.similarity for each in found.proposals}
    assert alike["same"] > alike["opposite"]
    assert found.proposals[0].candidate.name == "same"
    assert "from average of 2" in found.tuned.record["scores"] or found.chosen == "average of 2"


def test_few_rows_and_no_validation(library, tmp_path):
    found = transfer(
        rows(60, 7),
        library,
        tmp_path / "new",
        model=backbone("llama"),
        settings=SHORT,
        train_rows=4,
        average=False,
        **QUIET,
    )
    assert found.tuned.record["data"]["rows"]["train"] == 4
    assert found.chosen == "same"


def test_weights_of_the_average():
    def proposal(value, similarity):
        return Proposal(Candidate("x", "", torch.full((3, 2), value)), similarity, {}, 0.0)

    mixed = weighted_average([proposal(1.0, 0.6), proposal(4.0, 0.2), proposal(9.0, -0.5)])
    torch.testing.assert_close(mixed, torch.full((3, 2), (0.6 * 1 + 0.2 * 4) / 0.8))
    alike = weighted_average([proposal(1.0, None), proposal(4.0, None)])
    torch.testing.assert_close(alike, torch.full((3, 2), 2.5))


def test_an_embedding_survives_its_text():
    start, now = torch.randn(5, 32), torch.randn(5, 32)
    numbers = read_embedding(embedding(start, now), "here")
    wanted = (now - start).mean(0)
    torch.testing.assert_close(numbers, wanted / wanted.norm(), rtol=1e-2, atol=1e-3)
    assert embedding(None, now) == ""
    with pytest.raises(CuetuneError, match="here: task_embedding is damaged"):
        read_embedding("?", "here")


def test_a_resumed_run_keeps_its_embedding(tmp_path):
    whole = tune(rows(60, 1), tmp_path / "whole", model=backbone("llama"), settings=SETTINGS, baselines=False, **QUIET)
    assert read_embedding(whole.record["task_embedding"], "whole").norm() == pytest.approx(1, abs=1e-2)


def test_bad_input(library, tmp_path):
    with pytest.raises(CuetuneError, match="unknown ranking 'luck'; choose one of loss, similarity"):
        transfer(rows(60), library, tmp_path / "new", model=backbone("llama"), settings=SHORT, rank_by="luck", **QUIET)
    with pytest.raises(CuetuneError, match="no prompt there stands at the embedding layer of tiny-opt"):
        transfer(rows(60), library, tmp_path / "new", model=backbone("opt"), settings=SHORT, **QUIET)
    assert Task(template="{text}").generates
