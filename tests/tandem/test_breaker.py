"""The trunk's breaker and the brake for a busy PBX, as tables of what happens."""

from hypothesis import given
from hypothesis import strategies as st

from tandem.domain.breaker import BACKOFF_MAX_S, CLOSED, FAILURES, allow, note_end, note_lost, note_sent
from tandem.domain.overload import Cap, TaskQueue, adjust_cap, allow_speed, begin_cap, read_pressure, read_task_queues


def test_it_opens_after_failures_in_a_row_and_lets_single_probes_through():
    breaker = CLOSED
    for number in range(FAILURES):
        assert allow(breaker, 100) is None
        breaker = note_end(breaker, is_dead=True, now=100 + number)
    assert breaker.state == "open"
    assert allow(breaker, breaker.retry_at - 0.1) == 0
    assert allow(breaker, breaker.retry_at) == 1
    probing = note_sent(breaker, breaker.retry_at)
    assert (probing.state, allow(probing, breaker.retry_at + 1)) == ("probing", 0)
    again = note_end(probing, is_dead=True, now=200)
    assert (again.state, again.backoff_s) == ("open", 2 * breaker.backoff_s)
    assert note_end(probing, is_dead=False, now=200) == CLOSED
    # The probe's end is never told: another one may go.
    assert allow(note_lost(probing, 300), 300) == 1


def test_a_clock_that_goes_back_does_not_keep_it_shut():
    breaker = CLOSED
    for _ in range(FAILURES):
        breaker = note_end(breaker, is_dead=True, now=10_000)
    assert allow(breaker, 10_001) == 0
    assert allow(breaker, 10_000 - 3600) == 1
    assert note_sent(breaker, 10_000 - 3600).state == "probing"


def test_one_answer_in_between_keeps_it_closed():
    breaker = CLOSED
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker = note_end(breaker, is_dead=True, now=1)
        breaker = note_end(breaker, is_dead=False, now=1)
    assert breaker == CLOSED


@given(st.lists(st.tuples(st.sampled_from(["sent", "dead", "alive", "lost"]), st.floats(0, 100)), max_size=60))
def test_it_never_shuts_for_ever(steps):
    breaker, now = CLOSED, 0.0
    for what, later in steps:
        now += later
        if what == "sent":
            breaker = note_sent(breaker, now)
        elif what == "lost":
            breaker = note_lost(breaker, now)
        else:
            breaker = note_end(breaker, is_dead=what == "dead", now=now)
        assert breaker.retry_at <= now + BACKOFF_MAX_S
    settled = note_lost(breaker, now)
    assert allow(settled, now + BACKOFF_MAX_S) in {None, 1}


PRINTED = """
Processor                                                               Processed   In Queue  Max Depth  Low water High water Low time(us) High time(us)
cdr                                                                          1200         90        200       4500       5000          0          0
pjsip/default-00000012                                                          5          3          1        450        500
pjsip/default-00000013                                                          5          0          1        450        500
142 taskprocessors
"""


def test_what_asterisk_prints_is_read():
    assert read_task_queues(PRINTED.splitlines()) == (
        TaskQueue("cdr", 90, 5000), TaskQueue("pjsip/default-00000012", 3, 500),
    )  # fmt: skip
    assert read_task_queues(["", "No such command"]) == ()


def test_the_brake_is_hard_long_before_asterisk_refuses_calls():
    assert read_pressure([], 0.0) == 0.0
    assert read_pressure([TaskQueue("cdr", 90, 5000)], 0.0) == 0.0
    assert read_pressure([TaskQueue("cdr", 1000, 5000)], 0.0) == 1.0
    assert read_pressure([], 0.6) == 1.0
    assert allow_speed(Cap(), 0.7) < 0.31
    assert allow_speed(Cap(0.1), 0.7) == 0.1
    assert allow_speed(Cap(0.1), 1.0) == 0.0


@given(st.floats(0.005, 1), st.floats(0, 1), st.floats(0, 1))
def test_speed_keeps_within_its_bounds(share, pressure, used):
    cap = adjust_cap(Cap(share), pressure, used)
    assert 0.005 <= cap.share <= 1.0
    assert 0.0 <= allow_speed(cap, pressure) <= 1.0 - pressure
    if pressure and used:
        assert cap.share <= max(0.005, min(share, used))


@given(st.floats(60, 800), st.sampled_from([200.0, 1000.0, 2000.0]))
def test_the_rate_finds_what_an_asterisk_can_do_and_stays_near_it(capacity, max_cps):
    """An Asterisk that does so many calls a second, and has 68 messages of each in a queue with a mark of 3,000."""
    cap, queue, done, peak, pressure = begin_cap(max_cps), 0.0, [], 0.0, 0.0
    assert cap.share * max_cps <= 50
    for _ in range(400):
        rate = allow_speed(cap, pressure) * max_cps
        before, queue = queue, max(0.0, queue + (rate - capacity) * 68 / 4)
        peak = max(peak, queue)
        done.append(min(rate, capacity) if not before else capacity)
        pressure = read_pressure([TaskQueue("stasis/m:manager:core", round(queue), 3000)], 0.0)
        cap = adjust_cap(cap, pressure, rate / max_cps)
    assert sum(done[200:]) / 200 > 0.85 * min(capacity, max_cps)
    assert peak < 3000
