"""Saving: bit for bit, whole or not at all, and never in the place of anything but a saved prompt."""

import json
import os
import resource
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import safe_open

from cuetune.backbones.identity import BackboneIdentity
from cuetune.backbones.injection import Injection
from cuetune.data.task import Task
from cuetune.errors import CuetuneError
from cuetune.library.saving import public_name
from cuetune.library.tuned import TunedPrompt
from cuetune.prompts import HardPrompt, Prompt, SoftPrompt

IDENTITY = BackboneIdentity("tiny-llama", None, "ab" * 32, "cd" * 32, "llama", 6, 2, 2)


def tuned(prompt=None, **record):
    prompt = prompt or SoftPrompt(torch.arange(30.0).reshape(5, 6))
    identity = replace(IDENTITY, hidden_size=prompt.injection().tokens[0].shape[1])
    return TunedPrompt(prompt, Task(labels=("neg", "pos")), identity, record)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


numbers = hnp.arrays(
    "float32",
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
words = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
shared_folder = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@shared_folder
@given(numbers, words, st.lists(words, min_size=2, max_size=4, unique=True), st.dictionaries(words, json_values))
def test_every_prompt_comes_back_bit_for_bit(tmp_path, values, text, labels, chosen):
    task = Task(template=text + "{x}", labels=tuple(labels), label_words=tuple(labels), instruction=text, name=text)
    identity = replace(IDENTITY, hidden_size=values.shape[1], revision=text)
    made = TunedPrompt(SoftPrompt(torch.from_numpy(values)), task, identity, {"settings": chosen, "created": text})
    again = TunedPrompt.load(made.save(tmp_path / "p", overwrite=True))
    assert (again.task, again.backbone, again.record, again.origin) == (task, identity, made.record, "cuetune")
    # As integers: -0.0 and denormal numbers must survive too.
    assert again.prompt.embeddings.view(torch.int32).equal(torch.from_numpy(values).view(torch.int32))
    assert again.prompt.n_trained == values.size


def test_hard_prompts_keep_their_words(tmp_path):
    made = tuned(HardPrompt([4, 0, 9], torch.randn(3, 6)))
    again = TunedPrompt.load(made.save(tmp_path / "p"))
    assert again.prompt.ids == [4, 0, 9]
    assert torch.equal(again.prompt.embeddings, made.prompt.embeddings)
    assert again.prompt.n_trained == 0


def test_the_same_prompt_gives_the_same_bytes(tmp_path):
    made = tuned(seed=3)
    assert files(made.save(tmp_path / "a" / "p")) == files(made.save(tmp_path / "b" / "p"))


def test_the_embeddings_are_stored_once(tmp_path):
    folder = tuned().save(tmp_path / "p")
    assert set(files(folder)) == {"adapter_model.safetensors", "adapter_config.json", "cuetune.json", "README.md"}
    with safe_open(folder / "adapter_model.safetensors", "pt") as stored:
        assert stored.metadata() == {"format": "pt"}
        assert list(stored.keys()) == ["prompt_embeddings"]


class Product(Prompt):
    """A kind whose state is more than its embeddings: the product of two factors."""

    kind = ""  # registered by the test alone

    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = torch.nn.Parameter(left), torch.nn.Parameter(right)

    def injection(self):
        return Injection(tokens={0: self.left @ self.right})

    def spec(self):
        return {"rank": self.left.shape[1]}

    @classmethod
    def from_spec(cls, spec, tensors):
        assert spec == {"rank": tensors["left"].shape[1]}
        return cls(tensors["left"], tensors["right"])


@pytest.fixture
def product(monkeypatch):
    monkeypatch.setattr(Product, "kind", "product")
    monkeypatch.setitem(Prompt.kinds, "product", Product)
    return tuned(Product(torch.randn(5, 2), torch.randn(2, 6)))


def test_kinds_with_more_state_keep_all_of_it(tmp_path, product):
    folder = product.save(tmp_path / "p")
    again = TunedPrompt.load(folder)
    for name, value in product.prompt.state_dict().items():
        assert torch.equal(again.prompt.state_dict()[name], value)
    with safe_open(folder / "adapter_model.safetensors", "pt") as stored:  # and PEFT sees what they amount to
        assert torch.equal(stored.get_tensor("prompt_embeddings"), product.prompt.injection().tokens[0])
    state = folder / "prompt.safetensors"
    state.write_bytes(state.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(CuetuneError, match=r"prompt\.safetensors: .*SHA-256"):
        TunedPrompt.load(folder)
    state.unlink()
    with pytest.raises(CuetuneError, match=r"prompt\.safetensors: cannot be read"):
        TunedPrompt.load(folder)


def test_a_state_that_is_called_embeddings_but_is_not_what_is_injected_is_kept_too(tmp_path, monkeypatch):
    class Scaled(SoftPrompt):
        kind = ""

        def injection(self):
            return Injection(tokens={0: 2 * self.embeddings})

    monkeypatch.setattr(Scaled, "kind", "scaled")
    monkeypatch.setitem(Prompt.kinds, "scaled", Scaled)
    made = tuned(Scaled(torch.ones(5, 6)))
    again = TunedPrompt.load(made.save(tmp_path / "p"))
    assert torch.equal(again.prompt.embeddings, torch.ones(5, 6))
    assert torch.equal(again.prompt.injection().tokens[0], torch.full((5, 6), 2.0))


@pytest.mark.parametrize("call", ["pathlib.Path.write_bytes", "pathlib.Path.write_text", "os.fsync"])
def test_a_full_disk_leaves_the_earlier_prompt_whole(tmp_path, monkeypatch, call):
    folder = tuned().save(tmp_path / "p")
    before = files(folder)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(CuetuneError, match="No space left"):
            tuned(seed=1).save(folder, overwrite=True)
        with pytest.raises(CuetuneError, match="No space left"):
            tuned().save(tmp_path / "new")
    assert files(folder) == before
    assert os.listdir(tmp_path) == ["p"]


def test_a_disk_that_ends_in_the_middle_of_a_file(tmp_path):
    """Not a pretended error: the kernel refuses bytes beyond the limit, with a part of the file already written."""
    folder = tuned().save(tmp_path / "p")
    before = files(folder)
    larger = tuned(SoftPrompt(torch.zeros(400, 64)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(CuetuneError) as raised:
            larger.save(folder, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "File too large" in str(raised.value)
    assert files(folder) == before
    assert os.listdir(tmp_path) == ["p"]
    larger.save(folder, overwrite=True)
    assert TunedPrompt.load(folder).prompt.embeddings.shape == (400, 64)


def test_nothing_is_replaced_unasked(tmp_path):
    folder = tuned().save(tmp_path / "p")
    before = files(folder)
    with pytest.raises(CuetuneError, match="overwrite"):
        tuned(seed=1).save(folder)
    assert files(folder) == before
    tuned(seed=1).save(folder, overwrite=True)
    assert TunedPrompt.load(folder).record == {"seed": 1}


def strangers(folder, kind):
    """A folder that must survive --overwrite, and what the error must name."""
    if kind == "documents":
        folder.mkdir()
        (folder / "thesis.txt").write_text("years of work")
        return "not a saved prompt"
    if kind == "another adapter":
        folder.mkdir()
        (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        (folder / "adapter_model.safetensors").write_bytes(b"years of work")
        return "not a saved prompt"
    if kind == "a broken configuration":
        folder.mkdir()
        (folder / "adapter_config.json").write_text("[" * 10_000)
        return "not a saved prompt"
    if kind == "a file":
        folder.write_text("years of work")
        return "is a file"
    tuned().save(folder)
    if kind == "a prompt with notes":
        (folder / "notes.txt").write_text("years of work")
        return "notes.txt"
    if kind == "a repository":
        (folder / ".git").mkdir()
        return r"\.git"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    ["documents", "another adapter", "a broken configuration", "a file", "a prompt with notes", "a repository"],
)
def test_only_a_saved_prompt_is_overwritten(tmp_path, kind):
    folder = tmp_path / "p"
    said = strangers(folder, kind)
    before = sorted(path.stat().st_ino for path in [folder, *folder.rglob("*")])
    with pytest.raises(CuetuneError, match=said):
        tuned(seed=1).save(folder, overwrite=True)
    assert sorted(path.stat().st_ino for path in [folder, *folder.rglob("*")]) == before


def test_empty_folders_and_damaged_prompts_may_be_overwritten(tmp_path):
    (tmp_path / "empty").mkdir()
    tuned().save(tmp_path / "empty", overwrite=True)
    folder = tuned().save(tmp_path / "p")
    (folder / "adapter_config.json").unlink()
    (folder / ".DS_Store").write_bytes(b"")
    TunedPrompt.load(tuned().save(folder, overwrite=True))


def test_behind_a_link_the_prompt_is_replaced_and_not_the_link(tmp_path):
    real = tuned().save(tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    tuned(seed=1).save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert TunedPrompt.load(real).record == {"seed": 1}
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


SCORE = {"value": 0.5, "low": 0.4, "high": 0.6}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"seed": float("nan")}, "JSON"),
        ({"seed": "zero"}, "record.seed"),
        ({"created": "\ud800"}, "JSON"),
        ({"settings": {"model": torch.zeros(1)}}, "JSON"),
        ({"cost": {"seconds": 1.0}}, "record.cost.steps"),
        ({"scores": {"tuned": {"accuracy": SCORE}}}, "scored_rows"),
        ({"scores": {"tuned": {"accuracy": 0.9}}, "scored_rows": 2}, "record.scores.tuned.accuracy"),
        ({"data": None}, "data is null"),
    ],
)
def test_what_could_not_be_loaded_again_is_not_saved(tmp_path, record, said):
    with pytest.raises(CuetuneError, match=said):
        tuned(**record).save(tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_run_that_diverged_is_not_saved(tmp_path, bad):
    with pytest.raises(CuetuneError, match="not finite"):
        tuned(SoftPrompt(torch.tensor([[1.0, bad]]))).save(tmp_path / "p")


def test_an_empty_prompt_is_not_saved(tmp_path):
    with pytest.raises(CuetuneError, match="empty"):
        tuned(SoftPrompt(torch.zeros(0, 6))).save(tmp_path / "p")


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("smollm2-135m", "smollm2-135m"),
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"),
        ("/home/ada/models/llama", "llama"),
        ("/home/ada/models/llama/", "llama"),
        ("./models/llama", "llama"),
        ("~/llama", "llama"),
        ("models/mine/llama", "llama"),
        ("C:\\Users\\ada\\llama", "llama"),
    ],
)
def test_no_path_of_the_machine_is_recorded(tmp_path, name, public):
    assert public_name(name) == public
    made = tuned()
    folder = TunedPrompt(made.prompt, made.task, replace(made.backbone, name=name)).save(tmp_path / "p")
    assert TunedPrompt.load(folder).backbone.name == public
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == public
    for path in folder.iterdir():
        assert b"/ada" not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()


@pytest.mark.parametrize("content", ['{"x": 1}', '{"format": 2, "kind": "table"}', "{", ""])
def test_a_users_own_cuetune_json_is_no_saved_prompt(tmp_path, content):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "cuetune.json").write_text(content)
    (tmp_path / "p" / "README.md").write_text("years of work")
    with pytest.raises(CuetuneError, match="not a saved prompt"):
        tuned().save(tmp_path / "p", overwrite=True)
    assert (tmp_path / "p" / "README.md").read_text() == "years of work"


def test_a_prompt_whose_record_was_cut_short_may_be_overwritten(tmp_path):
    folder = tuned().save(tmp_path / "p")
    record = folder / "cuetune.json"
    record.write_text(record.read_text()[:60])
    TunedPrompt.load(tuned().save(folder, overwrite=True))


def test_a_folder_that_is_called_as_a_file_of_a_prompt_stays(tmp_path):
    folder = tuned().save(tmp_path / "p")
    (folder / "README.md").unlink()
    (folder / "README.md").mkdir()
    (folder / "README.md" / "mine").write_text("years of work")
    with pytest.raises(CuetuneError, match=r"README\.md"):
        tuned().save(folder, overwrite=True)
    assert (folder / "README.md" / "mine").read_text() == "years of work"


def test_a_prompt_that_another_program_changed_in_the_meantime_is_not_replaced(tmp_path):
    from cuetune.support.locking import locked

    folder = tuned().save(tmp_path / "p")
    with locked(folder):
        (folder / "README.md").write_text("written by another program")
        with pytest.raises(CuetuneError, match="changed by another program"):
            tuned(seed=1).save(folder, overwrite=True)
    assert (folder / "README.md").read_text() == "written by another program"
