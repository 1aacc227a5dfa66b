"""Layers as arguments of the command line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncli.errors import UsageError
from cnncli.language.arguments import parse_layer
from cnncli.model.arguments import input_from_arguments, model_from_arguments
from cnncli.model.assembly import LayerError
from cnncli.model.vocabulary import vocabulary


@pytest.mark.parametrize(
    ("text", "shape", "out"),
    [
        ("conv:3", (3, 8, 8), (1, 6, 6)),
        ("conv:5x3,out=4", (3, 8, 8), (4, 4, 6)),
        ("conv:k=3,s=2x1,p=1,n=4", (3, 8, 8), (4, 4, 8)),
        ("conv:3,p=0/1/2/3", (3, 8, 8), (1, 7, 11)),
        ("conv:3,p=same", (3, 8, 8), (1, 8, 8)),
        ("conv:3,p=full", (3, 8, 8), (1, 10, 10)),
        ("conv:3,d=2", (3, 8, 8), (1, 4, 4)),
        ("maxpool:2", (3, 8, 8), (3, 4, 4)),
        ("pool:3,s=2", (3, 8, 8), (3, 3, 3)),
        ("avgpool:2,round=ceil", (3, 7, 7), (3, 4, 4)),
        ("depthwise:3", (3, 8, 8), (3, 6, 6)),
        ("flatten", (3, 8, 8), (192,)),
        ("globalavgpool", (3, 8, 8), (3,)),
        ("upsample:2x3", (3, 8, 8), (3, 16, 24)),
        ("pad:1/0/2/0", (3, 8, 8), (3, 9, 10)),
        ("leaky_relu:0.2", (3, 8, 8), (3, 8, 8)),
    ],
)
def test_shapes(text, shape, out):
    assert model_from_arguments(shape, [text]).output_shape == out


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("cnov:3", "did you mean conv?"),
        ("conv:3,ot=8", "did you mean"),
        ("conv:3,3", "has no key"),
        ("conv:3,k=3", "twice"),
        ("conv:0", "from 1 to 255"),
        ("conv:3,s=0", "from 1"),
        ("conv:3,s=-1", "from 1"),
        ("conv:x", "whole number"),
        ("conv:3,p=-1", "from 0"),
        ("conv:3,p=1000000", "from 0 to 4,096"),
        ("dense:2.5", "whole number"),
        ("dropout:1", "below 1"),
        ("conv:3,bias=maybe", "true or false"),
        ("flatten:3", "has no key"),
        ("", "unknown layer"),
        ("conv:" + "9" * 600, "characters"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(text, word):
    with pytest.raises(UsageError) as caught:
        model_from_arguments((3, 8, 8), ["flatten", text] if text.startswith("dense") else [text])
    assert caught.value.exit_code == 2
    assert word in str(caught.value)


def test_arguments_know_their_place():
    with pytest.raises(UsageError) as caught:
        parse_layer("conv:3,ot=8", vocabulary())
    assert str(caught.value).startswith("conv:3,ot=8: ")


words = st.sampled_from(
    ["conv", "maxpool", "dense", "flatten", "relu", "pad", "upsample", ":", ",", "=", "k", "s", "p", "out", "round",
     "init", "ceil", "same", "3", "0", "-1", "5x3", "1/2/3/4", "/", "x", "99999999999", "he_normal", "bias", "true",
     "in", "*", "é"]
)  # fmt: skip
texts = st.one_of(st.text(max_size=40), st.lists(words, min_size=1, max_size=9).map("".join))


@settings(max_examples=400, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3))
def test_any_text_is_a_layer_or_our_error(layers):
    try:
        model = model_from_arguments((3, 8, 8), layers)
    except (UsageError, LayerError) as error:
        message = str(error)
    else:
        message = "fine"
        assert all(length > 0 for length in model.output_shape)
    assert message


@pytest.mark.parametrize(
    ("source", "layers", "shape"),
    [
        ("400", ["dense:120"], (400,)),
        ("400", ["fc:120", "relu"], (400,)),
        ("28", ["conv:5"], (1, 28, 28)),
        ("28x28", ["dense:5"], (1, 28, 28)),
    ],
)
def test_a_number_before_a_dense_layer_is_a_vector(source, layers, shape):
    assert input_from_arguments(source, layers) == shape
