"""PHP's names of parameters and its http_build_query, by real PHP's own output where it is known, and by properties."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.compat.php_names import (
    MAX_DEPTH,
    MAX_NAMES,
    NamesRefused,
    as_list,
    build_query,
    nest_pairs,
    split_pairs,
)
from tests.beside import lacks

VECTORS = Path(__file__).parents[3] / "shared" / "specs" / "while1_vectors.json"


def parse(text):
    return nest_pairs(split_pairs(text.encode()))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a", {"a": ""}),
        ("a=1&&b=", {"a": "1", "b": ""}),
        ("a[x]=1&b=2&a[y]=3", {"a": {"x": "1", "y": "3"}, "b": "2"}),
        ("a=1&b=2&a=3", {"a": "3", "b": "2"}),
        ("a[]=1&a[]=2", {"a": {"0": "1", "1": "2"}}),
        ("a[7]=1&a[]=2&a[x]=3&a[]=4", {"a": {"7": "1", "8": "2", "x": "3", "9": "4"}}),
        ("a[07]=1&a[]=2", {"a": {"07": "1", "0": "2"}}),
        ("a[][b]=1&a[][b]=2", {"a": {"0": {"b": "1"}, "1": {"b": "2"}}}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a[b]=1&a=2", {"a": "2"}),
        ("a.b=1&c d=2&e+f=3", {"a_b": "1", "c_d": "2", "e_f": "3"}),
        ("a[b.c d]=1", {"a": {"b.c d": "1"}}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("[a]=1&=2&b=3", {"b": "3"}),
        ("a[b=1", {"a_b": "1"}),
        ("a;b=1", {"a;b": "1"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("a%5Bb%5D=%41+%2B&c=%zz%", {"a": {"b": "A +"}, "c": "%zz%"}),
        ("a=%00%0D%0A", {"a": "\0\r\n"}),
        ("  a=1", {"a": "1"}),
        ("a%00b=1", {"a": "1"}),
    ],
)
def test_names_as_php_reads_them(text, tree):
    assert parse(text) == tree
    assert json.dumps(parse(text)) == json.dumps(tree)  # their order too


@pytest.mark.parametrize(
    "text",
    ["&".join(f"a{n}=1" for n in range(MAX_NAMES + 1)), "&".join(["a[]=1"] * (MAX_NAMES + 1)),
     "a" + "[b]" * MAX_DEPTH + "=1", "a=%ff", "%c3=1"],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused(text):
    with pytest.raises(NamesRefused):
        parse(text)


def test_the_limits_themselves_are_within():
    assert len(parse("&".join(f"a{n}=1" for n in range(MAX_NAMES)))) == MAX_NAMES
    parse("a" + "[b]" * (MAX_DEPTH - 1) + "=1")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (-1, "-1"), (True, "1"), (False, "0"), ("", ""), ("a b", "a+b"), ("~*-_.", "%7E%2A-_."), ("é/", "%C3%A9%2F"),
        (1.0, "1"), (0.1 + 0.2, "0.3"), (1e14, "1.0E%2B14"), (1e13, "10000000000000"), (1e-7, "1.0E-7"), (0.0001, "0.0001"),
        (0.00001, "1.0E-5"), (1.5e300, "1.5E%2B300"), (-2.5, "-2.5"), (2**63, "9.2233720368548E%2B18"), (2**63 - 1, str(2**63 - 1)),
        (0.0, "0"),
    ],
)  # fmt: skip
def test_values_as_php_writes_them(value, text):
    assert build_query({"k": value}) == f"k={text}"


def test_structures_as_php_writes_them():
    assert build_query({}) == ""
    assert build_query({"a": None, "b": [], "c": {}, "d": ""}) == "d="
    assert build_query({"a": [1, None, [2, {"x+": 3}]]}) == "a%5B0%5D=1&a%5B2%5D%5B0%5D=2&a%5B2%5D%5B1%5D%5Bx%2B%5D=3"
    assert build_query({"b": {"z": 1, "a": 2}, "a": 3}) == "b%5Bz%5D=1&b%5Ba%5D=2&a=3"


def test_the_vectors_that_real_php_made():
    if not VECTORS.exists():
        lacks("while1_vectors.json")
    vectors = json.loads(VECTORS.read_text())["vectors"]
    assert len(vectors) == 25
    for vector in vectors:
        body = vector["body"]
        params = json.loads(body) if vector["transport"] == "json" else parse(body)
        params.pop("api_hash", None)
        assert build_query(params) == vector["query_string"], vector["id"]


KEYS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0[]. "), min_size=1, max_size=6)
TREES = st.dictionaries(
    KEYS, st.recursive(st.text(st.characters(blacklist_categories=["Cs"])), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=4), max_leaves=12), max_size=6
)  # fmt: skip


@given(TREES)
def test_what_is_built_is_read_back_as_it_was(tree):
    query = build_query(tree)
    assert query.isascii()
    assert nest_pairs(split_pairs(query.encode())) == tree
    assert build_query(nest_pairs(split_pairs(query.encode()))) == query


@given(st.lists(st.tuples(st.text(st.sampled_from("ab[]. 0\0+")), st.text(max_size=3)), max_size=12))
def test_any_names_give_a_tree_of_texts(pairs):
    def check(value):
        assert isinstance(value, str) or all(isinstance(key, str) and check(part) for key, part in value.items())
        return True

    assert check(nest_pairs(pairs))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    try:
        build_query(nest_pairs(split_pairs(raw)))
    except NamesRefused:
        pass


def test_lists_of_php():
    assert as_list({"0": "a", "5": "b"}) == ["a", "b"]
    assert as_list("a") == ["a"]
    assert as_list([1, 2]) == [1, 2]
