"""Train a network: a generator of events that writes the run directory and prints nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnncli.errors import CancelledError, CnnError, InterruptedRunError, NumericError
from cnncli.io.checkpoint import BEST, LAST
from cnncli.io.datasets.dataset import Split
from cnncli.optim.schedules import Plateau, learning_rate
from cnncli.tasks.stop_request import StopRequest
from cnncli.tasks.train.events import EpochDone, Evaluating, Finished, Note, Progress, TrainingEvent
from cnncli.tasks.train.limits import SavingTimes, parse_duration, parse_save_every
from cnncli.tasks.train.plan import TrainingPlan
from cnncli.tasks.train.resume import Partial, SavedRun, best_weights, check_optimizer, reason_to_stop
from cnncli.tasks.train.run_directory import RESULT, RunDirectory
from cnncli.tasks.train.run_record import RunRecord
from cnncli.tasks.train.splitting import epoch_order

if TYPE_CHECKING:
    from cnncli.engine.session import Session

_PROGRESS_S = 0.1
_EXPLOSION = 1e6  # times the loss of the first step: worth a note
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
    seen_before: int = 0  # before the run was continued
    began: float = field(default_factory=time.perf_counter)

    @property
    def images_per_s(self) -> float:
        return (self.seen - self.seen_before) / max(time.perf_counter() - self.began, 1e-9)


def train(
    plan: TrainingPlan,
    run: RunDirectory,
    make_session: Callable[[TrainingPlan], Session],
    saved: SavedRun | None = None,
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
    saved : SavedRun, optional
        The run in this directory, to be continued; `plan` was made for it.

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
        with meanwhile(lambda: plan.data.sha256):  # hashing leaves Python's lock free
            session = make_session(plan)
        stop.on_signal = session.cancel
        yield from _Training(plan, run, session, stop, saved).events()


def make_engine_session(plan: TrainingPlan) -> Session:
    """Return the compiled engine for a plan.

    Raises
    ------
    CnnError
        Threads that the system does not start.
    """
    from cnncli.engine.session import Session  # imports numba, so not before it is needed

    options = plan.options
    try:
        return Session(
            plan.model,
            batch_size=options.batch_size,
            threads=options.threads,
            optimizer=options.recipe,
            objective=plan.objective,
            seed=options.seed,
            mean=plan.data.mean,
            std=plan.data.std,
        )
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        message = f"the system does not start {options.threads} threads"
        raise CnnError(message, hint="use fewer --threads, or raise the limit (ulimit -u, ulimit -v)") from None


def import_engine() -> None:
    """Import what takes long."""
    import cnncli.engine.session  # noqa: F401


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Let another thread do what is needed later and kept; an error in it comes again where the result is asked for."""

    def attempt() -> None:
        with suppress(Exception):
            work()

    thread = Thread(target=attempt)
    with suppress(RuntimeError):  # the system starts no thread
        thread.start()
    try:
        yield
    finally:
        if thread.ident is not None:
            thread.join()


