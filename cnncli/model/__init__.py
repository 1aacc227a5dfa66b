"""A network whose every shape and count is known before anything is computed."""

from cnncli.model.network import Model, Node, Slot
from cnncli.model.sources import load_model, parse_model

__all__ = ["Model", "Node", "Slot", "load_model", "parse_model"]
