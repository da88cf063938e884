"""The command line: a dictionary verb -> function, with options made from its signature and docstring."""

import sys
from collections.abc import Callable

import typer

from cuetune.cli import (
    check,
    compare,
    cost,
    data,
    demo,
    ensemble,
    evaluate,
    fix,
    learn,
    library,
    models,
    move,
    multitask,
    predict,
    recycle,
    search,
    show,
    tune,
    worth,
)
from cuetune.errors import CuetuneError

VERBS: dict[str, Callable[..., None]] = {
    "demo": demo.demo,
    "tune": tune.tune,
    "predict": predict.predict,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "worth": worth.worth,
    "ensemble": ensemble.ensemble,
    "search": search.search,
    "recycle": recycle.recycle,
    "move": move.move,
    "learn": learn.learn,
    "fix": fix.fix,
    "show": show.show,
    "check": check.check,
    "cost": cost.cost,
}
GROUPS = {"library": library.app, "models": models.app, "data": data.app, "multitask": multitask.app}

app = typer.Typer(
    help="Tune the prompt, not the model: adapt one frozen model to many tasks.\n\nStart with `cuetune demo`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for verb, function in VERBS.items():
    app.command(verb)(function)
for verb, group in GROUPS.items():
    app.add_typer(group, name=verb)


def version(wanted: bool) -> None:
    if wanted:
        from cuetune import __version__

        typer.echo(f"cuetune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line. Mistakes that a user can mend end with one line and exit code 2, Ctrl-C with 130."""
    try:
        app()
    except CuetuneError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except KeyboardInterrupt:
        typer.secho("stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
