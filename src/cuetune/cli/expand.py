"""Options are declared once, as documented fields of settings classes; this makes flags and TOML keys of them.

A verb is a function. A parameter whose annotation is a `Group`, or `Fields` of a pydantic class, stands for all fields
of that class: the command line and the config file take the fields, and the function gets an instance.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand
from typer.main import get_command
from typer.models import ArgumentInfo

from cuetune.cli.choices import filled
from cuetune.cli.config import Config
from cuetune.cli.parsing import as_list, as_lists, as_mapping, as_numbers, checked

# What stands for a table or a list where the command line, and typer, know texts only.
REPEATED: Any = list[str] | None
PARTS = (dict, list, tuple)
# The order of panels in help; a verb's own stand where "Prompt" does.
PANELS = ("Data", "Task", "Prompt", "Model", "Training", "Output")


def option(default: Any, help: str, *, flag: str = "", example: str = "", **how: Any) -> Any:
    """A field of a `Group`. flag: where it is not the field's name. example: a name=value pair. how: for typer."""
    return field(default=default, metadata={"help": help, "flag": flag, "example": example, "how": how})


class Group:
    """Options that several verbs share: a frozen dataclass whose fields are declared by `option`."""

    panel: ClassVar[str] = "Options"

    def given(self) -> dict[str, Any]:
        """The values by their names in Python."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True)
class Fields:
    """Fields of a pydantic class, which is imported when a verb's options are needed and not before.

    where: "module:Class". names: these fields only; else all. defaults: those of a verb, where they are not the
    class's.
    """

    where: str
    names: tuple[str, ...] = ()
    panel: str = "Training"
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Any:
        """The class."""
        module, name = self.where.split(":")
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Option:
    """One option. hint: the type of the field's value. example: a pair, where the value is a table."""

    name: str
    hint: Any
    default: Any
    help: str
    panel: str
    flag: str = ""
    example: str = ""
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What the value is: "lists" by name, "table" of texts by name, "list" of texts, "numbers" or "one"."""
        hint = self.hint
        if get_origin(hint) not in PARTS:
            hint = next((each for each in get_args(hint) if get_origin(each) in PARTS), hint)
        if get_origin(hint) is dict:
            return "lists" if get_origin(get_args(hint)[1]) is list else "table"
        return {list: "list", tuple: "numbers"}.get(get_origin(hint), "one")

    @property
    def spelled(self) -> str:
        """The flag as it is written on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"

    @property
    def text(self) -> str:
        """The help, with the choices where there are some."""
        if get_origin(self.hint) is not Literal:
            return self.help
        return f"{self.help.rstrip('.')}: {' | '.join(get_args(self.hint))}."

    def parameter(self) -> inspect.Parameter:
        """What typer makes the flag of. A switch that is off has one name; one that is on has --no-NAME too."""
        flag = f"{self.spelled}/--no-{self.spelled.removeprefix('--')}" if self.default is True else self.spelled
        typed = {"one": self.hint, "numbers": str | None}.get(self.kind, REPEATED)
        how = {"metavar": "<choice>", **self.how} if get_origin(self.hint) is Literal else self.how
        declared = typer.Option(flag, help=self.text, rich_help_panel=self.panel, **how)
        default = self.default if self.kind == "one" else None
        if self.kind == "numbers" and self.default:
            default = ",".join(map(str, self.default))
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[typed, declared]
        )

    def value(self, given: Any) -> Any:
        """What the field gets. Raises CuetuneError for a pair that is none."""
        if self.kind == "list":
            return as_list(given)
        if self.kind == "table":
            return as_mapping(given, self.spelled, self.example)
        if self.kind == "numbers":
            return as_numbers(given, self.spelled)
        return as_lists(given, self.spelled, self.example) if self.kind == "lists" else given


def options_of(group: Any) -> list[Option]:
    """The options that a `Group` or `Fields` stands for."""
    if isinstance(group, Fields):
        return list(_of_pydantic(group))
    hints = get_type_hints(group)
    return [
        Option(each.name, hints[each.name], each.default, panel=group.panel, **each.metadata) for each in fields(group)
    ]


def _of_pydantic(group: Fields) -> Iterator[Option]:
    known = group.kind.model_fields
    for name in group.names or known:
        declared, extra = known[name], known[name].json_schema_extra or {}
        usual = None if declared.default_factory else declared.default
        default, help = group.defaults.get(name, usual), declared.description or ""
        if default is None and usual is not None:
            help = f"{help} Default: {usual}."
        example = str((declared.examples or [""])[0])
        panel = extra.get("panel", group.panel)
        hint = declared.annotation if default is not None else declared.annotation | None
        yield Option(name, hint, default, help, panel, extra.get("flag", ""), example)


def made(group: Any, values: Mapping[str, Any]) -> Any:
    """An instance of the class from the values of its options. Raises CuetuneError for a value out of range."""
    options = {each.name: each for each in options_of(group)}
    read = {name: options[name].value(value) for name, value in values.items()}
    if not isinstance(group, Fields):
        return group(**read)
    known = group.kind.model_fields
    usual = {name: known[name].default for name in read}
    given = {name: value for name, value in read.items() if value is not None}
    changed = {name: value for name, value in given.items() if value != usual[name] or options[name].default is None}
    return checked(group.kind, changed)


def group_of(hint: Any) -> Any:
    """The `Group` or `Fields` that an annotation names, None for any other."""
    if inspect.isclass(hint) and issubclass(hint, Group):
        return hint
    return next((each for each in get_args(hint)[1:] if isinstance(each, Fields)), None)


def expanded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with all its options as keyword parameters, for typer and the config file."""
    hints = get_type_hints(verb, include_extras=True)
    groups = {name: group for name in inspect.signature(verb).parameters if (group := group_of(hints[name]))}
    parameters: list[inspect.Parameter] = []
    for name, each in inspect.signature(verb).parameters.items():
        if name in groups:
            parameters += [option.parameter() for option in options_of(groups[name])]
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
    parameters.sort(key=_place)
    if groups:
        parameters.append(inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config))

    def call(**values: Any) -> None:
        values.pop("config", None)
        given = {
            name: made(group, {each.name: values.pop(each.name) for each in options_of(group)})
            for name, group in groups.items()
        }
        verb(**values, **given)

    call.__doc__, call.__name__ = verb.__doc__, verb.__name__
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def _place(parameter: inspect.Parameter) -> int:
    """Where a parameter stands in help: arguments, then panels in their order."""
    declared = next(iter(get_args(parameter.annotation)[1:]), None)
    if isinstance(declared, ArgumentInfo):
        return -1
    panel = getattr(declared, "rich_help_panel", None)
    return PANELS.index(panel) if panel in PANELS else PANELS.index("Prompt")


class _Verb(TyperCommand):
    """A command with all its options. Choices are looked up where its help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for each in self.params:
            if getattr(each, "help", None):
                each.help = filled(each.help)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


class _Named(TyperCommand):
    """A command's name and help; its options are expanded when it is called, so that `cuetune --help` is quick."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return command_of(self.callback.verb).make_context(info_name, args, parent, **extra)  # type: ignore[union-attr]


def command_of(verb: Callable[..., None]) -> Any:
    """The command of one verb, with all its options."""
    app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    app.command(cls=_Verb)(expanded(verb))
    return get_command(app)


def add_verb(app: typer.Typer, name: str, verb: Callable[..., None]) -> None:
    """Make a verb a command of the app."""

    def named() -> None:
        """Stands for the verb in lists of commands."""

    named.__doc__ = verb.__doc__
    named.verb = verb  # type: ignore[attr-defined]
    app.command(name, cls=_Named)(named)
