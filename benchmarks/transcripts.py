"""What a prompt does to Whisper's French: word error rate before and after, trained and tested on different captions.

    python benchmarks/transcripts.py              # a stopped run goes on where it was
    python benchmarks/transcripts.py --seeds 1 --methods prefix

Captions of Tux Paint's stamps, of which no two have one text, in one order for all: 150 to test, 50 to choose the step
on, 500 to learn from. One woman speaks all of them, so a prompt may learn her voice and her microphone as well as the
words that captions use; nothing here says how it does on another voice. Without a prompt Whisper hears its own 30
seconds; with one it hears 4, which without one make it say short captions over and over. Results go to
results/transcripts.jsonl and results/transcripts.md.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

from cuetune.backbones.audio_loading import load_audio_backbone
from cuetune.backbones.whisper import WhisperBackbone
from cuetune.data.media.audio_files import SOUNDS, infer_transcripts
from cuetune.data.row import Example
from cuetune.data.task import Task
from cuetune.metrics.word_error_rate import word_error_rate
from cuetune.prediction.audio import AudioPredictor, untuned
from cuetune.prompts.registry import build
from cuetune.prompts.start_audio import AudioStart
from cuetune.readouts import audio_readout
from cuetune.tuning.loop import Tuner
from cuetune.tuning.runs import TaskData
from cuetune.tuning.settings import Settings

METHODS = ("decoder", "decoder-prefix", "shallow", "deep", "prefix")
RESULTS = Path(__file__).parent / "results"
TEST, CHOOSE, TRAIN = 150, 50, 500


def rows() -> tuple[Task, list[Example], list[Example], list[Example]]:
    """The task, and captions to test, to choose on and to learn from."""
    read = list(SOUNDS.read("captions-french"))
    task = infer_transcripts(read, language="fr", name="captions-french")
    examples = [task.example(row) for row in read]
    random.Random(0).shuffle(examples)
    rest = examples[TEST + CHOOSE :]
    return task, examples[:TEST], examples[TEST : TEST + CHOOSE], rest[:TRAIN]


def answered(predictor: Any, test: list[Example]) -> dict[str, Any]:
    """Word error rate on the test captions, the seconds it took, and the first texts, for a reader."""
    started = time.perf_counter()
    texts = [prediction.label for prediction in predictor.predict(test)]
    seconds = time.perf_counter() - started
    score = word_error_rate(texts, [str(example.label) for example in test])["word_error_rate"]
    return {"wer": score.to_dict(), "seconds_per_caption": seconds / len(test), "texts": texts[:12]}


def before(test: list[Example], task: Task, seconds: int) -> dict[str, Any]:
    """Whisper without a prompt, that hears so many seconds."""
    return {"method": f"no prompt, {seconds} s", "seed": 0, **answered(untuned(backbone(seconds), task), test)}


def after(method: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One tuned prompt."""
    task, test, choose, train = rows()
    frozen = backbone(arguments.seconds)
    prompt = build(method, AudioStart.of(frozen, task, train, arguments.length, seed), {})
    wanted = Settings(steps=arguments.steps, batch_size=8, evaluate_every=20, validation_rows=CHOOSE, seed=seed)
    settings = wanted.resolved(frozen, len(train), prompt)
    outcome = Tuner(frozen, prompt, TaskData(task, train, choose), settings).run()
    if outcome.progress.stopped == "interrupted":
        raise KeyboardInterrupt
    made = {"method": method, "seed": seed, "trained": prompt.n_trained, "seconds": outcome.progress.seconds}
    made |= {"best_step": outcome.progress.best_step, "validation_loss": outcome.progress.best_scores["loss"]}
    return {**made, **answered(AudioPredictor(frozen, task, prompt, audio_readout(frozen, task)), test)}


def backbone(seconds: int) -> WhisperBackbone:
    frozen = load_audio_backbone(f"whisper-base@{seconds}")
    assert isinstance(frozen, WhisperBackbone)
    return frozen


def table(runs: list[dict[str, Any]]) -> str:
    """Mean and spread over seeds, by method."""
    lines = [
        "| prompt | trained numbers | word error rate | of seeds | seconds to tune | seconds a caption |",
        "|" + " --- |" * 6,
    ]
    for method in dict.fromkeys(run["method"] for run in runs):
        same = [run for run in runs if run["method"] == method]
        rates = [run["wer"]["value"] for run in same]
        low, high = same[0]["wer"]["low"], same[0]["wer"]["high"]
        spread = f"{min(rates):.3f}–{max(rates):.3f}" if len(same) > 1 else f"rows: {low:.3f}–{high:.3f}"
        tuned = "trained" in same[0]
        seconds = f"{statistics.mean(run['seconds'] for run in same):.0f}" if tuned else ""
        each = statistics.mean(run["seconds_per_caption"] for run in same)
        trained = f"{same[0]['trained']:,}" if tuned else "0"
        lines.append(f"| {method} | {trained} | {statistics.mean(rates):.3f} | {spread} | {seconds} | {each:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--to", type=Path, default=RESULTS / "transcripts.jsonl")
    arguments = parser.parse_args()
    runs = [json.loads(line) for line in arguments.to.read_text().splitlines()] if arguments.to.exists() else []
    done = {(run["method"], run["seed"]) for run in runs}
    task, test, *_ = rows()
    wanted: list[Any] = [(f"no prompt, {s} s", 0, lambda s=s: before(test, task, s)) for s in (30, arguments.seconds)]
    wanted += [
        (method, seed, lambda method=method, seed=seed: after(method, seed, arguments))
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    for method, seed, measure in wanted:
        if (method, seed) not in done:
            runs.append(measure())
            with arguments.to.open("a") as stream:
                stream.write(json.dumps(runs[-1], ensure_ascii=False) + "\n")
            print(method, seed, runs[-1]["wer"], flush=True)
    arguments.to.with_suffix(".md").write_text(table(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
