"""What follows on an attempt: retries by disposition, never inside the ring window of a call that may still ring."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tandem.domain.attempts import DOUBT_S, Finished, Retry, after_attempt
from tandem.domain.campaigns import Campaign, NumberStatus, RetryDisposition
from tandem.domain.disposition import Disposition

ADAPTER = TypeAdapter(Campaign)


def campaign(**fields):
    return ADAPTER.validate_python({"name": "one", "trunk": "carrier", "destination": {"queue": "sales"}} | fields)


def test_n_retries_are_n_further_attempts():
    three = campaign(retry_times=3, retry_delay_s=300)
    for attempts in (1, 2, 3):
        assert after_attempt(three, attempts, Disposition.BUSY, 0, 10) == Retry(310)
    assert after_attempt(three, 4, Disposition.BUSY, 0, 10) == Finished(NumberStatus.BUSY)
    assert after_attempt(three, 4, Disposition.NO_ANSWER, 0, 10) == Finished(NumberStatus.NO_ANSWER)
    assert after_attempt(three, 4, Disposition.CONGESTION, 0, 10) == Finished(NumberStatus.FAILED)


def test_rules_of_a_disposition_go_first_and_nobody_is_called_again_at_a_number_that_is_none():
    rules = campaign(retry_times=1, retry_delay_s=600, retry_rules={"busy": {"times": 5, "delay_s": 30}})
    assert after_attempt(rules, 5, Disposition.BUSY, 0, 10) == Retry(40)
    assert after_attempt(rules, 1, Disposition.NO_ANSWER, 0, 10) == Retry(610)
    assert after_attempt(rules, 1, Disposition.INVALID_NUMBER, 0, 10) == Finished(NumberStatus.FAILED)
    told = campaign(retry_rules={"invalid-number": {"times": 1, "delay_s": 30}})
    assert after_attempt(told, 1, Disposition.INVALID_NUMBER, 0, 10) == Retry(40)


def test_a_machine_is_nobody_unless_it_was_left_the_message():
    hung_up = campaign(retry_times=1, on_machine="hang-up")
    assert after_attempt(hung_up, 1, Disposition.MACHINE, 0, 10) == Retry(310)
    assert after_attempt(hung_up, 2, Disposition.MACHINE, 0, 10) == Finished(NumberStatus.NO_ANSWER)
    told = campaign(retry_times=1, on_machine="message", machine_announcement="news")
    assert after_attempt(told, 1, Disposition.MACHINE, 0, 10) == Finished(NumberStatus.COMPLETED)
    again = campaign(
        on_machine="message", machine_announcement="news", retry_rules={"machine": {"times": 1, "delay_s": 60}}
    )
    assert after_attempt(again, 1, Disposition.MACHINE, 0, 10) == Retry(70)


def test_a_dead_trunk_and_what_was_never_sent_spend_no_attempt():
    none = campaign()
    for outcome in (
        after_attempt(none, 1, Disposition.TRUNK_DEAD, 0, 10),
        after_attempt(none, 1, Disposition.FAILED, 0, 10, is_unsent=True),
    ):
        assert isinstance(outcome, Retry)
        assert not outcome.is_spent


@given(
    st.sampled_from(list(Disposition)), st.integers(1, 25), st.integers(0, 20), st.integers(1, 1000), st.floats(0, 300)
)
def test_whatever_happens_it_ends_or_waits(disposition, attempts, times, delay_s, length_s):
    fields = campaign(retry_times=times, retry_delay_s=delay_s)
    outcome = after_attempt(fields, attempts, disposition, 1000.0, 1000.0 + length_s)
    if disposition is Disposition.ANSWERED:
        assert outcome == Finished(NumberStatus.COMPLETED)
    elif isinstance(outcome, Retry):
        assert outcome.at > 1000.0 + length_s
        assert not outcome.is_spent or attempts <= times
        if disposition is Disposition.UNCONFIRMED:
            assert outcome.at >= 1000.0 + fields.dial_timeout_s + DOUBT_S
    else:
        assert attempts > times or disposition is Disposition.INVALID_NUMBER


def test_every_outcome_that_can_be_tried_again_has_a_name():
    over = {Disposition.ANSWERED, Disposition.TRUNK_DEAD}
    assert set(get_args(RetryDisposition)) == {str(one) for one in Disposition if one not in over}
