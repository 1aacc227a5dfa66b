"""What a session takes is known before it is made."""

import pytest
from small_networks import NETWORKS, build

from cnncli.engine.layout import session_bytes
from cnncli.engine.session import Session
from cnncli.optim.optimizers import Recipe

RECIPES = [None, Recipe("sgd"), Recipe("adamw", weight_decay=0.1, clip_norm=1.0), Recipe("rmsprop")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name if recipe else "prediction")
@pytest.mark.parametrize(("batch_size", "threads"), [(3, 1), (64, 2), (200, 3)])
def test_the_forecast_is_what_is_allocated(recipe, batch_size, threads):
    for name in ("lenet-like", "groups", "dense only"):
        model = build(*NETWORKS[name])
        session = Session(model, batch_size=batch_size, threads=threads, optimizer=recipe)
        assert session_bytes(model, batch_size=batch_size, threads=threads, recipe=recipe) == session.memory_bytes
