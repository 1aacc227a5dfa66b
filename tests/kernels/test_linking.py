"""Object files: what they refer to is known before LLVM links them, and linked code does what compiled code does."""

import ctypes
import math

import llvmlite.binding as llvm
import numpy as np
import pytest

from cnncli.compute.arguments import Operand, Reals, pack
from cnncli.compute.kernel import CompiledKernel
from cnncli.compute.linking import is_linkable, link, undefined_symbols

FUNCTIONS = ["exp", "log", "tanh", "erf", "log1p", "expm1", "sqrt", "pow"]


def _mathematics(x: Reals, y: Reals) -> None:
    y[0], y[1], y[2], y[3] = math.exp(x[0]), math.log(x[0]), math.tanh(x[0]), math.erf(x[0])
    y[4], y[5], y[6], y[7] = math.log1p(x[0]), math.expm1(x[0]), math.sqrt(x[0]), math.pow(x[0], x[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_the_mathematical_library_are_found(dtype):
    made = CompiledKernel(_mathematics, is_cached=False).compile(dtype)
    assert is_linkable(made.code)
    x, y = np.full(1, 0.75, dtype), np.zeros(8, dtype)
    packed, _ = pack(made.takes, {"x": Operand(x), "y": Operand(y)}, "mathematics")
    words = np.array([1, *packed])  # one part, then the operands
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    call(link(made.symbol, made.code))(words.ctypes.data, 0, 0)
    expected = [getattr(math, name)(*[0.75] * (2 if name == "pow" else 1)) for name in FUNCTIONS]
    assert list(y) == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-14)


def _double(x: Reals, y: Reals) -> None:
    y[0] = 2 * x[0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_code_that_llvm_could_not_hand_over_works_and_is_not_kept(monkeypatch):
    def lost(*_):
        raise RuntimeError("lost in the callback")

    monkeypatch.setattr(llvm.ExecutionEngine, "_find_module_ptr", lost)
    made = CompiledKernel(_double, is_cached=False).compile("float64")
    assert made.code == b""
    x, y = np.full(1, 0.75), np.zeros(1)
    packed, _ = pack(made.takes, {"x": Operand(x), "y": Operand(y)}, "double")
    words = np.array([1, *packed])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(made.address)(words.ctypes.data, 0, 0)
    assert y[0] == 1.5


CALLER = """
target triple = "{triple}"
declare i64 @no_such_function(i64)
declare double @exp(double)
define i64 @caller(i64 %x, double %y) {{
  %a = call i64 @no_such_function(i64 %x)
  %b = call double @exp(double %y)
  %c = fptosi double %b to i64
  %d = add i64 %a, %c
  ret i64 %d
}}
"""


@pytest.mark.parametrize(
    "triple", ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-macosx11", "arm64-apple-macosx11"]
)
def test_what_an_object_file_refers_to(triple):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError as error:
        pytest.skip(f"this LLVM makes no code for {triple}: {error}")
    code = target.create_target_machine().emit_object(llvm.parse_assembly(CALLER.format(triple=triple)))
    assert sorted(undefined_symbols(code)) == ["exp", "no_such_function"]
    assert not is_linkable(code)
    with pytest.raises(ValueError, match="not linkable"):
        link("caller", code)


@pytest.mark.parametrize("code", [b"", b"MZ", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 100,
                                  b"\xcf\xfa\xed\xfe" + b"\xff" * 100])  # fmt: skip
def test_what_is_no_object_file_is_not_linked(code):
    assert not is_linkable(code)


def test_a_missing_function_is_an_error():
    made = CompiledKernel(_mathematics, is_cached=False).compile("float32")
    with pytest.raises(ValueError, match="no such symbol"):
        link("nothing", made.code)
