"""Every prompt kind on the command line, ensembles of them, and starting from a saved one."""

import pytest

from cuetune.library.tuned import TunedPrompt
from cuetune.prompts.start_text import TEXT_METHODS
from tiny import folder, rows, write_csv

FAST = ("--steps", "2", "--evaluate-every", "2", "--batch-size", "4", "--length", "3", "--dtype", "float32")
QUICK = (*FAST, "--no-baselines", "--instruction", "Is it good or bad?")


@pytest.mark.parametrize("kind", TEXT_METHODS)
def test_each_kind_is_tuned_saved_shown_and_used(cuetune, tmp_path, kind):
    data, prompt = write_csv(tmp_path / "rows.csv", rows(60)), tmp_path / "prompt"
    code, out, err = cuetune("tune", data, "--to", prompt, "--model", folder(), "--prompt", kind, *QUICK)
    assert code == 0, err
    assert f"{kind}: tuning" in out
    code, out, err = cuetune("show", prompt)
    assert code == 0, err
    assert TunedPrompt.load(prompt).prompt.described() in out
    code, _, err = cuetune(
        "predict", prompt, data, "--to", tmp_path / "out.csv", "--model", folder(), "--dtype", "float32"
    )
    assert code == 0, err


def test_prompts_vote_and_other_prompts_are_refused(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    for seed in (0, 1):
        place = tmp_path / f"seed-{seed}"
        code, _, err = cuetune("tune", data, "--to", place, "--model", folder(), "--seed", seed, *QUICK)
        assert code == 0, err
    code, out, err = cuetune("ensemble", tmp_path / "seed-0", tmp_path / "seed-1", "--to", tmp_path / "both")
    assert code == 0, err
    assert "next: cuetune evaluate" in out
    code, out, err = cuetune("evaluate", tmp_path / "both", data, "--model", folder(), "--dtype", "float32")
    assert code == 0, err
    code, out, err = cuetune("show", tmp_path / "both")
    assert "2 prompts by majority" in out
    code, _, err = cuetune("tune", data, "--to", tmp_path / "other", "--model", folder("gpt2"), *QUICK)
    assert code == 0, err
    code, _, err = cuetune("ensemble", tmp_path / "seed-0", tmp_path / "other", "--to", tmp_path / "mixed")
    assert code == 2
    assert err.count("\n") == 1
    assert "made for tiny-gpt2" in err
    assert not (tmp_path / "mixed").exists()
    asked = (*QUICK, "--template", "{text} is it?")
    code, _, err = cuetune("tune", data, "--to", tmp_path / "asks", "--model", folder(), *asked)
    assert code == 0, err
    code, _, err = cuetune("ensemble", tmp_path / "seed-0", tmp_path / "asks", "--to", tmp_path / "mixed")
    assert code == 2
    assert "asks another question" in err


def test_a_run_starts_from_a_saved_prompt(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    words = (*QUICK, "--prompt", "hard", "--shots", "2")
    assert cuetune("tune", data, "--to", tmp_path / "words", "--model", folder(), *words)[0] == 0
    more = (*QUICK, "--prompt", "residual", "--prompt-option", "bottleneck=4", "--start", tmp_path / "words")
    code, _, err = cuetune("tune", data, "--to", tmp_path / "tuned", "--model", folder(), *more)
    assert code == 0, err
    assert TunedPrompt.load(tmp_path / "tuned").prompt.length == TunedPrompt.load(tmp_path / "words").prompt.length
    assert cuetune("tune", data, "--to", tmp_path / "kv", "--model", folder(), "--prompt", "prefix", *QUICK)[0] == 0
    code, _, err = cuetune(
        "tune", data, "--to", tmp_path / "again", "--model", folder(), "--start", tmp_path / "kv", *QUICK
    )
    assert code == 2
    assert "no virtual tokens at the embedding layer to start from" in err


def test_options_of_another_kind_are_one_line(cuetune, tmp_path):
    data = write_csv(tmp_path / "rows.csv", rows(60))
    for words, said in (
        (("--prompt-option", "rank=3"), "'soft' has no option 'rank'"),
        (("--prompt", "late", "--prompt-option", "layer"), "write name=value"),
        (("--prompt", "best"), "unknown prompt 'best'"),
    ):
        code, _, err = cuetune("tune", data, "--to", tmp_path / "p", "--model", folder(), *QUICK, *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