class _Training:
    def __init__(
        self, plan: TrainingPlan, run: RunDirectory, session: Session, stop: StopRequest, saved: SavedRun | None
    ) -> None:
        self.plan, self.run, self.session, self.stop, self.saved = plan, run, session, stop, saved
        self.record = RunRecord(plan, run)
        self.saving = SavingTimes(parse_save_every(plan.options.save_every))
        first = plan.initial if saved is None else saved.checkpoint.parameters
        for name, array in session.named().items():
            if name in first:
                array[...] = first[name]
        if saved is not None:
            if saved.checkpoint.optimizer or saved.is_begun:
                check_optimizer(saved, session.optimizer_state())
                session.load_optimizer_state(saved.checkpoint.optimizer)
            self.record.restore(saved)
        self.plateau = (saved.plateau if saved else None) or Plateau()
        self.best = {name: array.copy() for name, array in session.named().items()}  # with running statistics
        self.stopped_by = ""
        self.epoch_s = 0.0  # what the latest whole epoch took
        self.first_loss: float | None = None  # mean over the images of the first step
        self.has_exploded = False
        self.began = self.session_began = self.last_progress_at = time.perf_counter()

    def events(self) -> Iterator[TrainingEvent]:
        plan, record = self.plan, self.record
        self.session.compile()  # nothing is to compile after the clock started
        self.session.forget_cancel()  # of a signal that ended an earlier run of this process: it came too late there
        yield from self._begin()
        if not plan.epochs:
            yield Note(f"{self.run.path / LAST} holds the first weights: no epoch was asked for")
            return
        self.stop.arm()
        self.session_began = time.perf_counter()
        self.began = self.session_began - self._elapsed_before()
        for epoch in range(record.epochs + 1, plan.epochs + 1):
            self.stopped_by = reason_to_stop(plan.options, record.history, record.epochs - record.waited)
            if not self.stopped_by:
                yield from self._one_epoch(epoch)
            if self.stopped_by:
                break
        if record.history:
            yield from self._finish()

    def _begin(self) -> Iterator[TrainingEvent]:
        """Write what the run was asked to do, or take up the run that is here."""
        saved, record = self.saved, self.record
        self.run.begin(saved.broken if saved else (), self.plan.options.keep)
        record.write_setup()
        if saved is None:
            record.save_last(self.session, epoch=0, step=0)
            return
        weights, is_missing, note = best_weights(saved)
        for name, array in (weights or {}).items():
            self.best[name][...] = array
        if note:
            record.forget_best()
            yield Note(note)
        if is_missing and record.best:
            record.save_best(self.session, record.best)
        record.write_history()
        if saved.changed:  # else a kill before the next checkpoint would forget them
            partial = asdict(saved.partial) if saved.step else None
            record.save_last(self.session, epoch=saved.epoch, step=saved.step, partial=partial)
        if saved.epoch < self.plan.epochs:
            is_whole = saved.step == self.plan.steps
            place = "its validation" if is_whole else f"step {saved.step + 1} of {self.plan.steps}"
            yield Note(f"continues {self.run.path} at epoch {saved.epoch + 1}, {place}")

    def _elapsed_before(self) -> float:
        """Return the seconds of training before the run was continued."""
        if self.saved is None:
            return 0.0
        rows = self.saved.history
        return self.saved.partial.elapsed_s or (rows[-1].elapsed_s if rows else 0.0)

    def _one_epoch(self, epoch: int) -> Iterator[TrainingEvent]:
        plan, options = self.plan, self.plan.options
        total = plan.epochs * plan.steps
        order = epoch_order(plan.order, options.seed, epoch) if options.shuffle else plan.order
        state = self._epoch_state(epoch, self._lr((epoch - 1) * plan.steps, total))
        for step in range(state.step, plan.steps):
            indices = order[step * options.batch_size : (step + 1) * options.batch_size]
            lr = self._lr((epoch - 1) * plan.steps + step, total)
            with suppress(CancelledError):
                self._step(state, indices, lr)
            if self.stop.number:
                raise self._interrupted(state)
            if self._is_time_over():
                self._save_part(state)
                yield Note(f"--max-time {options.max_time} is over at epoch {epoch} step {state.step}: saved")
                return
            if self.saving.is_due((epoch - 1) * plan.steps + state.step):
                self._save_part(state)
            if self.stop.take_save_request():
                self._save_part(state)
                yield Note(f"saved {self.run.path / LAST} at epoch {epoch} step {state.step}")
            if self._is_time():
                yield self._progress(state, lr)
        yield from self._close_epoch(state)
        self.epoch_s = time.perf_counter() - state.began

    def _epoch_state(self, epoch: int, lr: float) -> _Epoch:
        """Return an epoch at its first step, or where the run was saved within it."""
        saved = self.saved
        if saved is None or saved.epoch + 1 != epoch:
            return _Epoch(epoch, lr)
        part = saved.partial
        return _Epoch(epoch, lr, part.loss_sum, part.correct, part.seen, saved.step, seen_before=part.seen)

    def _is_time_over(self) -> bool:
        """Return True, and remember the reason, once this part of the run has taken as long as it may."""
        limit = self.plan.options.max_time
        if limit is not None and time.perf_counter() - self.session_began >= parse_duration(limit, "--max-time"):
            self.stopped_by = f"--max-time {limit}"
        return bool(self.stopped_by)

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
        if self.first_loss is None:
            self.first_loss = loss / len(indices)
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
            is_best=False,
        )
        done = replace(done, is_best=record.is_better(done))
        record.add(done)
        if plan.options.schedule == "plateau" and val_loss is not None:
            self.plateau.add(val_loss)
            record.plateau = self.plateau
        if done.is_best:
            for name, array in self.session.named().items():
                self.best[name][...] = array
        self.stopped_by = reason_to_stop(plan.options, record.history, record.epochs - record.waited)
        is_last = state.epoch == plan.epochs or bool(self.stopped_by) or bool(self.stop.number)
        # together with the best weights: what continues from an older checkpoint would find those of a later epoch
        if done.is_best or is_last or self.saving.is_due_after_epoch(state.epoch * plan.steps):
            record.save_last(self.session, epoch=state.epoch, step=0)
            self.saving.note()
        if done.is_best:
            record.save_best(self.session, done)
        record.write_history()
        if self.stop.number:
            raise self._stopped(f"stopped after epoch {state.epoch}")
        yield done
        yield from self._explosion(done)

    def _explosion(self, done: EpochDone) -> Iterator[Note]:
        """Say once that the loss has become many times what it was, though it is still finite."""
        first = self.first_loss or 0.0
        if self.has_exploded or not 0 < _EXPLOSION * first < done.loss:
            return
        self.has_exploded = True
        advice = f"try --lr {self.plan.lower_lr:g} or --clip-norm 1"
        yield Note(f"the loss of epoch {done.epoch} is {done.loss / first:.2g} times that of the first step: {advice}")

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

    def _finish(self) -> Iterator[TrainingEvent]:
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
            stopped_early=bool(self.stopped_by) and record.epochs < plan.epochs,
            stopped_by=self.stopped_by if record.epochs < plan.epochs else "",
            history=tuple(record.history),
        )
        self.run.write(RESULT, (json.dumps(record.result(done), indent=2, allow_nan=False) + "\n").encode())
        yield done

    def _progress(self, state: _Epoch, lr: float) -> Progress:
        plan, now = self.plan, time.perf_counter()
        speed = state.images_per_s
        epoch_left = (len(plan.order) - state.seen) / speed
        whole = self.epoch_s or len(plan.order) / speed
        return Progress(
            epoch=state.epoch,
            epochs=plan.epochs,
            step=state.step,
            steps=plan.steps,
            loss=state.loss_sum / state.seen,
            acc=self._accuracy(state.correct / state.seen),
            lr=lr,
            images_per_s=speed,
            elapsed_s=now - self.began,
            epoch_left_s=epoch_left,
            left_s=epoch_left + (plan.epochs - state.epoch) * whole,
        )

    def _lr(self, step: int, total: int) -> float:
        plan = self.plan
        return self.plateau.factor * learning_rate(plan.options.schedule, plan.lr, step, total, plan.warmup_steps)

    def _not_finite(self, what: str, epoch: int, step: int, lr: float) -> NumericError:
        kept = self.run.path / (BEST if self.record.best else LAST)
        hint = f"try --lr {self.plan.lower_lr:g}; {kept} holds the weights of epoch {self.record.best_epoch}"
        return NumericError(f"{what} at epoch {epoch} step {step} (lr {lr:g})", where=str(self.run.path), hint=hint)

    def _save_part(self, state: _Epoch) -> None:
        elapsed = time.perf_counter() - self.began
        partial = asdict(Partial(state.loss_sum, state.correct, state.seen, elapsed)) if state.step else None
        self.record.save_last(self.session, epoch=state.epoch - 1, step=state.step, partial=partial)
        self.saving.note()

    def _interrupted(self, state: _Epoch) -> InterruptedRunError:
        self._save_part(state)
        return self._stopped(f"stopped at epoch {state.epoch} step {state.step}")

    def _stopped(self, message: str) -> InterruptedRunError:
        self.record.write_history()
        hint = f"`cnn train --resume {self.run.path}` continues"
        return InterruptedRunError(message, where=str(self.run.path), hint=hint, signal_number=self.stop.number)
