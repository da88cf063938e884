"""Kills at random moments, and many processes at once: the same command goes on to the same result and leaves nothing.

    python benchmarks/kills.py --kills 30
    python benchmarks/kills.py --kills 5 --verbs tune,fix

For each verb a run that nobody stops gives the result that all others must come to. Then the command is started again
and again in a fresh place, gets SIGKILL, SIGTERM, SIGINT or SIGHUP at a random moment, and is given once more. A
result is a digest of what was saved; leftovers are temporary files, locks and checkpoints; a user's own files lie
beside everything and must stay as they are. At last two and eight processes run the verb in one place at the same time.
Processes are forked from one that has imported everything, so that a kill meets work and not an import.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "tests")]

import torch  # noqa: E402

import tiny  # noqa: E402
from cuetune.cli.main import main  # noqa: E402
from cuetune.library.digest import digest  # noqa: E402
from cuetune.library.tuned import TunedPrompt  # noqa: E402
from cuetune.library.universal import UniversalPrompt  # noqa: E402
from cuetune.methods.continual.learned import Learned  # noqa: E402
from cuetune.support.leftovers import LOCK, NAME  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, -15}, signal.SIGINT: {130}, signal.SIGHUP: {129, -1}}
USERS = {".git/config": "mine", "notes.txt": "mine", ".old.partial": "mine", "p.txt": "mine"}
UNFINISHED = {"checkpoint.safetensors", "search.jsonl"}

Words = Callable[[Path, int], list[str]]  # (place, number of the process) -> the command's words
Result = Callable[[Path], Any]  # what was saved in a place; raises where there is nothing


@dataclass(frozen=True)
class Verb:
    """One verb. needs: what is copied into its place first. adds_up: processes at once each add to the result."""

    words: Words
    result: Result
    needs: tuple[str, ...] = ()
    adds_up: bool = False


@dataclass
class Count:
    """What came of one verb. wrong, leftovers, touched: lines that say in which trial."""

    verb: str
    seconds: float = 0.0
    kills: int = 0
    in_time: int = 0  # kills that met the command at work
    by_signal: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    touched: list[str] = field(default_factory=list)
    at_once: dict[int, str] = field(default_factory=dict)


def make(home: Path) -> None:
    """Everything that verbs need, made once: models, rows, prompts, a library."""
    for family, seed, name in (("llama", 0, "model"), ("llama", 1, "model-2")):
        tiny.model(family, seed).save_pretrained(home / name)
        tiny.tokenizer().save_pretrained(home / name)
    for name, count, seed in (("rows", 60, 0), ("second", 60, 1), ("many", 1500, 2), ("test", 40, 3)):
        tiny.write_csv(home / f"{name}.csv", tiny.rows(count, seed))
    for number in range(9):
        wrong = [{**row, "label": "neg" if row["label"] == "pos" else "pos"} for row in tiny.rows(6, 50 + number)]
        tiny.write_csv(home / f"corrections-{number}.csv", wrong)
    tasks = "tasks:\n" + "".join(f"  - name: {name}\n    data: {name}.csv\n" for name in ("rows", "second"))
    for name in ("STREAM.yaml", "TASKS.yaml"):
        (home / name).write_text(tasks)
    for number in range(9):
        run(home, ["tune", *rows(home), *SHORT, "--seed", str(number), "--no-baselines", "--to", f"{home}/p{number}"])
    for number in range(2):
        run(home, ["library", "add", f"{home}/library", f"{home}/p{number}"])


def rows(home: Path) -> list[str]:
    return [f"{home}/rows.csv", "--test", f"{home}/test.csv", "--model", f"{home}/model", "--dtype", "float32"]


SHORT = ["--steps", "20", "--length", "3"]


def verbs(home: Path) -> dict[str, Verb]:
    model = ["--model", f"{home}/model", "--dtype", "float32"]
    fixing = ["--steps", "6", *model]

    def library(place: Path) -> list[str]:
        return sorted(str(path.relative_to(place)) for path in (place / "lib").glob("*/*") if path.is_dir())

    return {
        "tune": Verb(lambda at, n: ["tune", *rows(home), *SHORT, "--shots", "2", "--to", f"{at}/p"], scored),
        "predict": Verb(
            lambda at, n: ["predict", f"{home}/p0", f"{home}/many.csv", *model, "--to", f"{at}/a.csv"],
            lambda at: hashlib.sha256((at / "a.csv").read_bytes()).hexdigest(),
        ),
        "evaluate": Verb(
            lambda at, n: ["evaluate", f"{at}/q", f"{home}/many.csv", *model],
            lambda at: digest(TunedPrompt.load(at / "q")),
            needs=("p0 q",),
        ),
        "learn": Verb(
            lambda at, n: ["learn", f"{home}/STREAM.yaml", "--to", f"{at}/s", "--steps", "12", *model], learned
        ),
        "fix": Verb(
            lambda at, n: ["fix", f"{at}/p", f"{home}/corrections-{n}.csv", *fixing],
            lambda at: digest(TunedPrompt.load(at / "p")),
            needs=("p0 p",),
            adds_up=True,
        ),
        "multitask": Verb(
            lambda at, n: [
                *("multitask", "train", f"{home}/TASKS.yaml", "--to", f"{at}/u", "--steps", "10"),
                *("--teacher-steps", "10", "--length", "3", *model),
            ],
            lambda at: [UniversalPrompt.load(at / "u").digest, scored(at / "u" / "tasks", "rows")],
        ),
        "transfer": Verb(
            lambda at, n: ["transfer", *rows(home), "--from", f"{home}/library", "--steps", "8", "--to", f"{at}/p"],
            scored,
        ),
        "recycle": Verb(
            lambda at, n: [
                *("recycle", f"{home}/p0", "--model", f"{home}/model-2", "--from-model", f"{home}/model"),
                *("--dtype", "float32", "--to", f"{at}/p"),
            ],
            lambda at: digest(TunedPrompt.load(at / "p")),
        ),
        "library": Verb(lambda at, n: ["library", "add", f"{at}/lib", f"{home}/p{n}"], library, adds_up=True),
        "search": Verb(
            lambda at, n: ["search", *rows(home), "--method-option", "steps=4", "--to", f"{at}/p"],
            scored,
        ),
    }


def scored(place: Path, name: str = "p") -> list[Any]:
    tuned = TunedPrompt.load(place / name)
    return [digest(tuned), tuned.record["scores"]]


def learned(place: Path) -> list[Any]:
    made = Learned.load(place / "s")
    sums = {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in made.tensors.items()}
    if len(made.accuracies) < 2:
        raise FileNotFoundError("not all tasks were measured")
    return [made.names, made.accuracies, sums]


def fresh(home: Path, verb: Verb) -> Path:
    """A new place with a user's files and what the verb needs."""
    place = Path(tempfile.mkdtemp(dir=home, prefix="place-"))
    for name, content in USERS.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(content)
        os.utime((place / name).parent if "/" in name else place / name, (0, 0))
    for need in verb.needs:
        source, name = need.split()
        shutil.copytree(home / source, place / name)
    return place


