"""`cuetune tune`: from a file with labelled rows to a saved prompt."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cuetune.cli import options as o
from cuetune.cli.config import Config

KINDS = (
    "soft",
    "prefix",
    "prefix-mlp",
    "p-tuning-v2",
    "p-tuning",
    "residual",
    "decomposed",
    "ultra-low",
    "dept",
    "late",
)
PICTURES = ("vpt", "vpt-shallow", "prefix", "frame", "patch")
PROMPTS = (
    f"One of {', '.join(KINDS)}; in words, nothing tuned: hard, calibrated, nearest; soft-from-hard; multitask. For "
    f"pictures: {', '.join(PICTURES)}; for clips these and temporal. Else soft, for pictures vpt (on convolutional "
    "networks frame), for clips temporal."
)


def tune(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, JSONL or Parquet file, a folder of classes of pictures, or a name (`cuetune data`)."
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder for the saved prompt.")],
    validation: Annotated[
        str | None, typer.Option(help="Rows to choose the best step on; else a tenth of DATA.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Rows to report scores on; else a fifth of DATA.")] = None,
    text: o.Text = None,
    image: o.Image = None,
    audio: o.Audio = None,
    video: o.Video = None,
    label: o.Label = None,
    labels: o.Labels = None,
    task: o.TaskKind = None,
    labels_from: o.LabelsFrom = None,
    label_delimiter: o.LabelDelimiter = None,
    label_words: o.LabelWords = None,
    template: o.Template = None,
    instruction: o.Instruction = None,
    columns: o.Columns = None,
    max_tokens: o.MaxTokens = None,
    generate: Annotated[bool, typer.Option("--generate", help="The answer is free text, not one of a set.")] = False,
    encoding: o.Encoding = "utf-8",
    delimiter: o.Delimiter = None,
    quoting: o.Quoting = "standard",
    column_names: o.ColumnNames = None,
    group_by: o.GroupBy = None,
    hold_out: o.HoldOut = None,
    skip_unreadable: o.SkipUnreadable = False,
    no_splits: o.NoSplits = False,
    media_root: o.MediaRoot = None,
    allow_download: o.AllowDownload = False,
    prompt: Annotated[str | None, typer.Option(help=PROMPTS)] = None,
    prompt_options: Annotated[
        list[str] | None,
        typer.Option("--prompt-option", help="name=value of this kind of prompt; repeatable: rank=64."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Saved prompt to begin from or to calibrate; for multitask a universal one.")
    ] = None,
    train_rows: Annotated[
        int | None,
        typer.Option(help="Learn from so many rows, drawn label by label (few-shot); the last step is kept."),
    ] = None,
    shots: Annotated[int, typer.Option(help="Demonstrations in prompts of words and in the few-shot baseline.")] = 8,
    init: Annotated[str, typer.Option(help="Where a soft prompt starts: text, labels, vocabulary or random.")] = "text",
    init_text: Annotated[str | None, typer.Option(help="The text to start from; else the instruction.")] = None,
    length: Annotated[int, typer.Option(help="Virtual tokens.")] = 20,
    readout: Annotated[
        str,
        typer.Option(
            help="How labels are read: words (of the vocabulary), head (a trained classifier), classes (of the model, "
            "each standing for a label; pictures), or auto."
        ),
    ] = "auto",
    pooling: Annotated[str | None, typer.Option(help="The state a head reads: first, last or mean; else auto.")] = None,
    head_layer: o.HeadLayer = None,
    augment: o.Augment = "none",
    head_init: Annotated[
        str, typer.Option(help="Where a head begins: as a linear probe on the frozen model (probe), or random.")
    ] = "probe",
    steps: Annotated[int | None, typer.Option(help="Updates; else two passes over the data, 60 to 400.")] = None,
    batch_size: Annotated[int, typer.Option(help="Rows in one update.")] = 16,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's; else it follows the embeddings' size.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps of linear rise; else 10.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between validations; else an eighth.")] = None,
    patience: Annotated[int, typer.Option(help="Validations without a better score before stopping.")] = 5,
    seed: Annotated[int, typer.Option(help="Decides splits, order of rows and random starts.")] = 0,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Less memory for a third more time.")] = False,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the model's layers first.")] = False,
    baselines: Annotated[
        bool, typer.Option(help="Also score zero-shot and few-shot prompts, for pictures a linear probe.")
    ] = True,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard scalars to the run folder.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over instead of going on with a stopped run.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the prompt that stands at --to.")] = False,
    model: o.AnyModel = None,
    revision: o.Revision = None,
    dtype: o.Dtype = "auto",
    device: o.Device = "auto",
    trust_remote_code: o.TrustRemoteCode = False,
    config: Config = None,
) -> None:
    """Tune a prompt on labelled rows, score it beside the same task said in words (pictures: a probe), and save it.

    `cuetune tune reviews.csv --to prompts/reviews`

    `cuetune tune train.jsonl --test test.jsonl --text body --label topic --to prompts/topics`

    `cuetune tune reviews.csv --prompt prefix --length 10 --to prompts/reviews-prefix`

    `cuetune tune pairs.csv --text english --label french --generate --to prompts/french`

    `cuetune tune comments.csv --labels-from toxic,insult,threat --to prompts/comments`

    `cuetune tune reviews.csv --label score --task regression --to prompts/scores`

    `cuetune tune pictures/ --prompt vpt --length 10 --to prompts/pictures`

    `cuetune tune --config examples/spam-mails/config.toml`

    A run that was stopped goes on when the same command is given again. Ctrl-C keeps the best step so far.
    """
    from cuetune.cli.report import report_tuned
    from cuetune.tuning.session import tune as run
    from cuetune.tuning.settings import Settings

    values: dict[str, Any] = {
        "prompt_options": o.as_mapping(prompt_options, "--prompt-option", "rank=64") or {},
        "init": init,
        "init_text": init_text,
        "length": length,
        "readout": readout,
        "pooling": pooling,
        "head_layer": head_layer,
        "augment": augment,
        "head_init": head_init,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "evaluate_every": evaluate_every,
        "patience": patience,
        "seed": seed,
        "gradient_checkpointing": gradient_checkpointing,
        "compile": compile,
    }
    tuned = run(
        o.source(data, no_splits, media_root, allow_download, (delimiter, quoting, column_names)),
        to,
        validation=validation,
        test=test,
        model=model,
        prompt=prompt,
        start=start,
        shots=shots,
        train_rows=train_rows,
        settings=o.checked(Settings, values),
        baselines=baselines,
        skip_unreadable=skip_unreadable,
        restart=restart,
        overwrite=overwrite,
        tensorboard=tensorboard,
        model_options=o.model_options(revision, dtype, device, trust_remote_code),
        text=text,
        image=image,
        audio=audio,
        video=video,
        label=label,
        labels=o.as_list(labels),
        kind=task,
        labels_from=o.as_list(labels_from),
        label_delimiter=label_delimiter,
        label_words=o.as_list(label_words),
        template=template,
        instruction=instruction,
        columns=o.as_mapping(columns),
        max_tokens=max_tokens,
        generate=generate,
        encoding=encoding,
        group_by=group_by,
        hold_out=o.as_hold_out(hold_out),
    )
    report_tuned(tuned, to, model)
    o.end_if_stopped(tuned)
