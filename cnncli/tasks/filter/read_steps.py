"""The texts of `-k` as steps, with the files and the learned kernels that they name."""

from __future__ import annotations

# ruff: noqa: PTH113, PTH118
# names are kept as text, whatever bytes they hold
import os
from collections.abc import Sequence

from cnncli.errors import UsageError
from cnncli.filters import steps
from cnncli.filters.conventions import convention
from cnncli.filters.kernel import Kernel
from cnncli.filters.kernel_text import MAX_BYTES
from cnncli.filters.named import CATALOGUE, canonical_name
from cnncli.filters.steps import STEP_NAMES, Step
from cnncli.io.atomic import read_regular_file


def parse_steps(specs: Sequence[str], tool: str | None = None) -> tuple[Step, ...]:
    """Return the steps for the texts of ``-k``; ``@FILE`` and ``RUN:layer[i]`` are read from disk.

    `tool`, the name of a convention, says in which order kernel arrays hold their axes.

    Raises
    ------
    UsageError, InvalidInputError
        As `cnncli.filters.steps.parse_steps` and `cnncli.io.atomic.read_regular_file`.
    """
    order = convention(tool).order or None if tool else None
    try:
        return steps.parse_steps(
            specs, lambda path: read_regular_file(path, 16 * MAX_BYTES), _read_learned_kernel, order
        )
    except UsageError:
        for spec in specs:
            _refuse_whole_run(spec)
        raise


def _refuse_whole_run(spec: str) -> None:
    """Say how to name a kernel of a run, if `spec` is one, or a layer of one."""
    from cnncli.io.checkpoint import BEST
    from cnncli.tasks.filter.learned_kernel import layers_with_kernels

    source, _, layer = spec.partition(":")
    checkpoint = source if source.endswith(".safetensors") else os.path.join(source, BEST)
    if canonical_name(source) in (*CATALOGUE, *STEP_NAMES) or not os.path.isfile(checkpoint):
        return
    names = layers_with_kernels(source)
    chosen = layer if layer in names else names[0]
    hint = f"write {source}:{chosen}[0], or {source}:{chosen}[*] for all of the layer"
    raise UsageError(f"'{spec}' has many kernels (layers {', '.join(names)})", hint=hint)


def _read_learned_kernel(text: str) -> Kernel:
    from cnncli.tasks.filter.learned_kernel import read_learned_kernel

    return read_learned_kernel(text)
