"""What `tandem check` says of browsers: the door that http.conf opens, and what is behind it."""

import socket
import threading

import pytest

from tandem.ami.probe import ProbeAnswer
from tandem.cli.browsers import count_browsers, find_door, find_remedy, try_door


def config(*lines):
    return ProbeAnswer((("response", "Success"), *((f"line-000000-{n:06}", line) for n, line in enumerate(lines))))


@pytest.mark.parametrize(
    ("lines", "door"),
    [
        (["tlsenable=yes", "tlsbindaddr=0.0.0.0:8443"], ("0.0.0.0", 8443, True)),
        (["tlsenable=1", "bindaddr=192.0.2.1"], ("192.0.2.1", 8089, True)),
        (["tlsenable=yes", "tlsbindaddr=[::]:8089"], ("[::]", 8089, True)),
        (["enabled=yes", "bindaddr=127.0.0.1", "bindport=80"], ("127.0.0.1", 80, False)),
        (["enabled=yes", "bindaddr=127.0.0.1"], ("127.0.0.1", 8088, False)),
        (["enabled=no", "bindaddr=127.0.0.1", "tlsenable=no"], ("", 0, False)),
        ([], ("", 0, False)),
    ],
)
def test_the_door_of_http_conf(lines, door):
    assert find_door(config(*lines)) == door


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it speaks no SIP"),
        (b"", "it speaks no SIP"),
    ],
)
def test_what_is_behind_a_door(answer, problem):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            link, _ = server.accept()
            with link:
                assert b"Sec-WebSocket-Protocol: sip\r\n" in link.recv(4096)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found, told = try_door(("0.0.0.0", server.getsockname()[1], False), "127.0.0.1", timeout_s=10)
        thread.join()
    assert (told, "a proxy must give it TLS" in found) == (problem, not problem)


def test_a_door_where_nobody_is():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert try_door(("127.0.0.1", port, True), "", timeout_s=10)[1] == "nobody answers there"
    assert try_door(("", 0, False), "", timeout_s=10) == ("nothing listens for them", "http.conf opens no door")


def test_endpoints_of_browsers_are_counted_where_asterisk_reads_them(tmp_path):
    assert count_browsers(tmp_path) == 0
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "pjsip.conf").write_text("[1]\nwebrtc = yes\n[2]\n; webrtc = yes\n[3]\nwebrtc = yes\n")
    assert count_browsers(tmp_path) == 2


def test_each_admin_is_told_what_is_his_to_do():
    assert "sip_tls_certificate" in find_remedy("owner")
    assert "res_pjsip_transport_websocket" in find_remedy("guest")
