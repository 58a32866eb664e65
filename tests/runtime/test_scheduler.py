"""Laws of the scheduler: order, shares, isolation, and that no job is ever lost."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.errors import Busy, ServiceError
from aimass.runtime.scheduler import SHORT_STEPS, Scheduler, Ticket

PATIENCE = 20.0  # seconds until a test that would hang fails instead


class Job:
    """Steps that say when they run, and everything the scheduler tells their owner."""

    def __init__(
        self, steps: int, log: list[Any] | None = None, fault: int | None = None, name: Any = None
    ) -> None:
        self.steps, self.fault, self.name = steps, fault, name
        self.log = [] if log is None else log
        self.delivered: list[int] = []
        self.ends: list[BaseException | None] = []
        self.closed = 0
        self.done = threading.Event()

    def work(self) -> Iterator[int]:
        try:
            for step in range(self.steps):
                if step == self.fault:
                    raise ValueError(f"step {step}")
                self.log.append((self.name, step))
                yield step
        finally:
            self.closed += 1

    def end(self, error: BaseException | None) -> None:
        self.ends.append(error)
        self.done.set()

    def start(self, scheduler: Scheduler) -> Ticket:
        ticket = scheduler.admit()
        ticket.run(self.work(), self.delivered.append, self.end)
        return ticket

    def wait(self) -> "Job":
        assert self.done.wait(PATIENCE), "the job was lost"
        return self


class Gated(Job):
    """A job whose every step waits until it is let go."""

    def __init__(self, steps: int, log: list[Any] | None = None, name: Any = None) -> None:
        super().__init__(steps, log, None, name)
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def work(self) -> Iterator[int]:
        for step in super().work():
            self.entered.release()
            assert self.gate.acquire(timeout=PATIENCE)
            yield step

    def running(self) -> None:
        """Return once the next step has begun."""
        assert self.entered.acquire(timeout=PATIENCE)

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.release()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(2, 100)
    yield made
    made.close()


@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 6), st.none() | st.integers(0, 6)), min_size=1, max_size=20
    ),
    workers=st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_every_job_runs_its_steps_in_order_exactly_once_and_ends_once(
    jobs: list[tuple[int, int | None]], workers: int
) -> None:
    scheduler = Scheduler(workers, 100)
    made = [Job(steps, fault=fault) for steps, fault in jobs]
    tickets = [job.start(scheduler) for job in made]
    for job, ticket in zip(made, tickets, strict=True):
        job.wait()
        ticket.release()
        faulty = job.fault is not None and job.fault < job.steps
        assert job.delivered == list(range(job.fault if faulty else job.steps))  # type: ignore[arg-type]
        assert [type(end) for end in job.ends] == [ValueError if faulty else type(None)]
        assert job.closed == 1
    assert scheduler.taken == 0
    scheduler.close()


def test_the_job_served_least_goes_first() -> None:
    scheduler = Scheduler(1, 100)
    log: list[Any] = []
    blocker = Gated(1)
    blocker.start(scheduler)
    blocker.running()
    jobs = [Job(steps, log, name=name) for name, steps in enumerate((3, 1, 2))]
    for job in jobs:
        job.start(scheduler)
    blocker.step()
    for job in jobs:
        job.wait()
    assert log == [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2)]
    scheduler.close()


def test_a_new_job_overtakes_one_that_waits_with_more_service() -> None:
    scheduler = Scheduler(1, 100)
    log: list[Any] = []
    long = Gated(4, log, "long")
    long.start(scheduler)
    long.running()
    long.step()
    long.running()
    short = Job(1, log, name="short")
    short.start(scheduler)
    long.step(3)
    long.wait()
    assert log.index(("short", 0)) == 2  # right after the step that was running
    scheduler.close()


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_long_jobs_leave_a_worker_free(workers: int) -> None:
    scheduler = Scheduler(workers, 100)
    longs = [Gated(SHORT_STEPS + 3) for _ in range(workers + 2)]
    for long in longs:
        long.start(scheduler)
        long.step(SHORT_STEPS)
    until(lambda: all(len(long.delivered) == SHORT_STEPS for long in longs))
    until(lambda: sum(len(job.log) > SHORT_STEPS for job in longs) == workers - 1)
    time.sleep(0.02)  # time for one too many
    assert sum(len(job.log) > SHORT_STEPS for job in longs) == workers - 1
    # Every other worker is inside a long step, and none of these will end before the short job.
    Job(1).start(scheduler)
    short = Job(1)
    short.start(scheduler)
    short.wait()
    assert sum(len(job.delivered) > SHORT_STEPS for job in longs) == 0
    for long in longs:
        long.step(3)
    for long in longs:
        long.wait()
    scheduler.close()


def test_the_end_of_a_short_job_does_not_wait_for_a_long_step(scheduler: Scheduler) -> None:
    long = Gated(10)
    long.start(scheduler)
    long.step(SHORT_STEPS)
    for _ in range(SHORT_STEPS + 1):
        long.running()
    short = Job(1)
    short.start(scheduler)
    short.wait()  # its step and its end
    assert len(long.delivered) == SHORT_STEPS
    long.step(10)
    long.wait()


def test_a_single_worker_also_gets_on_with_long_jobs() -> None:
    scheduler = Scheduler(1, 10)
    job = Job(20)
    job.start(scheduler)
    assert job.wait().delivered == list(range(20))
    scheduler.close()


def test_an_exception_reaches_only_its_job(scheduler: Scheduler) -> None:
    bad, good = Job(5, fault=2), Job(5)
    bad.start(scheduler)
    good.start(scheduler)
    assert isinstance(bad.wait().ends[0], ValueError)
    assert good.wait().ends == [None]
    assert Job(1).start(scheduler) and scheduler.taken == 3


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_even_base_exceptions_leave_the_worker_alive(
    scheduler: Scheduler, fault: type[BaseException]
) -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise fault

    ended = Job(0)
    for _ in range(5):  # more than there are workers
        ended.done.clear()
        scheduler.admit().run(steps(), lambda _: None, ended.end)
        ended.wait()
        assert isinstance(ended.ends[-1], fault)


def test_an_error_in_deliver_ends_its_job(scheduler: Scheduler) -> None:
    def refuse(value: int) -> None:
        raise OSError("the event loop is closed")

    job = Job(3)
    scheduler.admit().run(job.work(), refuse, job.end)
    assert isinstance(job.wait().ends[0], OSError)
    assert job.closed == 1


def test_an_error_while_closing_still_ends_the_job(scheduler: Scheduler) -> None:
    class Stubborn:
        def __iter__(self) -> "Stubborn":
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("cannot close")

    job = Job(0)
    scheduler.admit().run(Stubborn(), lambda _: None, job.end)
    assert isinstance(job.wait().ends[0], OSError)


def test_an_error_in_ended_leaves_the_worker_alive(scheduler: Scheduler) -> None:
    def refuse(error: BaseException | None) -> None:
        raise OSError

    for _ in range(4):
        scheduler.admit().run(Job(1).work(), lambda _: None, refuse)
    job = Job(1)
    job.start(scheduler)
    job.wait()


def test_a_released_job_stops_after_its_step_and_is_closed(scheduler: Scheduler) -> None:
    job = Gated(10)
    ticket = job.start(scheduler)
    job.running()
    ticket.release()
    job.step()
    job.wait()
    assert (job.delivered, job.ends, job.closed) == ([0], [None], 1)
    assert scheduler.taken == 0


def test_a_job_released_while_it_waits_never_runs_and_is_ended_at_once() -> None:
    scheduler = Scheduler(2, 10)
    blockers = [Gated(1), Gated(1)]
    for blocker in blockers:
        blocker.start(scheduler)
        blocker.running()
    waiting = Job(3)
    waiting.start(scheduler).release()
    blockers[0].step()  # the first free worker closes it, though other jobs wait
    waiting.wait()
    assert (waiting.delivered, waiting.log) == ([], [])
    blockers[1].step()
    scheduler.close()


def test_releasing_twice_gives_one_place_back(scheduler: Scheduler) -> None:
    first, second = scheduler.admit(), scheduler.admit()
    first.release()
    first.release()
    assert scheduler.taken == 1
    second.release()


def test_full_is_refused_with_a_time_to_come_back() -> None:
    scheduler = Scheduler(2, 3)
    tickets = [scheduler.admit() for _ in range(5)]
    with pytest.raises(Busy) as caught:
        scheduler.admit()
    assert 1 <= caught.value.retry_after <= 60
    assert "5 requests" in caught.value.found and "5" in caught.value.expected
    tickets.pop().release()
    scheduler.admit()
    scheduler.close()


def test_close_ends_running_and_waiting_jobs_and_joins() -> None:
    scheduler = Scheduler(2, 100)
    running = [Gated(50) for _ in range(2)]
    for job in running:
        job.start(scheduler)
        job.running()
    waiting = [Job(5) for _ in range(10)]
    for other in waiting:
        other.start(scheduler)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    until(lambda: scheduler._closing)
    for job in running:
        job.step()  # one step each: close waits for no more
    closing.join(PATIENCE)
    assert not closing.is_alive()
    for every in (*running, *waiting):
        assert every.wait().ends == [None] and len(every.delivered) <= 1
    assert not any(thread.is_alive() for thread in scheduler._threads)


def test_close_does_not_strand_a_long_job_beside_another() -> None:
    scheduler = Scheduler(2, 100)
    jobs = [Gated(50), Gated(50)]
    for job in jobs:
        job.start(scheduler)
        job.step(SHORT_STEPS)
    until(lambda: sum(len(job.log) > SHORT_STEPS for job in jobs) == 1)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    for job in jobs:
        job.step()
    for job in jobs:
        job.wait()
    closing.join(PATIENCE)
    assert not closing.is_alive()


def test_a_job_that_comes_after_close_is_told_so() -> None:
    scheduler = Scheduler(2, 10)
    ticket = scheduler.admit()
    scheduler.close()
    job = Job(3)
    ticket.run(job.work(), job.delivered.append, job.end)
    assert isinstance(job.wait().ends[0], ServiceError)
    assert job.delivered == []


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_under_many_threads(seed: int) -> None:
    scheduler = Scheduler(4, 1000)
    rng = random.Random(seed)
    plans = [
        [(rng.randrange(5), rng.choice([None, None, 1]), rng.random() < 0.2) for _ in range(40)]
        for _ in range(12)
    ]
    jobs: list[Job] = []

    def client(plan: list[tuple[int, int | None, bool]]) -> None:
        for steps, fault, leaves in plan:
            job = Job(steps, fault=fault)
            ticket = job.start(scheduler)
            jobs.append(job)
            if not leaves:
                job.wait()
            ticket.release()

    threads = [threading.Thread(target=client, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(jobs) == 12 * 40
    for job in jobs:
        job.wait()
        assert len(job.ends) == 1
        assert job.delivered == list(range(len(job.delivered)))
    assert scheduler.taken == 0
    assert scheduler._long_running == 0 and not scheduler._waiting
    scheduler.close()
