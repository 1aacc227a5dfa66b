"""What `--solve` answers, put back into `cnn shape`, and against trying every value."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import expect_error, run_cnn
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import ShapeError
from cnncli.tasks.shape.solver import Axis, solve

CNN = Path(sys.executable).with_name("cnn")


def windows(n, k, s, before, after, d, rounding):
    """Count windows one by one: each begins a stride after the one before."""
    reach = d * (k - 1) + 1
    count = 0
    while True:
        begin = count * s - before
        fits = begin + reach <= n + after
        # rounded up, a window may hang over the end, but it has to begin in the input or the zeros before it, and
        # some of the step that led to it has to lie on pixels that the windows before it have not covered
        hangs = rounding == "ceil" and begin < n and begin + reach - s < n + after
        if not (fits or hangs):
            break
        count += 1
    left = (n + before + after - reach) % s
    return 0 if rounding == "strict" and left else count


def length(kind, n, k, s, padding, d, rounding):
    """Return the output of a layer as its documentation describes it; 0 where it is refused."""
    s = s or (k if kind == "maxpool" else 1)
    reach = d * (k - 1) + 1
    if padding == "same":
        total = max((-(-n // s) - 1) * s + reach - n, 0)
        before, after = total // 2, total - total // 2
    elif padding == "full":
        before = after = reach - 1
    else:
        before, after = padding
    if kind == "maxpool" and max(before, after) >= k:
        return 0
    return windows(n, k, s, before, after, d, rounding)


def question(generator):
    """Return a random question: the words of the command line, the values, and what is looked for."""
    kind = generator.choice(["conv", "conv", "maxpool"])
    unknown = generator.choice(["padding", "stride", "kernel", "input"])
    n, k = generator.randint(1, 40), generator.randint(1, 7)
    s = generator.choice([None, 1, 2, 3, 4])
    d = generator.choice([1, 1, 2, 3]) if kind == "conv" else 1
    padding = generator.choice([None, 0, 1, 2, "same", "full", (1, 2)])
    rounding = generator.choice(["floor", "floor", "ceil", "strict"])
    want = generator.randint(1, 40)
    if unknown == "stride":
        s = None
    if unknown == "padding":
        padding = None
    parts = [] if unknown == "kernel" else [f"{'size' if kind == 'maxpool' else 'kernel'}={k}"]
    parts += [f"stride={s}"] if s else []
    parts += [f"dilation={d}"] if d > 1 else []
    inside = rounding == "ceil" and generator.random() < 0.5
    parts += ["round=ceil"] if inside else []
    if isinstance(padding, tuple):
        parts.append("padding=" + "/".join(str(side) for side in (*padding, *padding)))
    elif padding is not None:
        parts.append(f"padding={padding}")
    arguments = [] if unknown == "input" else [f"{n}x{n}x2"]
    arguments.append(f"{kind}:{','.join(parts)}" if parts else kind)
    arguments += ["--round", rounding] if rounding != "floor" and not inside else []
    pads = (padding or 0, padding or 0) if padding is None or isinstance(padding, int) else padding
    facts = {"kind": kind, "n": n, "k": k, "s": s, "padding": pads, "d": d, "rounding": rounding}
    return arguments, facts, unknown, want


def answers(facts, unknown, want):
    """Return every value up to a limit that gives the wanted length, by trying."""
    found = []
    for value in range(1 if unknown != "padding" else 0, 256 if unknown == "kernel" else 400):
        tried = dict(facts)
        if unknown == "padding":
            tried["padding"] = (value, value)
        else:
            tried[{"stride": "s", "kernel": "k", "input": "n"}[unknown]] = value
        if length(**tried) == want:
            found.append(value)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_answer_is_the_output_of_the_layer_it_names(seed):
    generator = random.Random(seed)
    solved = 0
    for _ in range(250):
        arguments, facts, unknown, want = question(generator)
        possible = answers(facts, unknown, want)
        result = run_cnn("shape", *arguments, "--solve", unknown, "--want", want, "--json")
        if not possible:
            assert result.code == 3, (arguments, unknown, want, result)
            continue
        assert result.code == 0, (arguments, unknown, want, possible[:5], result)
        value = result.json["solution"][unknown]
        assert value in possible, (arguments, unknown, want, possible[:5], value)
        assert result.json["output"][:2] == [want, want]
        again = run_cnn(
            "shape", *with_answer(arguments, facts["kind"], unknown, value), "--expect", result_shape(result)
        )
        assert again.code == 0, (arguments, unknown, want, again)
        solved += 1
    assert solved > 60


def with_answer(arguments, kind, unknown, value):
    """Return the arguments of the plain question with the answer in it."""
    if unknown == "input":
        return [f"{value}x{value}", *arguments]
    key = "size" if unknown == "kernel" and kind == "maxpool" else unknown
    layer = arguments[1] + ("," if ":" in arguments[1] else ":") + f"{key}={value}"
    return [arguments[0], layer, *arguments[2:]]


def result_shape(result):
    return "x".join(map(str, result.json["output"]))


def test_the_installed_program_agrees_with_itself():
    generator = random.Random(99)
    done = 0
    while done < 12:
        arguments, facts, unknown, want = question(generator)
        possible = answers(facts, unknown, want)
        if not possible:
            continue
        asked = [CNN, "shape", *arguments, "--solve", unknown, "--want", str(want)]
        first = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        value = int(first.partition(":")[0].partition("      ")[0].rpartition("=")[2])
        assert value in possible, first
        told = [CNN, "shape", *with_answer(arguments, facts["kind"], unknown, value)]
        second = subprocess.run(told, capture_output=True, text=True, check=True).stdout
        assert f"output {want}x{want}x" in first
        assert f"output {want}x{want}x" in second
        done += 1


@settings(max_examples=300)
@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 6), st.integers(1, 3), st.integers(1, 60)
)
def test_the_range_holds_every_value_and_the_formula_is_true(n, k, s, p, d, want):
    for unknown in ("padding", "stride", "kernel", "input"):
        axis = Axis(n, k, s, (p, p), d)
        facts = {"kind": "conv", "n": n, "k": k, "s": s, "padding": (p, p), "d": d, "rounding": "floor"}
        possible = answers(facts, unknown, want)
        try:
            found = solve(unknown, axis, want)
        except ShapeError:
            assert possible == []
            continue
        # a step that is longer than the input changes nothing: the solver stops there
        last = found.values[-1] if unknown == "stride" else 400
        assert [value for value in found.values if value < 400] == [value for value in possible if value <= last]
        assert found.value in possible
        if found.formula:
            text, _, value = found.formula.partition(" = ")[2].rpartition(" = ")
            f = k
            expression = text.replace("(f-1)/2", f"({f}-1)/2").replace("floor(", "_floor(").replace("ceil(", "_ceil(")
            names = {"_floor": lambda x: int(x // 1), "_ceil": lambda x: int(-(-x // 1))}
            assert eval(expression or value, names) == int(value), found.formula


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["6x6", "maxpool:2", "--solve", "kernel", "--want", "2"], 3),
        (["6x6", "maxpool", "--solve", "kernel", "--want", "3"], 2),
        (["28", "conv:5,p=full", "--solve", "kernel", "--want", "30"], 3),
        (["28", "maxpool:3,round=ceil,s=2", "--solve", "padding", "--want", "14"], 0),
        (["28", "conv:3,round=ceil,s=2", "--solve", "input", "--want", "5"], 10),
        (["28x30", "conv:p=1", "--solve", "kernel", "--want", "26x30"], [5, 3]),
        (["--solve", "input", "conv:7,s=2", "--want", "12x12"], 29),
        (["conv:7,s=2", "--solve", "input", "--want", "12x12"], 29),
        (["--solve", "input", "conv:3,s=2,p=same", "--want", "12"], 23),
    ],
)
def test_layers_whose_stride_padding_or_rounding_is_a_word(arguments, value):
    result = run_cnn("shape", *arguments, "--json")
    assert result.code == 0, result.err
    (found,) = result.json["solution"].values()
    assert found == value


def test_the_range_of_a_rounded_up_input_is_said():
    out = run_cnn("shape", "--solve", "input", "conv:3,round=ceil,s=2", "--want", "5").out
    assert "note: input 10 to 11 gives the same output" in out
    assert run_cnn("shape", "--solve", "input", "conv:3,round=ceil,s=2", "--want", "5", "-q").out.count("\n") == 1


def test_what_is_not_used_is_said():
    notes = run_cnn("shape", "6x6", "maxpool:2", "--solve", "kernel", "--want", "2", "--json").json["notes"]
    assert notes[0].startswith("the size that was given is not used")
    notes = run_cnn("shape", "6x6", "conv:3", "--solve", "input", "--want", "2", "--json").json["notes"]
    assert notes[0].startswith("height and width of the given input are not used")


def test_uneven_padding_is_offered_only_where_it_works():
    result = run_cnn("shape", "28x31", "-k", "4x3", "--solve", "padding", "--want", "28x31")
    expect_error(result, 3, "along the rows", "p=1/2/1/1 does")
    assert run_cnn("shape", "28x31", "-k", "4x3", "-p", "1/2/1/1", "--expect", "28x31x1").code == 0
    for asked in (["4", "maxpool:1,s=2"], ["9", "maxpool:2,s=3"]):
        assert " does" not in run_cnn("shape", *asked, "--solve", "padding", "--want", "9").err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["28", "conv:5,p=same", "--solve", "kernel", "--want", "24"], 3, ["no kernel gives an output of 24", "28"]),
        (["28", "upsample:2", "--solve", "input", "--want", "28"], 2, ["window", "not upsample"]),
        (["28", "flatten", "--solve", "input", "--want", "5"], 2, ["window", "not flatten"]),
        (["5x5", "-k", "3", "--solve", "padding", "--want", "same", "--expect", "7x7x1"], 4, ["5x5x1", "7x7x1"]),
        (["9x9x3", "-k", "5", "--filters", "8", "--solve", "padding", "--want", "9x9x3"], 3, ["8 channels"]),
        (["6", "-k", "3", "-s", "2", "--round", "strict", "--solve", "padding", "--want", "3"], 3, ["left over"]),
        (["28", "-k", "5", "-p", "3", "--solve", "padding", "--want", "same"], 2, ["--padding", "leave one"]),
        (["28", "-k", "5", "-s", "3", "--solve", "stride", "--want", "9"], 2, ["--stride", "leave one"]),
        (["28", "-k", "5", "--solve", "kernel", "--want", "9"], 2, ["--kernel", "leave one"]),
        (["28", "-k", "5", "--solve", "padding", "--want", "9", "--rf"], 2, ["--rf", "--solve"]),
        (["28", "-k", "5", "--solve", "padding", "--want", "9", "--coverage"], 2, ["--coverage", "--solve"]),
        (["28", "-k", "5", "--solve", "padding", "--want", "9", "--classes", "3"], 2, ["--classes", "--solve"]),
        (["28", "-k", "5", "--solve", "padding", "--want", "9", "--format", "csv"], 2, ["csv"]),
        (["28", "-k", "5", "conv:3", "--solve", "padding", "--want", "9"], 2, ["not both"]),
        (["28", "conv:5", "conv:3", "--solve", "padding", "--want", "9"], 2, ["one layer"]),
        (["28", "conv:5,s=0", "--solve", "padding", "--want", "9"], 2, ["stride", "got 0"]),
        (["28", "maxpool", "--solve", "padding", "--want", "9"], 2, ["kernel is missing"]),
        (["lenet5", "-k", "5", "--solve", "padding", "--want", "9"], 2, ["input shape"]),
        (["-k", "5", "--solve", "input", "--want", "same"], 2, ["same does not fix the input"]),
        (["-k", "5", "--solve", "input", "--want", "70000"], 2, ["height 70000"]),
        (["28", "conv:5,g=2", "--solve", "padding", "--want", "same"], 3, ["groups=2"]),
    ],
)  # fmt: skip
def test_refusals(arguments, code, words):
    expect_error(run_cnn("shape", *arguments), code, *words)
