"""Options are declared once: flags, config keys and Python keywords agree, and help says all of it in plain words."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.models import OptionInfo

import cuetune as package
from cuetune.cli import choices
from cuetune.cli.expand import Fields, command_of, expanded, group_of, options_of
from cuetune.cli.main import VERBS
from cuetune.cli.multitask import adapt, train
from cuetune.comparison.contenders import CONTENDERS
from cuetune.data.sources import Source
from cuetune.data.task_inference import infer_task
from cuetune.methods.continual.learning import learn_many
from cuetune.methods.continual.registry import LEARNERS
from cuetune.methods.multitask.sampling import MIXINGS
from cuetune.methods.searching import SEARCHES
from cuetune.methods.transfer.ranking import RANKINGS
from cuetune.methods.wording import WORDINGS
from cuetune.modality import MODALITIES
from cuetune.prompts.registry import METHODS
from cuetune.tuning.data import prepare
from cuetune.tuning.settings import Settings

ALL = {**VERBS, "multitask train": train, "multitask adapt": adapt}
OTHERS = ["multitask", "library", *(f"library {name}" for name in ("list", "add", "show", "search", "remove"))]
OTHERS += ["demo", "data", "data pull", "models", "models pull", "models check"]
PYTHON = {
    "tune": (package.tune, prepare, infer_task),
    "compare": (package.compare, prepare, infer_task),
    "worth": (package.worth, prepare, infer_task),
    "search": (package.search, prepare, infer_task),
    "transfer": (package.transfer, prepare, infer_task),
    "learn": (package.learn, learn_many),
    "fix": (package.fix,),
    "evaluate": (package.evaluate,),
    "multitask train": (package.train_multitask,),
    "multitask adapt": (package.adapt, package.tune, prepare, infer_task),
}
# How files are read is an attribute of the source of rows, how a model is loaded a keyword of `load_backbone`.
OF_SOURCES = {"no_splits": False, "media_root": None, "allow_download": False, "delimiter": None, "quoting": "standard"}
OF_SOURCES |= {"column_names": None, "encoding": "utf-8", "skip_unreadable": False}
OF_MODELS = {"revision": None, "dtype": "auto", "device": "auto", "trust_remote_code": False}
# What only a command line has: where to print what. `kind` is what Python's `infer_task` calls a kind of task.
OF_COMMANDS = {"json", "config", "library", "next_task", "undo", "to", "from_model"}


def declared(verb):
    """Every option of a verb by its name: what typer is told of it."""
    parameters = inspect.signature(expanded(ALL[verb])).parameters.values()
    found = {each.name: (each, next(part for part in each.annotation.__metadata__)) for each in parameters}
    return {name: pair for name, pair in found.items() if isinstance(pair[1], OptionInfo)}


def groups(verb):
    hints = inspect.get_annotations(ALL[verb], eval_str=True)
    return [group for hint in hints.values() if (group := group_of(hint)) is not None]


@pytest.mark.parametrize("verb", ALL)
def test_every_option_has_help_of_one_form(verb):
    for name, (_, option) in declared(verb).items():
        assert option.help, name
        assert option.help[0].isupper() or option.help[0] == "{", f"{name}: {option.help}"
        assert option.help.endswith((".", "…", "?")), f"{name}: {option.help}"


@pytest.mark.parametrize("verb", ALL)
def test_every_option_without_a_default_says_what_holds(verb):
    """An option that may be left out names what then holds, by "Default: …" or by a default that is shown."""
    for group in groups(verb):
        for option in options_of(group):
            optional = option.default is None and option.name not in (
                "labels_from",
                "label_delimiter",
                "inputs",
                "model",
            )
            told = "efault" in option.help or "epeatable" in option.help
            assert told or not optional, f"{verb} --{option.name}: {option.help}"


@pytest.mark.parametrize("verb", [*ALL, *OTHERS])
def test_help_says_image_audio_video(verb, cuetune):
    code, out, err = cuetune(*verb.split(), "--help")
    assert code == 0, err
    found = re.findall(r"\b(?:pictures?|sounds?|clips?|recordings?|said|else|beside|told)\b", out, re.IGNORECASE)
    assert found == [], f"{verb}: {found}"
    assert not choices.NAMED.search(out[out.find("╭") :]), "a list of choices that is not filled in"


@pytest.mark.parametrize("width", ["80", "120"])
@pytest.mark.parametrize("verb", ALL)
def test_help_shows_every_flag_whole(verb, width, cuetune, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    _, out, _ = cuetune(*verb.split(), "--help")
    for each in command_of(ALL[verb]).params:
        for flag in (*each.opts, *each.secondary_opts):
            assert not flag.startswith("--") or re.search(rf"{re.escape(flag)}(?![\w-])", out), flag


def test_panels_stand_in_order(cuetune):
    _, out, _ = cuetune("tune", "--help")
    panels = re.findall(r"╭─ (\w+) ─", out)
    assert panels == ["Arguments", "Options", "Data", "Task", "Prompt", "Model", "Training", "Output"]


# Names that verbs use for what is theirs: which method, how long it runs, where it writes, what it starts from.
OF_EACH_VERB = (
    "to augment batch_size length method method_options model price_per_hour rank seed shots sizes start steps"
)


def test_one_field_one_help():
    """An option of one name means one thing in all verbs, and is documented once."""
    texts = {}
    for verb in ALL:
        for name, (_, option) in declared(verb).items():
            texts.setdefault(name, set()).add(option.help)
    assert {name for name, helps in texts.items() if len(helps) > 1} <= set(OF_EACH_VERB.split())


@pytest.mark.parametrize("verb", PYTHON)
def test_python_takes_the_same_names_and_defaults(verb):
    keywords = dict.fromkeys(MODALITIES)  # their columns, by the modality's name
    for function in reversed(PYTHON[verb]):
        keywords |= {name: each.default for name, each in inspect.signature(function).parameters.items()}
    for group in groups(verb):
        for option in options_of(group):
            name, default = option.name, option.default
            if isinstance(group, Fields):
                field = group.kind.model_fields[name]
                assert name in group.defaults or default == (None if field.default_factory else field.default), name
            elif name in OF_SOURCES or name in OF_MODELS:
                assert default == {**OF_SOURCES, **OF_MODELS}[name], name
            else:
                assert name in keywords, f"{verb}: Python has no {name}"
                usual = keywords[name]
                assert usual is inspect.Parameter.empty or usual == default or not (usual or default), (
                    name,
                    usual,
                    default,
                )
    rest = set(declared(verb)) - {each.name for group in groups(verb) for each in options_of(group)} - OF_COMMANDS
    assert rest <= set(keywords), rest


def test_attributes_of_sources_and_settings_are_options():
    assert set(inspect.signature(Source.__new__).parameters) - {"cls", "name"} == {
        "splits", "media_root", "allow_download", "layout",
    }  # fmt: skip
    assert set(Settings.model_fields) <= set(declared("tune"))


@pytest.mark.parametrize("verb", ALL)
def test_config_keys_are_the_options(verb):
    """The keys that `--config` takes are the command's parameters."""
    if not groups(verb):
        return
    command = command_of(ALL[verb])
    assert set(inspect.signature(inspect.unwrap(command.callback)).parameters) == {
        each.name for each in command.params
    } - {"help"}


