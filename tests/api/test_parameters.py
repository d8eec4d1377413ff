"""Parameters from query and body, in each form that PHP's programs send, and what nobody can mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.compat.parameters import json_body, measure_depth, parameters_body, read_json, read_parameters
from api.declare import MAX_DEPTH, Sent
from api.errors import BodyUnreadable, Refused

FORM = "application/x-www-form-urlencoded"


def multipart(*parts):
    lines = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n' for name, more, value in parts
    ]
    return ("".join(lines) + "--b--\r\n").encode()


@pytest.mark.parametrize(
    ("content", "kind", "transport"),
    [
        (b"a[b]=1&c=2", FORM, "form"),
        (b"a[b]=1&c=2\r\n", "text/xml", "form"),
        (b"a[b]=1&c=2", "", "form"),
        (b'{"a": {"b": "1"}, "c": "2"}', "application/json", "json"),
        (b' {"a": {"b": "1"}, "c": "2"}', "text/xml", "json"),
        (b'\xef\xbb\xbf{"a": {"b": "1"}, "c": "2"}', FORM, "json"),
        (multipart(("a[b]", "", "1"), ("c", "", "2")), "multipart/form-data; boundary=b", "multipart"),
        (multipart(("a[b]", "", "1"), ("c", "", "2")), 'Multipart/Form-Data; boundary="b"', "multipart"),
    ],
)
def test_one_structure_from_every_transport(content, kind, transport):
    found = read_parameters(Sent(b"", content, kind))
    assert dict(found) == {"a": {"b": "1"}, "c": "2"}
    assert found.transport == transport
    assert found["a"] == {"b": "1"}
    assert len(found) == 2


def test_the_body_wins_but_for_the_names_that_are_the_querys():
    sent = Sent(b"goAction=q&a=q&only=q", b"goAction=b&a=b&more=b", FORM)
    assert dict(read_parameters(sent)) == {"goAction": "b", "a": "b", "only": "q", "more": "b"}
    found = parameters_body(query_wins=("goAction",)).read(sent)
    assert dict(found) == {"goAction": "q", "a": "b", "only": "q", "more": "b"}
    assert list(found) == ["goAction", "a", "only", "more"]
    assert (found.query["a"], found.body["a"]) == ("q", "b")


def test_files_come_with_their_name():
    raw = multipart(("x", "", "1"), ("up", '; filename="../a.wav"', "RIFF"))
    found = read_parameters(Sent(b"", raw, "multipart/form-data; boundary=b"))
    assert dict(found) == {"x": "1"}
    assert (found.files["up"].content, found.files["up"].name) == (b"RIFF", "../a.wav")


def test_json_keeps_its_types_and_a_list_has_places():
    value = {"a": [1, 2.5, True, None, {"b": []}]}
    assert dict(read_parameters(Sent(b"", json.dumps(value).encode(), "application/json"))) == value
    assert dict(read_parameters(Sent(b"", b'[{"a": 1}]', ""))) == {"0": {"a": 1}}
    assert json_body().read(Sent(b"x=1", b"[1]", FORM)).value == [1]
    assert json_body().read(Sent(b"x=1", b"", "")).query == {"x": "1"}
    assert read_json(Sent(b"", b" \n", "")) is None


def test_no_body_and_no_query():
    found = read_parameters(Sent(b"", b"", ""))
    assert (dict(found), found.transport) == ({}, "none")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"), (b"3", "application/json"), (b"[" * 2000 + b"]" * 2000, ""), (b"{nonsense", FORM),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "application/json"), (b"\xff", FORM), (b"a=%ff", FORM),
        (b"a=1", "multipart/form-data"), (b"--b\r\n\r\nx", "multipart/form-data; boundary=b"), (b"&".join([b"a[]=1"] * 1001), FORM),
        (multipart(*[("a", "", "1")] * 1001), "multipart/form-data; boundary=b"), (b'{"a": "\\ud800"}', "application/json"),
        (b'{"a": NaN}', "application/json"),
    ],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused(content, kind):
    with pytest.raises(Refused) as caught:
        read_parameters(Sent(b"", content, kind))
    assert caught.value.status == 400


def test_a_query_is_refused_by_the_same_rules():
    for query in (b"a=%ff", b"a" + b"[b]" * 40 + b"=1"):
        with pytest.raises(BodyUnreadable):
            read_parameters(Sent(query, b"", ""))
        with pytest.raises(BodyUnreadable):
            json_body().read(Sent(query, b"", ""))


def test_nul_and_line_ends_are_data():
    assert read_parameters(Sent(b"", b'{"a": "\\u0000\\r\\n"}', ""))["a"] == "\0\r\n"
    assert read_parameters(Sent(b"a=%00%0a", b"", ""))["a"] == "\0\n"


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([FORM, "", "application/json", "multipart/form-data; boundary=b"]))  # fmt: skip
def test_whatever_is_sent_is_read_or_refused(query, content, kind):
    try:
        found = read_parameters(Sent(query, content, kind))
    except Refused as refused:
        status = refused.status
    else:
        status = 400
        assert all(isinstance(name, str) for name in found)
    assert status == 400


def test_depth():
    assert [measure_depth(value) for value in (1, {}, [], {"a": 1}, [[]], {"a": [{"b": 1}]})] == [0, 1, 1, 1, 2, 3]
