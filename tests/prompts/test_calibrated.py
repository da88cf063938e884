"""Calibration: what a prompt answers without content is divided out, whatever the prompt is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cuetune.data.reading import read_rows
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.card import card
from cuetune.library.tuned import TunedPrompt
from cuetune.methods.calibration import CONTENT_FREE, calibrate
from cuetune.prediction.text import Predictor
from cuetune.prompts import CalibratedPrompt, EnsemblePrompt, Prompt, SoftPrompt
from cuetune.prompts.nearest import nearest_prompt
from cuetune.prompts.words import hard_prompt
from cuetune.readouts import Head
from tiny import backbone, encoder_backbone, encoder_decoder_backbone, folder, rows, write_csv

TASK = Task(
    template="Text: {text} =", labels=("pos", "neg", "so-so"), instruction="Is it good?", label_words=("p", "n", "s")
)
ROWS = [replace(TASK, labels=(), label_words=()).example(row) for row in read_rows(rows(12))]
MODELS = {
    "llama": lambda: backbone("llama"),
    "bert": lambda: encoder_backbone("bert"),
    "t5": lambda: encoder_decoder_backbone("t5"),
}


def soft(frozen, seed: int = 0) -> Prompt:
    return SoftPrompt(torch.randn(4, frozen.width, generator=torch.Generator().manual_seed(seed)))


KINDS = {
    "zero-shot": lambda frozen: hard_prompt(frozen, TASK),
    "few-shot": lambda frozen: hard_prompt(frozen, TASK, ROWS[:1]),
    "soft": soft,
    "nearest": lambda frozen: nearest_prompt(frozen, TASK, ROWS[:6], 1, _sentences()),
    "ensemble": lambda frozen: EnsemblePrompt([soft(frozen, 1), soft(frozen, 2)], "mean"),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def _sentences():
    from cuetune.backbones.sentences import SentenceEncoder

    return SentenceEncoder(backbone())


def probabilities(frozen, prompt, examples, task=TASK):
    return [answer.probabilities for answer in Predictor(frozen, task, prompt).predict(examples)]


def free(text, task=TASK):
    return Example("nothing", dict.fromkeys(task.fields, text), None)


@each_kind
@pytest.mark.parametrize("family", MODELS)
def test_it_is_the_papers_formula(family, kind):
    """argmax of diag(p_cf)^-1 p, by hand, with p_cf the mean over the content-free inputs as ordinary rows."""
    frozen = MODELS[family]()
    prompt = KINDS[kind](frozen)
    empty = probabilities(frozen, prompt, [free(text) for text in CONTENT_FREE])
    p_cf = [sum(each[label] for each in empty) / len(empty) for label in range(3)]
    calibrated = calibrate(frozen, TASK, prompt)
    plain = probabilities(frozen, prompt, ROWS[6:])
    for answer, before in zip(Predictor(frozen, TASK, calibrated).predict(ROWS[6:]), plain, strict=True):
        weighted = [p / q for p, q in zip(before, p_cf, strict=True)]
        assert answer.label == TASK.labels[weighted.index(max(weighted))]
        wanted = [each / sum(weighted) for each in weighted]
        assert max(abs(ours - each) for ours, each in zip(answer.probabilities, wanted, strict=True)) < 1e-4
    assert calibrated.length == prompt.length
    assert calibrated.n_trained == prompt.n_trained


@each_kind
def test_an_input_without_content_comes_out_uniform(kind):
    frozen = backbone()
    calibrated = calibrate(frozen, TASK, KINDS[kind](frozen), inputs=("N/A",))
    (answer,) = probabilities(frozen, calibrated, [free("N/A")])
    assert max(abs(share - 1 / 3) for share in answer) < 1e-5


shares = st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3)


@given(shares, shares)
def test_answers_stay_probabilities_and_odds_change_by_the_odds_without_content(found, nothing):
    found, nothing = (torch.tensor(each) / sum(each) for each in (found, nothing))
    ours = CalibratedPrompt(SoftPrompt(torch.ones(1, 2)), nothing).combine(found[None, None])[0]
    assert abs(float(ours.sum()) - 1) < 1e-5
    odds = (found[0] / found[1]) / (nothing[0] / nothing[1])
    assert torch.isclose(ours[0] / ours[1], odds, rtol=1e-4)


@given(shares)
def test_uniform_answers_to_nothing_change_nothing(found):
    found = torch.tensor(found)[None] / sum(found)
    inner = SoftPrompt(torch.ones(1, 2))
    assert torch.allclose(CalibratedPrompt(inner, torch.full((3,), 1 / 3)).combine(found[None]), found, atol=1e-6)


def test_a_certain_answer_to_nothing_is_still_a_number():
    frozen = backbone()
    prompt = SoftPrompt(1e4 * torch.randn(4, frozen.width, generator=torch.Generator().manual_seed(0)))
    calibrated = calibrate(frozen, TASK, prompt)
    calibrated.content_free.copy_(calibrated.content_free.clamp(max=1e-6))
    assert torch.tensor(probabilities(frozen, calibrated, ROWS)).isfinite().all()


def test_an_input_that_leaves_nothing_to_read_is_passed_over():
    frozen, task = backbone(), replace(TASK, template="{text}")
    ours = calibrate(frozen, task, hard_prompt(frozen, task))
    theirs = calibrate(frozen, task, hard_prompt(frozen, task), inputs=("N/A", "[MASK]"))
    assert torch.equal(ours.content_free, theirs.content_free)
    with pytest.raises(CuetuneError, match="no content-free input"):
        calibrate(frozen, task, hard_prompt(frozen, task), inputs=("",))


def test_a_mask_among_the_inputs_is_characters():
    frozen = encoder_backbone("bert")
    prompt = hard_prompt(frozen, TASK)
    calibrated = calibrate(frozen, TASK, prompt, inputs=("<mask>",))  # an encoder would read two masks
    (wanted,) = probabilities(frozen, prompt, [free("<mask>")])
    assert torch.allclose(calibrated.content_free, torch.tensor(wanted))


def test_every_field_is_without_content():
    frozen = backbone()
    task = Task(template="{title}: {body} =", labels=("p", "n"), instruction="?")
    prompt = hard_prompt(frozen, task)
    (wanted,) = probabilities(frozen, prompt, [Example("", {"title": "N/A", "body": "N/A"}, None)], task)
    assert torch.allclose(calibrate(frozen, task, prompt, ("N/A",)).content_free, torch.tensor(wanted))


def test_tasks_that_write_are_refused():
    task = replace(TASK, labels=(), label_words=())
    with pytest.raises(CuetuneError, match="a fixed set of labels") as problem:
        calibrate(backbone(), task, hard_prompt(backbone(), task))
    assert "\n" not in str(problem.value)


@each_kind
def test_saved_and_loaded_it_answers_the_same(tmp_path, kind):
    frozen = backbone()
    prompt = calibrate(frozen, TASK, KINDS[kind](frozen))
    saved = TunedPrompt(prompt, TASK, frozen.identity, {})
    place = saved.save(tmp_path / "p")
    assert "adapter_config.json" not in {path.name for path in place.iterdir()}  # PEFT would not calibrate
    loaded = TunedPrompt.load(place)
    assert loaded.prompt.described() == prompt.described()
    if kind == "nearest":
        loaded.prompt.prompt.encoder = prompt.prompt.encoder
    ours = list(Predictor(frozen, TASK, prompt).predict(ROWS))
    assert list(loaded.predictor(frozen).predict(ROWS)) == ours
    holds = kind in ("zero-shot", "few-shot", "nearest")
    assert ("contains those rows" in card(saved)) == holds
    assert ("No training example is stored" in card(saved)) != holds
    assert "which is divided out" in card(saved)


def test_damaged_and_foreign_calibrations_are_refused():
    inner = SoftPrompt(torch.ones(1, 32))
    for damaged in (torch.tensor([0.5, 0.0]), torch.tensor([0.5, -0.5]), torch.tensor([1.0]), torch.ones(2, 2)):
        with pytest.raises(CuetuneError, match="one positive probability for each"):
            CalibratedPrompt(inner, damaged)
    with pytest.raises(CuetuneError, match="calibrated for 2 labels, but the task has 3"):
        list(Predictor(backbone(), TASK, CalibratedPrompt(inner, torch.tensor([0.5, 0.5]))).predict(ROWS))


# Command line


def test_it_is_made_shown_evaluated_and_made_of_a_saved_one(cuetune, tmp_path):
    data, place = write_csv(tmp_path / "rows.csv", rows(40)), tmp_path / "prompt"
    common = ("--model", folder(), "--dtype", "float32", "--instruction", "Rate.")
    for shots in (0, 2):
        words = (*common, "--prompt", "calibrated", "--shots", shots, "--overwrite")
        code, out, err = cuetune("tune", data, "--to", place, *words)
        assert code == 0, err
        assert "which is divided out; nothing is tuned" in out
        assert "calibrated" in TunedPrompt.load(place).record["scores"]
    code, out, err = cuetune("show", place)
    assert (code, "a calibrated prompt" in out) == (0, True), err
    code, out, err = cuetune("evaluate", place, data, *common[:4])
    assert (code, "calibrated" in out) == (0, True), err
    fast = ("--steps", "2", "--evaluate-every", "2", "--length", "3", "--no-baselines")
    assert cuetune("tune", data, "--to", tmp_path / "soft", *common, *fast)[0] == 0
    words = ("--prompt", "calibrated", "--start", tmp_path / "soft")
    code, out, err = cuetune("tune", data, "--to", tmp_path / "better", *common, *words)
    assert code == 0, err
    better = TunedPrompt.load(tmp_path / "better").prompt
    assert torch.equal(better.prompt.embeddings, TunedPrompt.load(tmp_path / "soft").prompt.embeddings)
    soft = TunedPrompt.load(tmp_path / "soft")
    head = Head("last", torch.ones(2, 32), torch.ones(2))
    replace(soft, head=head).save(tmp_path / "headed")
    words = ("--prompt", "calibrated", "--start", tmp_path / "headed")
    code, _, err = cuetune("tune", data, "--to", tmp_path / "p", *common, *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert "a trained head answers it" in err
