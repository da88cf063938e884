"""Recordings: models of sound, with prompts in the sound, in front of it, and in front of what is written of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.modalities.media import OF_TEXTS, MediaModality


class AudioModality(MediaModality):
    """Recordings in folders of classes, in tables of paths or in data sets: told apart by a head, or written."""

    name = "audio"
    plural = "recordings"
    kinds = ("audio",)
    model = "whisper-tiny-en"
    prompt = "deep"
    compared = ("linear-probe", "shallow", "deep", "prefix", "wave", "fine-tuning")

    def load(self, name: str, **options: Any) -> Any:
        from cuetune.backbones.audio_loading import load_audio_backbone

        options.pop("trust_remote_code", None)  # no family that is known brings code of its own
        return load_audio_backbone(name, **options)

    def media(self) -> Any:
        from cuetune.data.media.audio_files import SOUNDS

        return SOUNDS

    def infer(self, rows: Sequence[Any], **options: Any) -> Any:
        from cuetune.data.media.audio_files import infer_transcripts

        self._refuse(options, OF_TEXTS)
        column, language = options.pop("audio", None), options.pop("instruction", None)
        writes = options.pop("generate", None) or options.get("kind") == "generation"
        if writes and options.pop("kind", "generation") == "generation":
            return infer_transcripts(rows, column=column, language=language or "", **options)
        if language:
            raise CuetuneError("--instruction names the language of a transcript; labels need none, leave it.")
        return self.media().infer(rows, column=column, **options)

    def faults(self, examples: Sequence[Any], task: Any) -> Sequence[CuetuneError | None]:
        from cuetune.data.media.audio_batches import faults

        return faults(examples, task)

    def checked(self, examples: Sequence[Any], task: Any, preparation: Any, table: Any) -> Sequence[Any]:
        from cuetune.data.media.audio_batches import checked

        if preparation is None:
            return super().checked(examples, task, preparation, table)
        return checked(examples, task, preparation, table)

    def notes(self, examples: Sequence[Any], task: Any) -> list[str]:
        from cuetune.data.media.audio_batches import RATE, conversions

        return conversions(examples, task).lines(RATE)

    def seen(self, model: str, task: Any, example: Any) -> list[str]:
        from cuetune.backbones.audio_loading import load_hearing
        from cuetune.data.media.audio_batches import conversions, listen

        hearing = load_hearing(model)
        ((_, (wave,)),) = listen([example], task, hearing)
        done = conversions([example], task, hearing.rate, hearing.longest / hearing.rate)
        said = "; ".join(done.lines(hearing.rate)) or "as it is"
        return [f"{example.where}: {model} hears {len(wave) / hearing.rate:.2f} s ({said})"]

    def methods(self) -> Mapping[str, Any]:
        from cuetune.prompts.start_audio import AUDIO_METHODS

        return AUDIO_METHODS

    def run(self, backbone: Any, prompt: Any, data: Any, settings: Any, rows: int, folder: Path | None) -> Any:
        from cuetune.tuning.runs import AudioRun

        return AudioRun(backbone, prompt, data, settings, rows, folder)

    def predictor(
        self, backbone: Any, task: Any, prompt: Any, head: Any = None, *, writing: Any = None, skipped: Any = None
    ) -> Any:
        from cuetune.prediction.audio import AudioPredictor
        from cuetune.readouts import MediaHead, audio_readout

        if head is None and not task.generates:
            raise CuetuneError(f"a {prompt.kind!r} prompt for sounds without a trained head; tune it again.")
        readout = MediaHead.of(backbone, task, head) if head else audio_readout(backbone, task)
        return AudioPredictor(backbone, task, prompt, readout, skipped)

    def baselines(
        self,
        backbone: Any,
        task: Any,
        shown: Sequence[Any],
        *,
        head: Any = None,
        shots: int = 8,
        seed: int = 0,
        writing: Any = None,
    ) -> dict[str, Any]:
        if task.generates:
            from cuetune.prediction.audio import untuned

            return {"untuned": untuned(backbone, task)}
        return super().baselines(backbone, task, shown, head=head)

    def features(self, backbone: Any, task: Any, layer: int | None = None, head: Any = None) -> Any:
        from cuetune.evaluation.features import features_of

        return features_of(self.name, backbone, task, layer, head)

    def contenders(self) -> Mapping[str, Any]:
        from cuetune.comparison.contenders import AUDIO_CONTENDERS

        return AUDIO_CONTENDERS
