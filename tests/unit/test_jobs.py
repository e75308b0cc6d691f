"""Jobs of the client: from request to one end, whatever the backend says in between."""

from __future__ import annotations

import pytest

from blender_saga.client.connection.jobs import Job, JobState, JobTable
from blender_saga.errors import Cancelled, UserError
from blender_saga.wire.messages import Cancel, Done, Failed, Progress, Stopped, Train, Trained, Unload


class Wire:
    """Stands in for a Connection: remembers what is sent."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, message: object) -> int:
        self.sent.append(message)
        return len(self.sent)


def a_job() -> tuple[JobTable, Wire, Job]:
    table, wire = JobTable(), Wire()
    return table, wire, table.submit(wire, Train("scene"))


def test_from_waiting_to_finished() -> None:
    table, _, job = a_job()
    assert (job.id, job.kind, job.state) == (1, "Train", JobState.waiting)
    assert table.active == [job]
    assert table.handle((1, Progress("masks", 1, 4))) is job
    assert (job.state, job.fraction, job.ended) == (JobState.running, 0.25, False)
    answer = Trained("scene", 1, 1, 1, 1.0)
    table.handle((1, answer))
    assert (job.state, job.ended) == (JobState.finished, True)
    assert job.outcome() is answer
    assert table.active == []


def test_the_newest_progress_counts() -> None:
    table, _, job = a_job()
    for step in (1, 2, 3):
        table.handle((1, Progress("training", step, 4)))
    assert job.progress.step == 3


@pytest.mark.parametrize(("step", "total", "fraction"), [(0, 0, 0.0), (5, 0, 0.0), (3, 4, 0.75)])
def test_a_phase_of_unknown_length_has_no_fraction(step: int, total: int, fraction: float) -> None:
    table, _, job = a_job()
    table.handle((1, Progress("training", step, total)))
    assert job.fraction == fraction


def test_what_failed_is_told_in_the_backends_words() -> None:
    table, _, job = a_job()
    table.handle((1, Failed("busy", "The backend trains already", "one at a time", "Wait")))
    assert job.state is JobState.failed
    with pytest.raises(UserError, match=r"^The backend trains already: one at a time\. Wait$") as caught:
        job.outcome()
    assert caught.value.code == "busy"


def test_cancelled() -> None:
    table, wire, job = a_job()
    table.cancel(wire, job)
    table.cancel(wire, job)  # once is enough
    assert [message.target for message in wire.sent if isinstance(message, Cancel)] == [1]
    assert job.cancelling and not job.ended
    assert table.handle((2, Done())) is None  # the answer to Cancel is nobody's
    table.handle((1, Stopped()))
    assert job.state is JobState.cancelled
    with pytest.raises(Cancelled):
        job.outcome()


def test_too_late_to_cancel() -> None:
    table, wire, job = a_job()
    table.cancel(wire, job)
    table.handle((1, Trained("scene", 1, 1, 1, 1.0)))
    assert job.state is JobState.finished
    table.cancel(wire, job)
    assert len(wire.sent) == 2


def test_answers_of_several_jobs_are_kept_apart() -> None:
    table, wire, train = a_job()
    unload = table.submit(wire, Unload("other"))
    table.handle((unload.id, Done()))
    assert unload.ended and not train.ended
    assert table.active == [train]


def test_what_comes_after_the_end_is_ignored() -> None:
    table, _, job = a_job()
    table.handle((1, Trained("scene", 1, 1, 1, 1.0)))
    assert table.handle((1, Progress("late", 1, 1))) is None
    assert table.handle((1, Stopped())) is None
    assert job.state is JobState.finished


def test_a_dead_backend_fails_every_job() -> None:
    table, wire, first = a_job()
    second = table.submit(wire, Unload("scene"))
    error = UserError("The backend has stopped")
    assert table.fail_all(error) == [first, second]
    assert table.active == []
    for job in (first, second):
        assert job.state is JobState.failed
        with pytest.raises(UserError, match="has stopped"):
            job.outcome()
