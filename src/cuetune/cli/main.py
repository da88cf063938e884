"""The command line: a dictionary verb -> function, with options made from its signature and docstring."""

import errno
import sys
from collections.abc import Callable

import typer

from cuetune.cli import (
    check,
    compare,
    cost,
    ensemble,
    evaluate,
    fix,
    learn,
    library,
    multitask,
    predict,
    recycle,
    search,
    show,
    transfer,
    tune,
    worth,
)
from cuetune.cli.expand import add_verb
from cuetune.cli.process import prepare_process
from cuetune.errors import CuetuneError
from cuetune.support import console, plugins, signals
from cuetune.support.standard_output import Output, OutputError, ReaderGoneError, standard_streams

VERBS: dict[str, Callable[..., None]] = {
    "tune": tune.tune,
    "predict": predict.predict,
    "evaluate": evaluate.evaluate,
    "compare": compare.compare,
    "worth": worth.worth,
    "ensemble": ensemble.ensemble,
    "search": search.search,
    "transfer": transfer.transfer,
    "recycle": recycle.recycle,
    "learn": learn.learn,
    "fix": fix.fix,
    "show": show.show,
    "check": check.check,
    "cost": cost.cost,
}
GROUPS = {"library": library.app, "multitask": multitask.app}

STOPPED = 130  # the exit code of what Ctrl-C ended

app = typer.Typer(
    help="Tune the prompt, not the model: adapt one frozen model to many tasks.\n\nStart with `cuetune demo`.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
added = {name: command for name, command in plugins.commands() if name not in {**VERBS, **GROUPS}}
for verb, command in {**added, **VERBS, **GROUPS}.items():
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=verb)
    else:
        add_verb(app, verb, command)


def version(wanted: bool) -> None:
    if wanted:
        from cuetune import __version__

        console.say(f"cuetune {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line. Mistakes that a user can mend end with one line and exit code 2.

    Ctrl-C ends with 130 and SIGTERM with 143, and both clean up first.
    A reader that has gone away (`| head`) ends it quietly with 141; standard output that is full, with one line and 74.
    """
    try:
        prepare_process()
        with standard_streams() as out, signals.heard():
            code = _run(out)
    except KeyboardInterrupt:  # before the command began, or when it had ended
        code = signals.exit_code()
    sys.exit(code)


def _check_arguments(arguments: list[str]) -> None:
    """Raise CuetuneError for an argument that is not UTF-8: nothing could be made of it, and nothing printed."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            byte = ord(argument[error.start]) & 0xFF
            raise CuetuneError(f"argument {number}: byte 0x{byte:02x} is not UTF-8; type it anew in UTF-8.") from error


def _run(out: Output) -> int:
    """The exit code of the command that was given."""
    try:
        _check_arguments(sys.argv[1:])
        code = app(standalone_mode=False) or 0
        out.flush()
    except OutputError as error:
        out.abandon()
        if isinstance(error, ReaderGoneError):
            return 141
        console.fail(error)
        return 74  # EX_IOERR
    except CuetuneError as error:
        console.fail(error)
        return 2
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        console.fail(f"{str(error.filename)[:60]}…: the name is too long for a file; name another.")
        return 2
    except typer.TyperException as error:  # of an option or an argument
        return _misused(error)
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:  # which typer too makes of a KeyboardInterrupt
        console.note("stopped.")
        return signals.exit_code()
    return code


def _misused(error: typer.TyperException) -> int:
    """One line for words that are no command, with where to read on. Help that was printed instead is all there is."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ != "NoArgsIsHelpError":
        more = f" See {context.command_path} --help." if context else ""
        if set(sys.argv[1:2]) & {*plugins.CATALOG_COMMANDS} and not plugins.offers(plugins.COMMANDS):
            more = f" {plugins.advice(plugins.COMMANDS)}"
        console.fail(f"{error.format_message().rstrip('.')}.{more}")
    return error.exit_code
