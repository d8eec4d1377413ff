"""Webhooks as values: signatures, when it is tried again, and where nothing is ever sent."""

import ipaddress
import json
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Verifier

from tandem.domain.webhooks import (
    FIRST_DELAY_S,
    MAX_ATTEMPTS,
    MAX_DELAY_S,
    NEEDED,
    TEST_KIND,
    EventKind,
    Keys,
    TargetRefused,
    check_addresses,
    new_secret,
    plan_retry,
    read_url,
    sign,
)


@given(st.text(max_size=200))
def test_another_implementation_verifies_what_we_sign(text: str) -> None:
    secret, body = new_secret(), json.dumps({"text": text}).encode()
    at = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign(Keys((secret,)), "msg_1", at, body),
    }
    assert Verifier(secret).verify(body, headers) == {"text": text}
    with pytest.raises(Exception, match="matching signature"):
        Verifier(new_secret()).verify(body, headers)


def test_every_kind_takes_a_permission_and_the_test_takes_none() -> None:
    kinds = get_args(EventKind)
    assert {kind.partition(".")[0] for kind in kinds} == set(NEEDED)
    assert TEST_KIND not in kinds


@given(st.floats(0, 1))
def test_tries_come_later_each_time_and_end(luck: float) -> None:
    delays = [plan_retry(attempts, luck) for attempts in range(1, MAX_ATTEMPTS + 1)]
    assert delays[-1] is None
    first = [delay for delay in delays if delay is not None]
    assert len(first) == MAX_ATTEMPTS - 1
    assert first == sorted(first)
    assert FIRST_DELAY_S * 0.79 < first[0] < FIRST_DELAY_S * 1.21
    assert MAX_DELAY_S * 0.79 < first[-1] < MAX_DELAY_S * 1.21


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("ftp://example.com/", "http or https"),
        ("x", "http or https"),
        ("https://user:pass@example.com/", "user name"),
        ("https://example.com/#x", "fragment"),
        ("http://example.com/", "must be https"),
        ("http://8.8.8.8/", "must be https"),
        ("https://" + "a" * 2100 + ".de/", "longer"),
        ("https://10.0.0.1/", "private"),
        ("https://192.168.1.1/", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://[fd00::1]/", "private"),
        ("https://169.254.169.254/latest/meta-data", "never"),
        ("https://0xA9FEA9FE/", "never"),
        ("https://2852039166/", "never"),
        ("https://[::ffff:169.254.169.254]/", "never"),
        ("https://[64:ff9b::a9fe:a9fe]/", "never"),
        ("https://[::ffff:127.0.0.1]/", "never"),
        ("https://[2002:7f00:1::]/", "never"),
        ("https://[fe80::1]/", "never"),
        ("https://[fd00:ec2::254]/", "never"),
        ("https://0.0.0.0/", "never"),
        ("https://224.0.0.1/", "never"),
    ],
)
def test_urls_that_are_refused_at_once(url: str, rule: str) -> None:
    with pytest.raises(TargetRefused, match=rule):
        read_url(url, allow_private=False)
    if rule != "private" and "example.com/" not in url.partition("//")[2][:12]:
        with pytest.raises(TargetRefused):
            read_url(url, allow_private=True)


def test_urls_that_are_taken_in_their_normal_form() -> None:
    for url in ("https://example.com/a?b=c", "http://localhost:8000/x", "http://127.0.0.1:8000/", "http://[::1]:9/"):
        assert read_url(url, allow_private=False) == url
    assert read_url("HTTP://0x7f.1:80", allow_private=False) == "http://127.0.0.1/"
    assert read_url("http://crm.lan/", allow_private=True) == "http://crm.lan/"
    assert read_url("https://10.0.0.1/", allow_private=True) == "https://10.0.0.1/"


def test_a_name_with_one_bad_address_is_refused_whole() -> None:
    good, bad = ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("127.0.0.1")
    assert check_addresses("example.com", [good], is_secure=True, allow_private=False) == good
    for addresses in ([good, bad], [bad], []):
        for allow_private in (False, True):
            with pytest.raises(TargetRefused):
                check_addresses("example.com", addresses, is_secure=True, allow_private=allow_private)
    assert check_addresses("localhost", [bad], is_secure=False, allow_private=False) == bad
    with pytest.raises(TargetRefused, match="https"):
        check_addresses("example.com", [good], is_secure=False, allow_private=True)
