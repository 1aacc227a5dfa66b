"""The plan of a network in words: what runs in which phase, in how many tasks, and what lies in memory how long."""

from __future__ import annotations

from dataclasses import dataclass

from cnncli.engine.layout import Layout
from cnncli.engine.placement import Slot
from cnncli.engine.plan import BoundPlan, Plan
from cnncli.model import Model
from cnncli.optim.optimizers import Recipe


@dataclass(frozen=True)
class PlannedStep:
    """One step of a phase.

    Parameters
    ----------
    phase : int
        Steps of one phase run without waiting for other blocks of images.
    name : str
        Node and pass; ``+ relu`` where it does the work of another step besides.
    scope : {"block", "batch"}
        Done for every block of images, or once for the batch.
    tasks : int
        Into how many pieces of work it is divided that threads can do at the same time.
    writes : str
        What it writes and how long that lives: ``kept 0-6`` from phase to phase for every block of images, ``worker``
        within its phase, once per thread.
    bytes : int
        Of what it writes [bytes], for every block or every thread.
    """

    phase: int
    name: str
    scope: str
    tasks: int
    writes: str
    bytes: int


@dataclass(frozen=True)
class PlanSummary:
    """All steps of a plan and the memory of the whole session [bytes]."""

    steps: tuple[PlannedStep, ...]
    phases: int
    plan_bytes: int
    session_bytes: int


def summarise_plan(model: Model, *, batch_size: int, threads: int, is_training: bool) -> PlanSummary:
    """Return what training (or prediction) of a network is planned to do; nothing is compiled or allocated.

    Raises
    ------
    InvalidInputError
        If the network cannot be run.
    """
    layout = Layout(model, batch_size, threads, Recipe("adam"), "float32", is_counted_only=True)
    bound = layout.training if is_training and layout.training else layout.answer
    plan = bound.plan
    steps = tuple(_steps(bound))
    return PlanSummary(steps, len(plan.phases), plan.size_bytes, layout.size_bytes)


def _steps(bound: BoundPlan) -> list[PlannedStep]:
    found, plan = [], bound.plan
    for number, phase in enumerate(plan.phases):
        for step in phase.block_steps:
            name = " + ".join((step.name, *step.absorbed))
            slots = [plan.slot_of(value) for value in step.writes]
            size = sum(_bytes(plan, slot) for slot in slots)
            found.append(PlannedStep(number, name, "block", bound.tasks_of(step), ", ".join(map(_life, slots)), size))
        for step in phase.batch_steps:
            found.append(PlannedStep(number, step.name, "batch", step.tasks, "", 0))
    return found


def _life(slot: Slot) -> str:
    return f"kept {slot.begin}-{slot.end}" if slot.is_kept else "worker"


def _bytes(plan: Plan, slot: Slot) -> int:
    return slot.size * plan.dtype.itemsize * (1 if slot.is_kept else plan.threads)