def start(place: Path, words: list[str]) -> int:
    """The command in a process of its own, which has a copy of all that is imported here."""
    if pid := os.fork():
        return pid
    with (place.parent / f"said-{os.getpid()}.txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    sys.stdout, sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb")), io.TextIOWrapper(os.fdopen(2, "wb"))
    sys.argv = ["cuetune", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: Any = 1
    try:
        main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException as error:  # a traceback is what must not be
        print("Traceback", repr(error), file=sys.stderr)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def said(home: Path, pid: int) -> str:
    path = home / f"said-{pid}.txt"
    text = path.read_text(errors="replace") if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def run(home: Path, words: list[str]) -> None:
    """A command that must succeed."""
    pid = start(home / "here", words)
    code, text = wait(pid), said(home, pid)
    assert code == 0, (words, text)


def found(verb: Verb, place: Path) -> Any:
    try:
        return verb.result(place)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


def left_over(place: Path) -> list[str]:
    names = [path.name for path in place.rglob("*")]
    return [name for name in names if name in UNFINISHED or NAME.fullmatch(name) or LOCK.fullmatch(name)]


def touched(place: Path) -> list[str]:
    return [name for name, text in USERS.items() if not (place / name).exists() or (place / name).read_text() != text]


def kill_once(home: Path, verb: Verb, expected: Any, count: Count, draw: random.Random) -> None:
    """One trial: a signal at a random moment, then the same command."""
    place, how = fresh(home, verb), draw.choice(SIGNALS)
    pid = start(place, verb.words(place, 0))
    time.sleep(draw.uniform(0, count.seconds))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    code, text = wait(pid), said(home, pid)
    trial = f"{how.name} {count.kills}"
    count.kills += 1
    count.by_signal[how.name] = count.by_signal.get(how.name, 0) + 1
    count.in_time += code != 0
    if code not in ENDS[how] | {0} or "Traceback" in text:
        count.wrong.append(f"{trial}: ended with {code}: {text.strip()[-200:]}")
    # A command that had saved everything when the signal came has nothing left to do.
    if code != 0 and not (found(verb, place) == expected and not left_over(place)):
        pid = start(place, verb.words(place, 0))
        code, text = wait(pid), said(home, pid)
        if code != 0:
            count.wrong.append(f"{trial}: the same command ended with {code}: {text.strip()[-200:]}")
    if (result := found(verb, place)) != expected:
        count.wrong.append(f"{trial}: another result {str(result)[:200]}")
    count.leftovers += [f"{trial}: {name}" for name in left_over(place)]
    count.touched += [f"{trial}: {name}" for name in touched(place)]
    shutil.rmtree(place)


def at_once(home: Path, verb: Verb, expected: Any, count: Count, processes: int) -> None:
    """The verb in one place by several processes at the same time, each with rows of its own where it adds."""
    place = fresh(home, verb)
    pids = [start(place, verb.words(place, number if verb.adds_up else 0)) for number in range(processes)]
    ended = [(wait(pid), said(home, pid)) for pid in pids]
    good = sum(code == 0 for code, _ in ended)
    for code, text in ended:
        errors = [line for line in text.splitlines() if line.startswith("error")]
        if code not in (0, 2) or "Traceback" in text or (code == 2 and len(errors) != 1):
            count.wrong.append(f"{processes} at once: {code}: {text.strip()[-200:]}")
    result = found(verb, place)
    if verb.adds_up:
        kept = len(TunedPrompt.load(place / "p").record.get("fixes", [])) if (place / "p").exists() else len(result)
        if kept != good:
            count.wrong.append(f"{processes} at once: {good} said that they had saved, {kept} are there")
    elif result != expected or not good:
        count.wrong.append(f"{processes} at once: another result {str(result)[:200]}")
    count.at_once[processes] = f"{good} saved, {processes - good} refused"
    count.leftovers += [f"{processes} at once: {name}" for name in left_over(place)]
    count.touched += [f"{processes} at once: {name}" for name in touched(place)]
    shutil.rmtree(place)


def measure(home: Path, name: str, verb: Verb, kills: int, seed: int) -> Count:
    count, place, times = Count(name), fresh(home, verb), []
    started = time.perf_counter()
    pid = start(place, verb.words(place, 0))
    code, text = wait(pid), said(home, pid)
    times.append(time.perf_counter() - started)
    assert code == 0, (name, text)
    expected, count.seconds = found(verb, place), statistics.fmean(times)
    shutil.rmtree(place)
    draw = random.Random(f"{name} {seed}")
    for _ in range(kills):
        kill_once(home, verb, expected, count, draw)
    for processes in (2, 8):
        at_once(home, verb, expected, count, processes)
    return count


def table(counts: list[Count]) -> str:
    lines = [
        "| verb | KILL, TERM, INT, HUP | at work | other result | leftovers | touched | 2 at once | 8 at once |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for each in counts:
        signals = ", ".join(str(each.by_signal.get(how.name, 0)) for how in SIGNALS)
        cells = [f"{each.kills} ({signals})", each.in_time, len(each.wrong), len(each.leftovers), len(each.touched)]
        lines.append(f"| {each.verb} | " + " | ".join(map(str, [*cells, *each.at_once.values()])) + " |")
    return "\n".join(lines) + "\n"


def main_here() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="of each verb")
    parser.add_argument("--verbs", default="", help="comma-separated; else all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=None, help="folder for kills.md and kills.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        home = Path(folder)
        make(home)
        known = verbs(home)
        chosen: Mapping[str, Verb] = {name: known[name] for name in given.verbs.split(",") if name} or known
        counts = []
        for name, verb in chosen.items():
            counts.append(measure(home, name, verb, given.kills, given.seed))
            print(json.dumps(asdict(counts[-1])), flush=True)
    print(table(counts))
    if given.to is not None:
        (given.to / "kills.md").write_text(table(counts), encoding="utf-8")
        (given.to / "kills.json").write_text(json.dumps([asdict(each) for each in counts], indent=1) + "\n")


if __name__ == "__main__":
    main_here()
