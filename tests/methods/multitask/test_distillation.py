"""Distillation: its loss and gradients are those of a naive implementation, padded, row by row, with no cache."""

import pytest
import torch

from cuetune.data.reading import read_rows
from cuetune.data.task import Task
from cuetune.methods.multitask.distillation import Distillation
from cuetune.methods.multitask.sampling import StochasticTasks
from cuetune.prompts import MultitaskPrompt, SoftPrompt
from cuetune.tuning.loop import Tuner
from cuetune.tuning.objectives import cross_entropy
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings
from tiny import backbone, encoder_backbone, encoder_decoder_backbone, model, rows

WEIGHT = 0.7
TASKS = [
    Task(template="Say {text} =", labels=("pos", "neg"), instruction="Good or bad?", name="plain"),
    Task(template="{text} ?", labels=("pos", "neg"), label_words=(" neg", " good bad"), name="odd"),
]


def data(seed: int) -> list:
    return [TASKS[seed].example(row) for row in read_rows(rows(8, seed))]


def teachers(width: int) -> list[SoftPrompt]:
    generator = torch.Generator().manual_seed(7)
    return [SoftPrompt(torch.randn(4, width, generator=generator)) for _ in TASKS]


def student(width: int) -> MultitaskPrompt:
    generator = torch.Generator().manual_seed(8)
    prompt = MultitaskPrompt(torch.randn(4, width, generator=generator), [task.name for task in TASKS])
    with torch.no_grad():
        for parameter in (prompt.u, prompt.v):
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return prompt


def tuner(frozen, prompt, objectives, **changes) -> Tuner:
    settings = Settings(steps=4, batch_size=6, **changes).resolved(frozen, 16, prompt)
    batches = StochasticTasks([8, 8], 6, stochastic=False, seed=1)
    tasks = [TaskData(task, data(number)) for number, task in enumerate(TASKS)]
    return Tuner(frozen, prompt, tasks, settings, objectives=objectives, batches=batches)


def naive(run: Tuner, prompt: MultitaskPrompt, guides: list[SoftPrompt]) -> torch.Tensor:
    """λ (KL + MSE) from stock passes of the bare model, one row at a time, averaged as the paper's loss is."""
    bare, chosen = model("llama"), run.batches.of(0)
    n_rows = sum(len(numbers) for _, numbers in chosen)
    total = torch.zeros(())
    for task, numbers in chosen:
        readout, shared = run.runs[task].readout, run.runs[task].renderer.shared
        kl, square, count = torch.zeros(()), torch.zeros(()), 0
        for number in numbers:
            packed = readout.rows([run.runs[task].rows[number]], shared)
            ids = torch.cat([torch.tensor(shared, dtype=torch.long), packed.ids])
            states = [
                stock(bare, torch.cat([embeddings, bare.get_input_embeddings()(ids)]), packed, len(shared))
                for embeddings in (prompt.embeddings(task), guides[task].embeddings.detach())
            ]
            ours, theirs = (readout.scores(run.backbone, each[packed.read]).log_softmax(-1)[0] for each in states)
            kl = kl + (theirs.exp() * (theirs - ours)).sum()
            square = square + (states[0] - states[1]).pow(2).sum()
            count += states[0].numel()
        total = total + WEIGHT * (kl / len(numbers) + square / count) * len(numbers) / n_rows
    return total


def stock(bare, embeddings: torch.Tensor, packed, n_shared: int) -> torch.Tensor:
    """Final states of the row's own tokens; a row with an answer tree of one branch is read as plain text."""
    hidden = bare.model(inputs_embeds=embeddings[None]).last_hidden_state[0]
    return hidden[4 + n_shared :]


def test_loss_and_gradients_are_those_of_a_naive_implementation():
    frozen = backbone("llama")
    prompt, guides = student(frozen.width), teachers(frozen.width)
    run = tuner(frozen, prompt, [Distillation(guides, WEIGHT)])
    run._prepare()
    loss = run._loss(run.batches.of(0))
    loss.backward()
    ours = [part.grad.clone() for part in prompt.parameters()]
    prompt.zero_grad()
    wanted = naive(run, prompt, guides)
    wanted.backward()
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-6)
    for mine, part in zip(ours, prompt.parameters(), strict=True):
        torch.testing.assert_close(mine, part.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "make", [backbone, encoder_backbone, encoder_decoder_backbone], ids=["causal", "encoder", "encoder-decoder"]
)
def test_a_student_that_is_its_teacher_loses_nothing(make):
    frozen = make()
    task = TASKS[0]
    prompt = MultitaskPrompt(teachers(frozen.width)[0].embeddings, [task.name])
    settings = Settings(steps=1, batch_size=8).resolved(frozen, 8, prompt)
    objectives = [Distillation([teachers(frozen.width)[0]])]
    run = Tuner(frozen, prompt, TaskData(task, data(0)), settings, objectives=objectives)
    run._prepare()
    same = run._loss(run.batches.of(0)).item()
    assert same == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        prompt.v *= 1.5
    assert run._loss(run.batches.of(0)).item() > 1e-4


@pytest.mark.parametrize("term", ["answers", "states"])
def test_each_term_alone_and_both_together(term):
    frozen = backbone("llama")
    found = {}
    for name, how in {"both": {}, term: {"answers": term == "answers", "states": term == "states"}}.items():
        run = tuner(frozen, student(frozen.width), [Distillation(teachers(frozen.width), **how)])
        run._prepare()
        found[name] = run._loss(run.batches.of(0)).item()
    assert 0 < found[term] < found["both"]


def test_task_loss_and_distillation_add_up_over_tasks():
    frozen = backbone("llama")
    parts = [[cross_entropy], [Distillation(teachers(frozen.width))]]
    losses = []
    for objectives in [*parts, [part for each in parts for part in each]]:
        run = tuner(frozen, student(frozen.width), objectives)
        run._prepare()
        losses.append(run._loss(run.batches.of(1)))
    torch.testing.assert_close(losses[0] + losses[1], losses[2], rtol=1e-5, atol=1e-6)


def test_the_mean_is_over_rows_and_not_over_tasks():
    frozen, prompt = backbone("llama"), student(backbone("llama").width)
    run = tuner(frozen, prompt, [cross_entropy])
    chosen = [(0, [0, 1, 2, 3]), (1, [5])]
    alone = [run._loss([(task, [number])]) for task, numbers in chosen for number in numbers]
    torch.testing.assert_close(run._loss(chosen), torch.stack(alone).mean(), rtol=1e-5, atol=1e-6)


def test_teachers_are_computed_for_the_rows_that_come_and_never_again():
    frozen = backbone("llama")
    distillation = Distillation(teachers(frozen.width))
    run = tuner(frozen, student(frozen.width), [distillation])
    run._prepare()
    asked = {
        task: {n for step in range(4) for t, ns in run.batches.of(step) if t == task for n in ns} for task in (0, 1)
    }
    assert {task: set(taught.answers) for task, taught in enumerate(distillation._taught)} == asked
