"""Results that are being written when a batch is told to stop."""

import numpy as np
import pytest
from PIL import Image

from cnncli.errors import InterruptedRunError
from cnncli.filtering.plan import FilterPlan
from cnncli.tasks.filter.batch import filter_files
from cnncli.tasks.filter.events import Outcome, Started
from cnncli.tasks.filter.manifest import Manifest
from cnncli.tasks.filter.names import Job
from cnncli.tasks.filter.options import FileOptions
from cnncli.tasks.filter.read_steps import parse_steps


def test_an_interrupted_batch_reports_every_file_that_it_has_written(tmp_path):
    random = np.random.default_rng(0)
    jobs = []
    for number in range(4):
        source = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(source)
        jobs.append(Job(str(source), str(tmp_path / f"out-{number}.png")))
    plan = FilterPlan(parse_steps(["sharpen"]))
    events = filter_files(jobs, range(4), plan, FileOptions(), Manifest(None, "", {}))
    seen = []
    for event in events:
        seen.append(event)
        if event == Started(2):
            break

    def stop():
        seen.append(events.throw(InterruptedRunError("interrupted", signal_number=15)))
        seen.extend(events)

    with pytest.raises(InterruptedRunError):
        stop()
    written = {event.index for event in seen if isinstance(event, Outcome) and event.status == "written"}
    assert written == {0, 1}
    assert {int(path.stem[-1]) for path in tmp_path.glob("out-*")} == written
    assert not list(tmp_path.glob(".*"))
