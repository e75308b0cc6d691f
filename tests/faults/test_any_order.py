"""Everything a user and the system can do to the backend, in any order: states stay known, every job ends once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.jobs import Job, JobState
from blender_saga.client.connection.process import Launch
from blender_saga.errors import UserError
from blender_saga.wire.messages import Cluster, LoadScene, Status, Stopped, Train, TrainSettings, Unload
from tests.faults.honest import click, small_cloud
from tests.faults.target import FAKE, REAL, ROOT, SECONDS

CLOUD = small_cloud(0, each=20)
SHORT = TrainSettings("saga", "prototypes", 3, 3, 32, 24, 32, 1)
LONG = TrainSettings("saga", "paper", 100_000, 3, 32, 24, 32, 1)
BROKEN = (ConnectionState.lost, ConnectionState.failed)
SCENES = st.sampled_from(["a", "forever"])  # in the fake session the second trains until it is cancelled


class AnyOrder(RuleBasedStateMachine):
    """One Backend, and what it is told and what is done to its process."""

    script = FAKE

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="any_order_"))
        self.backend = Backend(
            Launch(Path(sys.executable), self.script, ROOT / "blender_saga", self.folder / "log", "cpu")
        )
        self.jobs: list[Job] = []
        self.endings: Counter[Job] = Counter()
        self.processes: list[subprocess.Popen[bytes]] = []

    # --- what a user does ---

    @rule()
    def start(self) -> None:
        self.backend.start()

    @rule()
    def stop(self) -> None:
        self.backend.stop()
        assert self.backend.state is ConnectionState.stopped and not self.backend.jobs

    @rule()
    def restart(self) -> None:
        self.backend.restart()

    @rule()
    def wait_until_it_runs(self) -> None:
        try:
            assert self.backend.wait_connected(SECONDS) is self.backend.welcome
        except UserError as error:
            assert error.code != "timeout" and self.backend.state is not ConnectionState.connected

    @rule(scene=SCENES)
    def load(self, scene: str) -> None:
        self.submit(LoadScene(scene, CLOUD))

    @rule(scene=SCENES, long=st.booleans())
    def train(self, scene: str, long: bool) -> None:
        self.submit(Train(scene, settings=LONG if long else SHORT))

    @rule(scene=SCENES)
    def click(self, scene: str) -> None:
        self.submit(click(scene))

    @rule(scene=SCENES)
    def unload(self, scene: str) -> None:
        self.submit(Unload(scene))

    @rule(message=st.sampled_from([Status(), Cluster("a"), Stopped()]))
    def other(self, message: object) -> None:
        self.submit(message)

    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        if self.jobs:  # no precondition: what is drawn must not depend on whether a kill has been noticed in time
            self.backend.cancel(self.jobs[which % len(self.jobs)])

    @rule()
    def poll(self) -> None:
        self.backend.poll()

    @rule()
    def wait_for_all_but_trainings(self) -> None:
        for job in self.jobs:
            if job.kind not in ("Train", "Cluster"):  # these may go on until they are cancelled
                self.backend.wait(job, SECONDS)

    @rule()
    def cancel_all_and_wait(self) -> None:
        for job in self.jobs:
            self.backend.cancel(job)
        for job in self.jobs:
            self.backend.wait(job, SECONDS)

    # --- what befalls the process ---

    @rule()
    def kill(self) -> None:
        child = self.child()
        if child is not None:
            child.kill()

    @rule()
    def kill_and_notice(self) -> None:
        child = self.child()
        if child is None:
            return
        child.kill()
        running = self.backend.state in (ConnectionState.starting, ConnectionState.connected)
        for job in self.jobs:
            self.backend.wait(job, SECONDS)
        if running and self.backend._connection is not None:
            with self.backend._connection._changed:
                assert self.backend._connection._changed.wait_for(self.backend._connection._is_over, SECONDS)
            self.backend.poll()
            assert self.backend.state in BROKEN

    @precondition(lambda self: hasattr(signal, "SIGSTOP"))
    @rule()
    def pause_and_go_on(self) -> None:
        child = self.child()
        if child is not None:
            child.send_signal(signal.SIGSTOP)  # it may have been killed a moment ago, and be gone before the next line
            self.backend.poll()
            child.send_signal(signal.SIGCONT)

    # --- what always holds ---

    @invariant()
    def the_state_is_known(self) -> None:
        assert self.backend.state in ConnectionState
        assert (self.backend.welcome is not None) == (self.backend.state is ConnectionState.connected)

    @invariant()
    def an_error_has_words(self) -> None:
        assert bool(self.backend.error) == (self.backend.state in BROKEN)
        assert "bug" not in self.backend.error.lower()

    @invariant()
    def every_job_ends_once(self) -> None:
        for job in self.jobs:
            assert self.endings[job] == job.ended
            assert (job.error is not None) == (job.state is JobState.failed)
            assert job.error is None or (job.error.what and job.error.code != "bug")
        assert self.backend.jobs == [job for job in self.jobs if not job.ended]

    def teardown(self) -> None:
        self.child()
        self.backend.stop()
        try:
            self.every_job_ends_once()
            assert all(job.ended for job in self.jobs)
            for process in self.processes:
                assert process.wait(SECONDS) is not None
            for thread in threading.enumerate():
                if thread.name.startswith("saga "):
                    thread.join(SECONDS)
                    assert not thread.is_alive(), f"{thread.name} is left over"
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- helpers ---

    def submit(self, message: object) -> None:
        try:
            self.jobs.append(self.backend.submit(message, lambda job: self.endings.update([job])))
        except UserError as error:
            assert error.code == "not_running"

    def child(self) -> subprocess.Popen[bytes] | None:
        """The process, noted so that it can be seen to end."""
        process = self.backend._process
        child = process._child if process is not None else None
        if child is not None and child not in self.processes:
            self.processes.append(child)
        return child


class AnyOrderWithTorch(AnyOrder):
    """The same with the real session; it begins where something can be done, because a start takes seconds."""

    script = REAL

    @initialize()
    def begin(self) -> None:
        self.start()
        self.wait_until_it_runs()
        self.load("a")
        self.train("a", False)


@pytest.mark.parametrize(("machine", "few", "many"), [(AnyOrder, 40, 1_000), (AnyOrderWithTorch, 5, 30)])
def test_any_order(case, counts: Callable[[int, int], int], machine: type[AnyOrder], few: int, many: int) -> None:
    runs, steps = counts(few, many), 25
    kind = "torch" if machine.script == REAL else "a fake session"
    with case(f"start, train, click, cancel, stop, kill in any order: {runs:,} x {steps} with {kind}") as row:
        chosen = settings(
            max_examples=runs, stateful_step_count=steps, deadline=None, database=None, print_blob=True,
            suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),
        )  # fmt: skip
        run_state_machine_as_test(machine, settings=chosen)
        row.lost, row.remark = "nothing", "every job ended once, no process or thread is left"
