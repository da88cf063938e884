"""The table of families of images, audio and video in docs/models.md says what the installed transformers does."""

import sys
from pathlib import Path

import pytest
from transformers import CONFIG_MAPPING

from cuetune.backbones.families import REFUSED, check_family, medium, reason_against
from cuetune.backbones.registry import modality_of_model
from cuetune.errors import CuetuneError

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import media_types  # noqa: E402

TEXT = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
TABLE = TEXT.partition(media_types.BEGIN)[2].partition(media_types.END)[0].strip().splitlines()[2:]
WRITTEN = {cells[1].strip(" `"): cells[3].strip() for cells in (row.split("|") for row in TABLE)}
QUICK = ("vit", "siglip", "dpt", "aimv2", "clip", "beit", "mobilenet_v1", "vivit", "videomae")
QUICK += ("wav2vec2", "unispeech", "data2vec-audio", "whisper", "audio-spectrogram-transformer")


def test_every_family_is_in_the_table():
    assert set(WRITTEN) == set(media_types.families())


@pytest.mark.parametrize("family", QUICK)
def test_what_is_taken_equals_a_fresh_eager_copy(family):
    made = media_types.outcome(family)
    assert made.way, made.reason
    assert WRITTEN[family] == made.way
    assert max(made.difference, made.beside) < 1e-5


@pytest.mark.parametrize("family", [name for name, way in WRITTEN.items() if way.startswith("not taken")])
def test_what_is_not_taken_is_refused_before_its_weights_are_read(family, tmp_path):
    """In one line that names the family, why, and what to take; also from a folder that holds nothing else."""
    reason = WRITTEN[family].removeprefix("not taken: ")
    (tmp_path / "config.json").write_text(f'{{"model_type": "{family}"}}')
    with pytest.raises(CuetuneError) as caught:
        modality_of_model(str(tmp_path))
    line = str(caught.value)
    assert reason in line
    assert str(tmp_path) in line
    assert "attribute" not in line
    assert "\n" not in line
    assert len(line) < 500


def test_texts_and_models_that_write_of_images_are_left_to_texts():
    for family in ("llama", "bert", "t5", "gemma3", "llava", "qwen2_vl"):
        assert medium(CONFIG_MAPPING[family]()) is None
    assert medium(CONFIG_MAPPING["clip"]()) == "image"
    assert not reason_against("whisper", "audio")
    check_family("vit", "image", "m")
    with pytest.raises(CuetuneError, match="m: a model of audio of type 'wavlm' is not taken: .* Take Whisper"):
        check_family("wavlm", "audio", "m")
    assert all(reason[0].islower() and not reason.endswith(".") for reason in REFUSED.values())
