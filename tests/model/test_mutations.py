"""Any text gives a valid network or our error: nothing else, and in little time."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import mutations

from cnncli.errors import InvalidInputError
from cnncli.model import parse_model
from cnncli.model.summary import rows_of

SECONDS = 5


def check(text: str) -> None:
    start = time.process_time()
    refusal: InvalidInputError | None = None
    try:
        model = parse_model(text, "net.yaml")
    except InvalidInputError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).startswith("net.yaml")
        assert "\n" not in str(refusal)
        assert refusal.exit_code == 3
    else:
        rows = rows_of(model)
        assert sum(row.params for row in rows) == model.parameter_count + model.non_trainable_count
        assert sum(slot.size for slot in model.slots) == model.parameter_count
        assert all(length > 0 for node in model.nodes for length in node.out_shape)
    assert time.process_time() - start < SECONDS


relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(relaxed, max_examples=300)
@given(mutations)
def test_mutated_files(text):
    check(text)


@pytest.mark.slow
@settings(relaxed, max_examples=10_000)
@given(mutations)
def test_ten_thousand_mutated_files(text):
    check(text)


@settings(relaxed, max_examples=100)
@given(st.text(max_size=300))
@example("layers: [relu]\ninput: 8")
def test_any_text(text):
    check(text)


@settings(relaxed, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    from cnncli.language.tree import decode

    try:
        text = decode(data, "net.yaml")
    except InvalidInputError:
        return
    check(text)
