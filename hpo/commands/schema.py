"""``schema``: the JSON Schema of a sweep's file."""

from __future__ import annotations

import json

from chemprop_hpo.hpo.commands.console import write
from chemprop_hpo.hpo.commands.options import Debug

HELP = """\
Print the JSON Schema of a sweep's file.

An editor that knows the YAML language server completes and checks the file, where its first
line names the schema.

\b
Examples:
  chemprop-hpo schema > sweep.schema.json
  # first line of the YAML file, for the editor:
  # yaml-language-server: $schema=sweep.schema.json
"""


def schema(debug: Debug = False) -> None:
    """Write the schema to stdout."""
    from chemprop_hpo.configs.json_schema import sweep_json_schema

    write(json.dumps(sweep_json_schema(), indent=2))
