"""Encrypted calls in a real Asterisk: TLS with SRTP, and a browser's DTLS over secure WebSockets."""

import contextlib
import re
import ssl
import time

import pytest

from confgen.generations import switch_link, write_generation
from confgen.render import RenderTarget, Transport, render
from confgen.values import ValueUnrepresentable
from lab.browser import Browser, open_media_address
from lab.certificates import write_certificate
from lab.secure_media import PROFILE
from lab.web_socket import WebSocketFailed
from tandem.domain.entities import Endpoint, General, Pbx, Trunk
from tandem.domain.snapshot import build_snapshot
from tests.asterisk.rendered import DIALPLAN, including, target_for

pytestmark = pytest.mark.asterisk

BROWSER_SECRET = "correct-horse-battery"


@pytest.fixture(scope="module")
def secured(asterisk_factory, tmp_path_factory):
    """(an owner's Asterisk with a certificate, its files): a trunk over TLS leads to itself, and 1011 is a browser."""
    instance = asterisk_factory(
        config=including("owner") | {"rtp.conf": "[general]\nrtpstart = 10000\nrtpend = 10999\n"}, shared=[DIALPLAN]
    )
    instance.stop()
    open_media_address(instance)
    files = write_certificate(instance.etc, "pbx.example.org")
    paths = {"certificate": str(files.certificate), "key": str(files.key)}
    transports = (
        Transport(name="tls", protocol="tls", bind="127.0.0.1:5061", **paths),
        Transport(name="wss", protocol="wss", bind="127.0.0.1:8089", max_sessions=3, **paths),
    )
    trunk = Trunk(name="secure", hosts=("127.0.0.1:5061",), transport="tls", media_encryption="sdes")
    browser = Endpoint(extension="1011", secret=BROWSER_SECRET, webrtc=True, codecs=("opus", "alaw"))
    snapshot = build_snapshot(1, Pbx(general=General(), trunks=(trunk,), endpoints=(browser,)))
    rendered = render(snapshot, target_for(instance, "owner", more_transports=transports))
    rendered["extensions.conf"] += """
[seen]
exten => in,1,Answer(,i)
 same => n,Wait(2)
 same => n,Set(DB(seen/in)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)},${CHANNEL(rtcp,rxcount)})
 same => n,Hangup()
exten => out,1,Set(DB(seen/out)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)})
 same => n,Playback(demo-congrats)
exten => echo,1,Set(DB(seen/echo)=${CHANNEL(pjsip,secure)},${CHANNEL(rtp,secure,audio)})
 same => n,Echo()
"""
    folder = instance.etc / "tandem"
    switch_link(folder, "current", write_generation(folder, 1, rendered))
    instance.start()
    return instance, files


def wait_for_seen(instance, name):
    """What the dialplan of `secured` has put down under that name."""
    deadline = time.monotonic() + 30
    while (found := re.search(rf"/seen/{name} *: (\S+)", shown := instance.cli("database show seen"))) is None:
        assert time.monotonic() < deadline, shown + instance.read_log()[-3000:]
        time.sleep(0.1)
    return found[1].split(",")


def test_a_call_over_tls_with_srtp(secured):
    """Asterisk calls itself over a trunk: both legs say that signalling and media are encrypted, and packets came through."""
    instance, _ = secured
    instance.cli("database put tandem-meta default tandem-enter,dialplan,1(in,0,,,seen,)")
    instance.cli("channel originate PJSIP/100@secure extension out@seen")
    assert wait_for_seen(instance, "out") == ["1", "1"]
    *is_secure, count = wait_for_seen(instance, "in")
    assert is_secure == ["1", "1"]
    assert int(count) > 50


class TestBrowsers:
    """What an owner's Asterisk offers to a browser, which verifies its certificate."""

    def test_it_registers_by_its_password_and_is_called_over_dtls(self, secured):
        instance, files = secured
        with open_browser(instance, files, BROWSER_SECRET + "r") as browser:
            assert (browser.subprotocol, browser.register()) == ("sip", 401)
        with open_browser(instance, files, BROWSER_SECRET) as browser:
            assert browser.register() == 200
            assert "transport=ws" in instance.cli("pjsip show contacts")
            instance.cli("channel originate PJSIP/1011 extension echo@seen")
            call = browser.take_call()
            # Our tone came back: both directions were decrypted, with the keys of the handshake.
            call.await_loud(25)
            assert (call.media.profile, wait_for_seen(instance, "echo")) == (PROFILE, ["1", "1"])
            call.hang_up()

    def test_there_is_one_door_and_it_has_a_limit(self, secured):
        instance, files = secured
        listening = instance.run(["ss", "--listening", "--tcp", "--numeric", "--no-header"]).stdout
        assert {line.split()[3] for line in listening.splitlines()} == {
            f"127.0.0.1:{port}" for port in (5038, 5061, 8089)
        }
        assert "/ws => " in (shown := instance.cli("http show status"))
        assert shown.count(" => ") == 1
        deadline, opened = time.monotonic() + 30, 0
        with contextlib.ExitStack() as browsers:
            # Those of other tests may not be quite gone.
            while opened < 3:
                assert time.monotonic() < deadline
                with contextlib.suppress(WebSocketFailed, OSError):
                    browsers.enter_context(open_browser(instance, files, BROWSER_SECRET))
                    opened += 1
            with pytest.raises((WebSocketFailed, OSError)):
                browsers.enter_context(open_browser(instance, files, BROWSER_SECRET))

    def test_a_stranger_s_certificate_is_no_certificate(self, secured, tmp_path):
        instance, _ = secured
        with pytest.raises(ssl.SSLCertVerificationError):
            open_browser(instance, write_certificate(tmp_path, "pbx.example.org"), BROWSER_SECRET)


def open_browser(instance, files, secret):
    return Browser(instance, "1011", secret, name=files.name, port=8089, trust=files.make_trust())


def test_a_trunk_without_its_transport_is_refused():
    target = RenderTarget(
        mode="owner", agi_url="agi://h", recordings_dir="/r", dialplan_dir="/d", transports=(Transport(name="udp"),)
    )
    snapshot = build_snapshot(1, Pbx(trunks=(Trunk(name="secure", hosts=("192.0.2.1",), transport="tls"),)))
    with pytest.raises(ValueUnrepresentable, match=r"trunks\.secure\.transport"):
        render(snapshot, target)
