"""Kernels by name, text and file; borders; steps; the conventions of other tools."""

from cnncli.filters.borders import Border, parse_border
from cnncli.filters.conventions import CONVENTIONS, Convention, convention
from cnncli.filters.geometry import Geometry, parse_padding, parse_pair, parse_scale, resolve
from cnncli.filters.kernel import Kernel
from cnncli.filters.kernel_text import parse_kernel_file, parse_literal, parse_matrix
from cnncli.filters.named import CATALOGUE, named_kernel
from cnncli.filters.steps import GrayStep, KernelStep, PointStep, PoolStep, RankStep, Step, parse_steps

__all__ = [
    "CATALOGUE",
    "CONVENTIONS",
    "Border",
    "Convention",
    "Geometry",
    "GrayStep",
    "Kernel",
    "KernelStep",
    "PointStep",
    "PoolStep",
    "RankStep",
    "Step",
    "convention",
    "named_kernel",
    "parse_border",
    "parse_kernel_file",
    "parse_literal",
    "parse_matrix",
    "parse_padding",
    "parse_pair",
    "parse_scale",
    "parse_steps",
    "resolve",
]
