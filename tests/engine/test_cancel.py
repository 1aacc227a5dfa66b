"""Work that is cancelled ends early, changes no parameter, and can be taken up again."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from small_networks import NETWORKS, build

from cnncli.engine.session import Session
from cnncli.errors import CancelledError
from cnncli.tasks.stop_request import StopRequest


def make():
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 12, 12, 1), dtype=np.uint8), rng.integers(0, 4, 64)
    session = Session(build(*NETWORKS["lenet-like"]), batch_size=64, threads=2, optimizer="adam")
    return session, (images, labels, np.arange(64), 1e-3)


def test_a_cancelled_step_changes_nothing_and_the_next_one_goes_on():
    whole, arguments = make()
    wanted = [whole.train_batch(*arguments, (0, step)) for step in range(3)]
    session, _ = make()
    results = [session.train_batch(*arguments, (0, 0))]
    before = session.parameters.copy()
    session.cancel()
    with pytest.raises(CancelledError):
        session.train_batch(*arguments, (0, 1))
    np.testing.assert_array_equal(session.parameters, before)
    results += [session.train_batch(*arguments, (0, step)) for step in (1, 2)]
    assert results == wanted
    assert session.parameters.tobytes() == whole.parameters.tobytes()


def test_a_cancel_that_came_too_late_can_be_forgotten():
    session, arguments = make()
    session.compile()
    session.cancel()
    session.forget_cancel()
    assert np.isfinite(session.train_batch(*arguments, (0, 0))[0])


def test_predictions_and_tests_can_be_cancelled():
    session, (images, labels, *_) = make()
    wanted = session.predict(images)
    for work in (lambda: session.predict(images), lambda: session.evaluate(images, labels)):
        session.cancel()
        with pytest.raises(CancelledError):
            work()
    np.testing.assert_array_equal(session.predict(images), wanted)


def test_a_signal_ends_compiled_work_that_would_take_long():
    wide = "- conv: {filters: 256, kernel: 3, padding: same, activation: relu}"
    session = Session(build([28, 28, 1], wide, wide, "- flatten", "- dense: classes"), batch_size=512, threads=2)
    images = np.zeros((512, 28, 28, 1), np.uint8)
    with StopRequest() as stop:
        stop.on_signal = session.cancel
        stop.arm()
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(CancelledError):  # noqa: PT012 - it may take several calls
            for _ in range(100):
                session.predict(images)
        assert stop.number == signal.SIGINT


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
    time.sleep(0.05)
    assert not any(thread.name == "cnn-signals" for thread in threading.enumerate())
