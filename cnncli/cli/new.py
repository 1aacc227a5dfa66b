"""`cnn new`: a commented architecture file to start from, or the JSON Schema of the language."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cnncli.cli.options import hand_out, output_option
from cnncli.errors import UsageError, did_you_mean


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("preset", required=False)
@click.option("--schema", is_flag=True, help="Write the JSON Schema of architecture files.")
@click.option("--list", "list_presets", is_flag=True, help="List the presets.")
@output_option
def command(preset: str | None, schema: bool, list_presets: bool, output: str | None, force: bool) -> None:
    r"""Write a commented architecture file to start from.

    \b
    Examples:
      cnn new lenet5 > my.yaml            start from a preset
      cnn new resnet18 -o my.yaml         the same, never over an existing file
      cnn new --list                      all presets
      cnn new --schema > cnn.schema.json  for editors: completion and checks

    With the schema beside it, begin a file with `# yaml-language-server: $schema=cnn.schema.json`.
    """
    from cnncli.model.sources import ALIASES, preset_names, preset_text

    if schema + list_presets + (preset is not None) != 1:
        hint = "give the name of a preset, --list or --schema"
        raise UsageError("nothing to write" if not preset else "only one thing can be written at a time", hint=hint)
    names = preset_names()
    preset = ALIASES.get((preset or "").lower(), preset)
    known = (".json",) if schema else (".txt", ".md") if list_presets else (".yaml", ".yml")
    suffix = Path(output).suffix.lower() if output and output != "-" else ""
    if suffix and suffix not in known:
        raise UsageError(f"{suffix} is not a form of this output", where=output or "", hint=f"use {known[0]}")
    if schema:
        from cnncli.model.schema import language_schema

        text = json.dumps(language_schema(names), indent=1) + "\n"
    elif list_presets:
        width = max(map(len, names))
        text = "".join(f"{name.ljust(width)}  {_title(preset_text(name))}\n" for name in names)
    elif preset in names:
        text = preset_text(preset or "")
    else:
        hint = did_you_mean(preset or "", ALIASES, f"one of {', '.join(names)}")
        hint = did_you_mean((preset or "").lower(), names, hint)
        raise UsageError(f"unknown preset {(preset or '')[:40]!r}", hint=hint)
    hand_out(text, output, force=force, say=True)


def _title(text: str) -> str:
    """Return the first sentence of a preset's opening comment."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)
