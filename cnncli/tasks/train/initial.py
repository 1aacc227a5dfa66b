"""The first weights of a network from those of another one."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from cnncli.errors import InvalidInputError
from cnncli.io.checkpoint import read_weights
from cnncli.io.datasets.dataset import Dataset
from cnncli.model import Model

_NAMED = 4  # tensors that a note names


def initial_weights(source: str, model: Model, data: Dataset) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return the tensors of a run or safetensors file that a network has, too, by name, and notes on the others.

    Weights and running statistics fit where name and shape are the same. What does not fit, such as the head of a
    network for other classes, keeps the first values that the seed gives.

    Raises
    ------
    InvalidInputError
        It cannot be read, or nothing in it fits.
    """
    found, before = read_weights(source)
    slots = {slot.name: slot for slot in (*model.slots, *model.state_slots)}
    fits = {name: found[name] for name, slot in slots.items() if name in found and found[name].shape == slot.shape}
    if not fits:
        message = f"none of its {len(found)} tensors has name and shape of one of {model.name}"
        raise InvalidInputError(message, where=source, hint="give a run of the same network, or of one that begins so")
    notes = [f"{len(fits)} of {len(slots)} tensors begin as in {source}"]
    if others := [_difference(name, slots[name].shape, found) for name in slots if name not in fits]:
        notes.append(f"with new first values: {_listed(others)}")
    if unused := [name for name in found if name not in slots]:
        notes.append(f"not in {model.name}: {_listed(unused)} of {source}")
    if before is not None and (before.mean, before.std) != (data.mean, data.std):
        then, now = (f"mean {_numbers(one.mean)}, std {_numbers(one.std)}" for one in (before, data))
        notes.append(f"pixels of {data.name} have {now}; those that {source} was trained on had {then}")
    return fits, notes


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _difference(name: str, shape: tuple[int, ...], found: Any) -> str:
    return f"{name} ({_sizes(shape)}, there {_sizes(found[name].shape)})" if name in found else name


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
