"""`cuetune tune`: from a file with labelled rows to a saved prompt."""

from pathlib import Path
from typing import Annotated

import typer

from cuetune.cli.options import (
    ColumnsOption, EncodingOption, LabelOption, LabelsOption, LabelWordsOption, ModelOptions, TemplateOption, TextOption,
    parse_columns, parse_list,
)
