"""Texts: language models of transformers, with prompts before and in them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuetune.errors import CuetuneError
from cuetune.modalities.base import Modality


class TextModality(Modality):
    """Texts in columns of a table, put into a template."""

    name = "text"
    plural = "texts"
    kinds = ("causal", "encoder", "encoder-decoder", "sentences")
    model = "smollm2-135m"
    prompt = "soft"
    compared = ("zero-shot", "few-shot", "linear-probe", "soft", "prefix", "late", "lora", "fine-tuning")
    starts_from_words = True

    def loads(self, config: Any) -> bool:
        """Whether a configuration is that of a causal language model, whatever else it takes."""
        from cuetune.backbones.compat.text import also_reads_texts

        return also_reads_texts(config)

    def load(self, name: str, **options: Any) -> Any:
        from cuetune.backbones.loading import load_text_backbone

        return load_text_backbone(name, **options)

    def holds(self, rows: Sequence[Any]) -> bool:
        return True

    def read(self, source: Any, *, encoding: str = "utf-8", labelled: bool = True) -> Iterator[Any]:
        from cuetune.data.reading import read_rows

        return read_rows(source, encoding=encoding)

    def infer(self, rows: Sequence[Any], **options: Any) -> Any:
        from cuetune.data.task_inference import infer_task

        return infer_task(rows, **options)

    def outline(self, model: str) -> Any:
        from cuetune.backbones.outline import load_outline

        return load_outline(model)

    def chat_options(self, model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        from cuetune.data.chat_template import is_chat

        if not is_chat(options.get("template")):
            return {}
        named = model is None or isinstance(model, str)
        return {"tokenizer": self.tokenizer(model or self.model) if named else model.tokenizer}

    def tokenizer(self, model: str) -> Any:
        from cuetune.backbones.loading import load_tokenizer

        return load_tokenizer(model)

    def cut_in(self, run: Any) -> list[str]:
        count = sum(row.cut > 0 for row in run.rows)
        lines = [self.cut(count, run.task, run.renderer.max_text)] if count else []
        if run.cut_answers:
            lines.append(
                f"{run.cut_answers:,} answers are longer than {run.readout.max_answer:,} tokens (the model's positions "
                "leave no more): what stands behind is not learned."
            )
        return lines

    def methods(self) -> Mapping[str, Any]:
        from cuetune.prompts.start_text import TEXT_METHODS

        return TEXT_METHODS

    def methods_of(self, backbone: Any) -> Mapping[str, Any]:
        """A model on the plain path takes prompts at the embedding layer only."""
        from cuetune.prompts.start_text import DEEP

        taken = super().methods_of(backbone)
        return {name: each for name, each in taken.items() if name not in DEEP or not backbone.path_reason}

    def contenders_of(self, backbone: Any) -> Mapping[str, Any]:
        """An encoder-decoder has no state that a linear probe reads."""
        taken = super().contenders_of(backbone)
        return {name: each for name, each in taken.items() if name != "linear-probe" or not backbone.answers_apart}

    def begin(
        self, backbone: Any, data: Any, method: str, shots: int, settings: Any, start: str | Path | None = None
    ) -> Any:
        from cuetune.tuning.beginning import first_text_prompt

        if settings.head_layer is not None:
            raise CuetuneError("--head-layer is for pictures; a prompt for texts is read at the last layer.")
        return first_text_prompt(backbone, data, method, shots, settings, start)

    def refuse_unknown(self, backbone: Any, task: Any, examples: Sequence[Any]) -> None:
        from cuetune.data.templating import Renderer

        if len(backbone.tokenizer) > len(backbone.embedding_table()):  # it got tokens that the model did not get
            for _ in Renderer(backbone.tokenizer, task).render(examples):
                pass

    def readout_note(self, backbone: Any, task: Any, readout: str) -> str | None:
        from cuetune.readouts import why_head

        if readout != "auto" or task.generates or (reason := why_head(backbone, task)) is None:
            return None
        return f"{reason}: a head is trained instead (--readout head)"

    def measured(self, backbone: Any, task: Any, examples: Sequence[Any]) -> Any:
        from cuetune.readouts import GeneratedText

        if not task.generates:
            return task
        lengths = GeneratedText(backbone, task).lengths([str(example.label) for example in examples])
        return replace(task, max_answer=max(lengths, default=None))

    def run(self, backbone: Any, prompt: Any, data: Any, settings: Any, rows: int, folder: Path | None) -> Any:
        from cuetune.tuning.runs import TextRun

        return TextRun(backbone, prompt, data, settings, rows)

    def predictor(
        self, backbone: Any, task: Any, prompt: Any, head: Any = None, *, writing: Any = None, skipped: Any = None
    ) -> Any:
        from cuetune.prediction.edited import EditedPredictor
        from cuetune.prediction.text import Predictor
        from cuetune.readouts import TextHead

        answers = EditedPredictor if prompt.kind == "corrected" else Predictor
        return answers(backbone, task, prompt, writing, TextHead.of(backbone, task, head) if head else None)

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
        from cuetune.evaluation.baselines import probe_beside
        from cuetune.evaluation.evaluate import in_words

        if not task.answers.in_words:
            try:
                return dict(probe_beside(task, self.features(backbone, task), shown))
            except CuetuneError:  # a model that has no features for a probe
                return {}
        return dict(in_words(backbone, task, shown, shots, seed, writing))

    def features(self, backbone: Any, task: Any, layer: int | None = None) -> Any:
        from cuetune.evaluation.features import TextFeatures

        return TextFeatures(backbone, task)

    def contenders(self) -> Mapping[str, Any]:
        from cuetune.comparison.contenders import CONTENDERS

        return CONTENDERS
