"""Train a network: a generator of events that writes the run directory and prints nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CancelledError, CnnError, InterruptedRunError, NumericError
from cnncli.io.checkpoint import BEST, LAST
from cnncli.io.datasets.dataset import Split
from cnncli.optim.schedules import Plateau, learning_rate
from cnncli.tasks.stop_request import StopRequest
from cnncli.tasks.train.events import EpochDone, Evaluating, Finished, Note, Progress, TrainingEvent
from cnncli.tasks.train.plan import TrainingPlan
from cnncli.tasks.train.run_directory import RESULT, RunDirectory
from cnncli.tasks.train.run_record import RunRecord
from cnncli.tasks.train.splitting import epoch_order

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_PROGRESS_S = 0.1
_EVALUATION_BATCHES = 4  # per call, so that Ctrl-C is handled between two calls


@dataclass
class _Epoch:
    """Sums over the part of an epoch that is done."""

    epoch: int
    lr: float
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    step: int = 0
    began: float = field(default_factory=time.perf_counter)

    @property
    def images_per_s(self) -> float:
        return self.seen / max(time.perf_counter() - self.began, 1e-9)


def train(
    plan: TrainingPlan, run: RunDirectory, make_session: Callable[[TrainingPlan], Session]
) -> Iterator[TrainingEvent]:
    """Train as planned and write the run directory.

    Parameters
    ----------
    plan : TrainingPlan
        Checked by `plan_training`.
    run : RunDirectory
        Open and locked.
    make_session : callable
        Builds the engine for a plan; `make_engine_session` outside of tests.

    Yields
    ------
    Note, Progress, Evaluating, EpochDone, Finished

    Raises
    ------
    NumericError
        A loss or a weight is not finite; the last checkpoint is the one of the epoch before.
    InterruptedRunError
        A signal asked to stop; weights, optimizer and history are saved.
    CnnError
        The disk is full or gone; checkpoints on it are whole.
    """
    for note in plan.notes:
        yield Note(note)
    with StopRequest() as stop:
        session = make_session(plan)
        stop.on_signal = session.cancel
        yield from _Training(plan, run, session, stop).events()


def make_engine_session(plan: TrainingPlan) -> Session:
    """Return the compiled engine for a plan.

    Raises
    ------
    CnnError
        Threads that the system does not start.
    """
    from cnncli.engine.losses import Objective  # imports numba, so not before it is needed
    from cnncli.engine.session import Session

    options = plan.options
    try:
        return Session(
            plan.model,
            batch_size=options.batch_size,
            threads=options.threads,
            optimizer=options.recipe,
            objective=Objective(plan.loss, options.label_smoothing, plan.class_weights),
            seed=options.seed,
            mean=plan.data.mean,
            std=plan.data.std,
        )
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        message = f"the system does not start {options.threads} threads"
        raise CnnError(message, hint="use fewer --threads, or raise the limit (ulimit -u, ulimit -v)") from None


class _Training:
    def __init__(self, plan: TrainingPlan, run: RunDirectory, session: Session, stop: StopRequest) -> None:
        self.plan, self.run, self.session, self.stop = plan, run, session, stop
        self.record = RunRecord(plan, run)
        self.plateau = Plateau()
        for name, array in session.named().items():
            if name in plan.initial:
                array[...] = plan.initial[name]
        self.best = {name: array.copy() for name, array in session.named().items()}  # with running statistics
        self.began = self.last_progress_at = time.perf_counter()

    def events(self) -> Iterator[TrainingEvent]:
        plan, record = self.plan, self.record
        self._compile()
        self.run.begin()
        record.write_setup()
        record.save_last(self.session, epoch=0, step=0)
        if not plan.epochs:
            yield Note(f"{self.run.path / LAST} holds the first weights: no epoch was asked for")
            return
        self.stop.arm()
        self.began = time.perf_counter()
        stopped_early = False
        for epoch in range(1, plan.epochs + 1):
            yield from self._one_epoch(epoch)
            if plan.options.patience and epoch - record.best_epoch >= plan.options.patience:
                stopped_early = epoch < plan.epochs
                break
        yield from self._finish(stopped_early)

    def _compile(self) -> None:
        """Run the kernels once on weights that are put back, so that nothing compiles after the clock started."""
        images, labels = self.plan.train.images[:1], self.plan.train.labels[:1]
        self.session.evaluate(images, labels)

    def _one_epoch(self, epoch: int) -> Iterator[TrainingEvent]:
        plan, options = self.plan, self.plan.options
        total = plan.epochs * plan.steps
        order = epoch_order(plan.order, options.seed, epoch) if options.shuffle else plan.order
        state = _Epoch(epoch, self._lr((epoch - 1) * plan.steps, total))
        for step in range(plan.steps):
            indices = order[step * options.batch_size : (step + 1) * options.batch_size]
            lr = self._lr((epoch - 1) * plan.steps + step, total)
            with suppress(CancelledError):
                self._step(state, indices, lr)
            if self.stop.number:
                raise self._interrupted(state)
            if self.stop.take_save_request():
                self._save_part(state)
                yield Note(f"saved {self.run.path / LAST} at epoch {epoch} step {state.step}")
            if self._is_time():
                yield self._progress(state)
        yield from self._close_epoch(state)

    def _is_time(self) -> bool:
        """Return True a few times per second: then progress is reported."""
        now = time.perf_counter()
        if now - self.last_progress_at < _PROGRESS_S:
            return False
        self.last_progress_at = now
        return True

    def _step(self, state: _Epoch, indices: NDArray[np.int64], lr: float) -> None:
        images, labels, places = self.plan.batch(indices, state.epoch)
        loss, correct = self.session.train_batch(images, labels, places, lr, (state.epoch, state.step))
        state.step += 1
        if not math.isfinite(loss):
            raise self._not_finite(f"loss became {loss}", state.epoch, state.step, lr)
        state.loss_sum += loss
        state.correct += correct
        state.seen += len(indices)

    def _close_epoch(self, state: _Epoch) -> Iterator[TrainingEvent]:
        plan, record = self.plan, self.record
        speed = state.images_per_s
        for name, array in self.session.named().items():
            if not np.isfinite(array).all():
                raise self._not_finite(f"{name} is not finite", state.epoch, state.step, state.lr)
        val_loss, val_acc = yield from self._validate(state)
        is_best = record.is_better(val_loss, val_acc)
        done = EpochDone(
            epoch=state.epoch,
            epochs=plan.epochs,
            loss=state.loss_sum / state.seen,
            acc=self._accuracy(state.correct / state.seen),
            val_loss=val_loss,
            val_acc=val_acc,
            lr=state.lr,
            images_per_s=speed,
            elapsed_s=time.perf_counter() - self.began,
            is_best=is_best,
        )
        record.add(done)
        if plan.options.schedule == "plateau" and val_loss is not None:
            self.plateau.add(val_loss)
            record.plateau = self.plateau
        if is_best:
            for name, array in self.session.named().items():
                self.best[name][...] = array
            record.save_best(self.session, done)
        record.save_last(self.session, epoch=state.epoch, step=0)
        record.write_history()
        if self.stop.number:
            raise self._stopped(f"stopped after epoch {state.epoch}")
        yield done

    def _validate(self, state: _Epoch) -> Generator[TrainingEvent, None, tuple[float | None, float | None]]:
        """Return loss and accuracy on the validation images; without any, a batch shows whether the loss is finite."""
        plan = self.plan
        is_empty = not len(plan.validation)
        split = plan.train.first(plan.options.batch_size) if is_empty else plan.validation
        loss, acc = yield from self._evaluate(split, state)
        if not math.isfinite(loss):
            name = "loss after the last step" if is_empty else "validation loss"
            raise self._not_finite(f"{name} became {loss}", state.epoch, state.step, state.lr)
        return (None, None) if is_empty else (loss, acc)

    def _accuracy(self, share: float) -> float | None:
        """Return a share of right answers; None where no answer is right or wrong."""
        return None if self.plan.data.targets == "numbers" else share

    def _evaluate(
        self, split: Split, state: _Epoch | None
    ) -> Generator[TrainingEvent, None, tuple[float, float | None]]:
        """Return mean loss and accuracy; a signal ends it between slices."""
        size = _EVALUATION_BATCHES * self.plan.options.batch_size
        part, epochs = "validation" if state else "test", self.plan.epochs
        epoch = state.epoch if state else self.record.epochs
        losses: list[float] = []
        hits = 0
        for start in range(0, len(split), size):
            if self._is_time():
                yield Evaluating(part, epoch, epochs, start, len(split))
            images, labels = split.images[start : start + size], split.labels[start : start + size]
            with suppress(CancelledError):
                found = self.session.examine(images, labels)
                losses += found.losses.tolist()
                hits += int(found.hits.sum())
            if self.stop.number:
                raise self._interrupted(state) if state else self._stopped("stopped before the test images were done")
        share = self._accuracy(hits / len(split))
        return math.fsum(losses) / len(split), share  # an exact sum: `cnn eval` finds the same bits

    def _finish(self, stopped_early: bool) -> Iterator[TrainingEvent]:
        plan, record = self.plan, self.record
        for name, array in self.session.named().items():
            array[...] = self.best[name]
        test_loss, test_acc = (yield from self._evaluate(plan.test, None)) if len(plan.test) else (None, None)
        if test_loss is not None and not math.isfinite(test_loss):
            message = f"the test loss of the weights of epoch {record.best_epoch} is {test_loss}"
            raise NumericError(message, where=str(self.run.path), hint=f"try --lr {plan.lower_lr:g}")
        best = record.best
        done = Finished(
            test_loss=test_loss,
            test_acc=test_acc,
            best_epoch=record.best_epoch,
            val_acc=best.val_acc if best else None,
            epochs=record.epochs,
            elapsed_s=time.perf_counter() - self.began,
            run_dir=self.run.path,
            stopped_early=stopped_early,
            history=tuple(record.history),
        )
        self.run.write(RESULT, (json.dumps(record.result(done), indent=2, allow_nan=False) + "\n").encode())
        yield done

    def _progress(self, state: _Epoch) -> Progress:
        mean_loss, mean_acc = state.loss_sum / state.seen, self._accuracy(state.correct / state.seen)
        plan = self.plan
        return Progress(
            state.epoch, plan.epochs, state.step, plan.steps, mean_loss, mean_acc, time.perf_counter() - state.began
        )

    def _lr(self, step: int, total: int) -> float:
        plan = self.plan
        return self.plateau.factor * learning_rate(plan.options.schedule, plan.lr, step, total, plan.warmup_steps)

    def _not_finite(self, what: str, epoch: int, step: int, lr: float) -> NumericError:
        kept = self.run.path / (BEST if self.record.best else LAST)
        hint = f"try --lr {self.plan.lower_lr:g}; {kept} holds the weights of epoch {self.record.best_epoch}"
        return NumericError(f"{what} at epoch {epoch} step {step} (lr {lr:g})", where=str(self.run.path), hint=hint)

    def _save_part(self, state: _Epoch) -> None:
        partial = {"loss_sum": state.loss_sum, "correct": state.correct, "seen": state.seen}
        self.record.save_last(self.session, epoch=state.epoch - 1, step=state.step, partial=partial)

    def _interrupted(self, state: _Epoch) -> InterruptedRunError:
        self._save_part(state)
        return self._stopped(f"stopped at epoch {state.epoch} step {state.step}")

    def _stopped(self, message: str) -> InterruptedRunError:
        self.record.write_history()
        hint = f"`cnn predict {self.run.path / LAST}` uses the weights it stopped with"
        return InterruptedRunError(message, where=str(self.run.path), hint=hint, signal_number=self.stop.number)
