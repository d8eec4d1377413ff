"""What of an Asterisk's log counts as a complaint, where the log says what no value of ours can be the reason of."""

from confgen.complaints import read_complaints

HEAD = "[Nov 26 01:54:40] WARNING[4711]"


def read(*lines):
    return [complaint.reason for complaint in read_complaints(lines, (), {}, "/folder")]


def test_a_race_of_loading_modules_is_no_complaint():
    race = "registered during operation. Enable PJSIP_SAFE_MODULE to prevent race condition."
    assert read(f'{HEAD} pjproject: <?>: sip_endpoint.c .As...: Module "Messaging Module" {race}') == []
    # What only looks like it, in a value, is one.
    told = f"{HEAD} config.c: Unknown option 'Module \"x\" {race}' at line 3"
    assert len(read(told)) == 1


def test_the_rest_is_told_once():
    line = f"{HEAD} loader.c: Error loading module 'x.so'"
    assert read(line, line) == ["Error loading module 'x.so'"]
    assert list(read_complaints([line], [line], {}, "/folder")) == []


def test_a_folder_of_music_that_is_not_there_is_told_of_who_would_hear_it():
    line = "[Nov 26 01:54:40] ERROR[40] file.c: Error opening directory - /usr/share/asterisk/moh/jazz: No such file or directory"
    queues = "[tandem.queue](!)\nautofill = yes\n\n[sales](tandem.queue)\nmusicclass = jazz\n\n[other](tandem.queue)\nmusicclass = default\n"
    (found,) = read_complaints([line], (), {"queues.conf": queues}, "/folder")
    assert (found.object, found.field) == ("queues.sales", "music")
    assert "moh/jazz: No such file" in found.reason
    (found,) = read_complaints([line], (), {}, "/folder")
    assert found.object == "Asterisk"