def test_listed_names_are_those_of_the_registries():
    assert {name: list(each) for name, each in choices.PROMPTS.items()} == {
        name: list(methods) for name, methods in METHODS.items() if name in MODALITIES
    }
    assert {name: list(choices.compared(name)) for name in MODALITIES} == {
        name: list(methods) for name, methods in CONTENDERS.items()
    }
    lists = (choices.WORDINGS, choices.LEARNERS, choices.SEARCHES, choices.MIXINGS, choices.RANKINGS)
    assert lists == (WORDINGS, tuple(sorted(LEARNERS)), tuple(SEARCHES), tuple(MIXINGS), tuple(RANKINGS))
    assert choices.filled("One of {searches}; {text} stays.") == f"One of {', '.join(SEARCHES)}; {{text}} stays."


def test_help_loads_no_torch():
    """Every verb's help lists names in a fraction of a second."""
    code = (
        "import sys; from cuetune.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules"
    )
    for verb in ("tune", "compare", "learn"):
        done = subprocess.run([sys.executable, "-c", code, verb, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_audio_prompts_are_in_the_help_of_tune(cuetune):
    _, out, _ = cuetune("tune", "--help")
    assert all(name in out for name in METHODS["audio"])


def sources():
    return sorted(Path(package.__file__).parent.joinpath("cli").glob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.stem)
def test_functions_are_short_and_take_few_parameters(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            taken = len(node.args.args) + len(node.args.kwonlyargs)
            assert node.end_lineno - node.lineno < 60, (
                f"{path.name}: {node.name} has {node.end_lineno - node.lineno + 1}"
            )
            assert taken <= 12, f"{path.name}: {node.name} takes {taken}"


def test_a_field_that_is_no_option_is_refused():
    with pytest.raises(typer.TyperException if hasattr(typer, "TyperException") else Exception):
        command_of(ALL["cost"]).make_context("cost", ["--nothing", "1"])
