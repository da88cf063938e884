"""Written answers: what ends them, how long they may be, and what is said of those that are cut."""

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chain import chain_model, written_chain
from cuetune.backbones.generation import Writing, write
from cuetune.backbones.injection import Injection
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.data.templating import Renderer
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.readouts import GeneratedText
from cuetune.tuning.runs import TaskData, TextRun
from cuetune.tuning.settings import Settings
from tiny import tokenizer, write_csv

TASK = Task(template="Q: {text}\nA:", label_column="answer")
LONG = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&*+-=?@^_~|<>/()[]{};`.,'" + '"'  # 67 tokens, none twice
OTHER = 7  # an ordinary token that some configurations call the end


def frozen_chain(answer: str = "good", *more: int, ends: int | list[int] | None = None, **how) -> TextBackbone:
    words = tokenizer()
    return TextBackbone(chain_model(len(words), written_chain(words, answer, *more), ends=ends, **how), words, "chain")


def rows(answer: str, n: int = 4) -> list[Example]:
    return [Example(f"row {number}", {"text": "x" * (number + 1)}, answer) for number in range(n)]


def no_prompt(frozen: TextBackbone) -> SoftPrompt:
    return SoftPrompt(torch.zeros(1, frozen.width))


def eos() -> int:
    return tokenizer().eos_token_id


@pytest.mark.parametrize(
    ("written", "ends"),
    [(eos(), OTHER), (OTHER, OTHER), (OTHER, [3, OTHER]), (eos(), None), (eos(), [10**6, OTHER])],
    ids=["the tokenizer's", "the configuration's", "one of several", "no other is named", "beyond the vocabulary"],
)
def test_whatever_any_file_calls_the_end_ends_an_answer(written, ends):
    frozen = frozen_chain("good", written, 30, ends=ends)
    predictor = Predictor(frozen, TASK, no_prompt(frozen))
    assert [(each.label, each.unfinished) for each in predictor.predict(rows("good"))] == [("good", 0)] * 4
    readout = GeneratedText(frozen, TASK)
    rendered = list(predictor.renderer.render(rows("good")))
    with torch.no_grad():
        losses = readout.row_losses(frozen, frozen.hidden(readout.rows(rendered, predictor.renderer.shared)), rendered)
    assert losses.max() < 0.1


def test_the_end_is_as_probable_as_all_ends_together():
    """Against the sum of their probabilities, token by token, by the model's own forward pass."""
    torch.manual_seed(0)
    words = tokenizer()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3, eos_token_id=[5, 9], bos_token_id=None,
    )  # fmt: skip
    bare = LlamaForCausalLM(config).eval()
    answer, read = (words(text)["input_ids"] for text in (" good x", "Q: x\nA:"))
    with torch.no_grad():
        logs = bare(input_ids=torch.tensor([read + answer])).logits[0].log_softmax(-1)[len(read) - 1 :]
    spelled = [logs[place, token] for place, token in enumerate(answer)]
    wanted = -(sum(spelled) + logs[-1, [words.eos_token_id, 5, 9]].logsumexp(0)) / (len(answer) + 1)
    frozen = TextBackbone(bare, words, "tiny")
    readout, renderer = GeneratedText(frozen, TASK), Renderer(words, TASK)
    rendered = list(renderer.render([Example("row", {"text": "x"}, "good x")]))
    with torch.no_grad():
        ours = readout.row_losses(frozen, frozen.hidden(readout.rows(rendered, renderer.shared)), rendered)
    assert ours.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_an_answer_ends_though_nothing_pads_and_its_end_is_an_ordinary_token():
    words = tokenizer()
    words.pad_token = words.eos_token = None
    frozen = TextBackbone(chain_model(len(words), written_chain(words, "good", OTHER), ends=OTHER), words, "chain")
    long = [words("Q: y\nA")["input_ids"], words("Q: x\nA:")["input_ids"]]  # the first writes on, the second ends
    answers = write(frozen, long, frozen.compile(Injection()), Writing(max_tokens=9))
    assert (answers[1].text.strip(), answers[1].ended) == ("good", True)


def test_answers_may_be_as_long_as_those_that_they_are_scored_on():
    frozen = frozen_chain(LONG, eos())
    predictor = Predictor(frozen, TASK, no_prompt(frozen))
    assert {each.unfinished for each in predictor.predict(rows(LONG))} == {64}  # nothing says more, and that is told
    predictor.expect([LONG])
    assert [(each.label, each.unfinished) for each in predictor.predict(rows(LONG))] == [(LONG, 0)] * 4


def test_answers_are_learned_to_their_ends_whatever_their_length():
    answer = " ".join(["good great awful bad"] * 150)  # 1,200 tokens
    frozen = frozen_chain(positions=4096)
    run = TextRun(frozen, no_prompt(frozen), TaskData(TASK, rows(answer)), Settings(), 0)
    (target,) = run.readout.answers(run.rows[:1])
    assert (frozen.tokenizer.decode(target[:-1]).strip(), target[-1], run.cut_answers) == (answer, eos(), 0)


def test_answers_that_no_position_is_left_for_are_counted_and_taught_no_end():
    answer = " ".join(["good great awful bad"] * 150)
    frozen = frozen_chain(positions=256)
    run = TextRun(frozen, no_prompt(frozen), TaskData(TASK, [*rows(answer), *rows("good")]), Settings(), 0)
    assert run.cut_answers == 4
    targets = run.readout.answers(run.rows)
    assert [target[-1] == eos() for target in targets] == [False] * 4 + [True] * 4
    assert max(len(row.ids) + len(target) for row, target in zip(run.rows, targets, strict=True)) < 256


def test_a_short_answer_leaves_the_text_more_room_than_a_long_one():
    frozen = frozen_chain(positions=256)
    runs = [TextRun(frozen, no_prompt(frozen), TaskData(TASK, rows(each)), Settings(), 0) for each in ("good", LONG)]
    assert runs[0].renderer.max_text > runs[1].renderer.max_text


@pytest.fixture
def chain_folder(tmp_path):
    """A model that writes `LONG` perfectly, and labelled rows that ask for it."""
    frozen = frozen_chain(LONG, eos())
    frozen.model.save_pretrained(tmp_path / "chain")
    frozen.tokenizer.save_pretrained(tmp_path / "chain")
    table = [{"text": "y" * (number + 1), "answer": LONG} for number in range(12)]
    write_csv(tmp_path / "rows.csv", table)
    return tmp_path


def test_a_saved_prompt_knows_how_long_answers_are(chain_folder, cuetune):
    made = chain_folder / "made"
    wanted = ("--generate", "--label", "answer", "--steps", 1, "--length", 2, "--model", chain_folder / "chain")
    code, said, _ = cuetune("tune", chain_folder / "rows.csv", "--to", made, *wanted)
    assert code == 0, said
    assert json.loads((made / "cuetune.json").read_text())["task"]["max_answer"] == 67 + 1
    model = ("--model", chain_folder / "chain")
    code, said, _ = cuetune("evaluate", made, chain_folder / "rows.csv", *model, "--json", "--no-baselines")
    assert json.loads(said)["methods"]["tuned"]["exact_match"]["value"] == 1.0
    to = chain_folder / "answers.jsonl"
    code, said, _ = cuetune("predict", made, chain_folder / "rows.csv", "--to", to, *model)
    assert "exact match on the 12 rows with a label: 1.000" in said
    code, said, _ = cuetune("predict", made, chain_folder / "rows.csv", "--to", to, *model, "--max-new-tokens", 10)
    assert "12 answers did not end within 10 tokens and are cut there. Set another length" in said


def test_a_text_that_is_cut_names_the_limit_that_cut_it():
    frozen = frozen_chain(positions=128)
    long = [Example("row 0", {"text": "x" * 500}, "good")]
    short = Task(template=TASK.template, label_column="answer", max_tokens=9)
    said = []
    for task in (TASK, short):
        run = TextRun(frozen, no_prompt(frozen), TaskData(task, long), Settings(), 0)
        said += run.cut_notes()
    assert "(the model's positions leave no more)" in said[0]
    assert "longer than 9 tokens (--max-tokens)" in said[1]
