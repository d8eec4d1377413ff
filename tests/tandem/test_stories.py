from datetime import UTC, datetime

from tandem.domain.decisions import Decision
from tandem.stories import CDR_HEADERS, Stories


def decision(uniqueid):
    return Decision(
        datetime(2026, 11, 20, tzinfo=UTC), "did", uniqueid, "PJSIP/carrier-1", "4930", "030", (), "x", 0.001, 1
    )


def cdr(**values):
    headers = dict.fromkeys(CDR_HEADERS, "") | {"Event": "Cdr", "LinkedID": "1.1", "Duration": "5"} | values
    return list(headers.items())


def test_the_oldest_story_goes_first():
    stories = Stories(2)
    for uniqueid in ("1.1", "1.2", "1.1", "1.3"):
        stories.record_decision(decision(uniqueid))
    assert [story.uniqueid for story in stories] == ["1.3", "1.2"]


def test_a_cdr_joins_the_story_of_its_linkedid():
    stories = Stories(5)
    stories.record_decision(decision("1.1"))
    assert stories.record_cdr(cdr(UniqueID="1.2", Disposition="ANSWERED", Duration="x"))
    (story,) = stories
    assert story.records[0].disposition == "ANSWERED"
    assert story.records[0].duration_s == 0


def test_a_cdr_of_an_unknown_call_or_with_a_strangers_lines_is_not_believed():
    stories = Stories(5)
    stories.record_decision(decision("1.1"))
    assert not stories.record_cdr(cdr(LinkedID="9.9"))
    assert not stories.record_cdr([("Event", "Cdr"), ("UniqueID", "1.1"), ("LinkedID", "1.1")])
    assert not stories.record_cdr([("Event", "Cdr"), ("X", ""), *cdr()[1:]])
    assert not stories.record_cdr([*cdr(), ("LinkedID", "1.1")])
    (story,) = stories
    assert story.records == []


def test_a_flood_for_one_call_is_bounded():
    stories = Stories(5)
    stories.record_decision(decision("1.1"))
    for _ in range(200):
        stories.record_cdr(cdr())
        stories.record_decision(decision("1.1"))
    (story,) = stories
    assert len(story.records) == len(story.decisions) == Stories.RECORDS_PER_CALL


def test_a_cdr_that_comes_before_its_decision_is_kept_for_it():
    stories = Stories(2)
    for uniqueid in ("1.1", "2.2", "3.3"):
        assert not stories.record_cdr(cdr(UniqueID=uniqueid, LinkedID=uniqueid))
    stories.record_decision(decision("3.3"))
    stories.record_decision(decision("1.1"))  # more than two calls ago
    assert [(story.uniqueid, len(story.records)) for story in stories] == [("1.1", 0), ("3.3", 1)]
