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
