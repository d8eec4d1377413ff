"""Whether browsers find Asterisk, for `tandem check`: one WebSocket is opened as a browser would, and closed; registers nothing and changes nothing.

Whose name is in the certificate is not looked at: only a browser knows the name by which it comes.
"""

import base64
import ipaddress
import re
import secrets
import socket
import ssl
from pathlib import Path
from typing import Final

from tandem.ami.probe import ProbeAnswer

MODULES: Final = ("res_http_websocket", "res_pjsip_transport_websocket")
_BROWSER: Final = re.compile(r"^webrtc = yes$", re.MULTILINE)


def count_browsers(config_dir: Path) -> int:
    """How many endpoints of browsers Asterisk was given; 0 where nothing was applied yet."""
    try:
        return len(_BROWSER.findall((config_dir / "current" / "pjsip.conf").read_text(encoding="utf-8")))
    except OSError:
        return 0


def find_door(config: ProbeAnswer) -> tuple[str, int, bool]:
    """(address, port, whether with TLS) of what http.conf opens; port 0 where it opens nothing. Without TLS it is for a proxy that has it."""
    options = {"bindaddr": "", "bindport": "8088", "tlsbindaddr": "", "enabled": "no", "tlsenable": "no"}
    for name, value in config.headers:
        if name.startswith("line-"):
            option, _, text = value.partition("=")
            options[option] = text
    if _is_on(options["tlsenable"]):
        host, _, port = (options["tlsbindaddr"] or options["bindaddr"]).rpartition(":")
        if not port.isdigit() or not host:
            host, port = options["tlsbindaddr"] or options["bindaddr"], "8089"
        return host, int(port), True
    if _is_on(options["enabled"]) and options["bindaddr"] and options["bindport"].isdigit():
        return options["bindaddr"], int(options["bindport"]), False
    return "", 0, False


def _is_on(value: str) -> bool:
    return value.lower() in ("yes", "true", "on", "y", "t", "1")


def try_door(door: tuple[str, int, bool], asterisk_host: str, *, timeout_s: float) -> tuple[str, str]:
    """(what was found, what is wrong), the second one empty where a browser would get in. asterisk_host: of an Asterisk that listens everywhere."""
    host, port, has_tls = door
    if not port:
        return "nothing listens for them", "http.conf opens no door"
    host = asterisk_host if _is_everywhere(host.strip("[]")) else host.strip("[]")
    place = f"{'wss' if has_tls else 'ws'}://{host}:{port}/ws"
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    question = (
        f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    )
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            _wrap(plain) if has_tls else plain as connection,
        ):
            connection.sendall(question.encode())
            answer = connection.makefile("rb").readline(256).decode("utf-8", "replace").strip()
    except OSError as error:
        return f"{place}: {error}", "nobody answers there"
    if " 101 " not in f"{answer} ":
        return f"{place} answers {answer or 'nothing'}", "it speaks no SIP"
    return f"{place} takes them in{'' if has_tls else ' (a proxy must give it TLS)'}", ""


def _is_everywhere(host: str) -> bool:
    try:
        return not host or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _wrap(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)


def find_remedy(mode: str) -> str:
    """What its admin does about it."""
    if mode == "owner":
        return "asterisk.sip_tls_certificate and sip_tls_key, then `tandem init --asterisk owner` (as root), and restart Asterisk"
    return (
        "http.conf: [general] tlsenable = yes, tlsbindaddr = 0.0.0.0:8089, tlscertfile = …, tlsprivatekey = …;"
        f" modules.conf: {' and '.join(MODULES)} (docs/phones.md, Browsers)"
    )
