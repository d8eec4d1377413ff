"""Kinds of values that settings have, with their rules; reads no file and knows no setting."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, StringConstraints


def _check_absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


def _check_plain(value: Path) -> Path:
    """It stands among the arguments of dialplan applications, which would read a comma, a bracket or an `&`."""
    if not all(sign.isascii() and (sign.isalnum() or sign in "/._-") for sign in str(value)):
        raise ValueError("must be an absolute path of letters, digits and the signs / . _ -")
    return value


def check_command(value: tuple[str, ...]) -> tuple[str, ...]:
    """A program's words; one of them says where it writes."""
    if not value or not value[0] or not any("{output}" in word for word in value):
        raise ValueError("must be a program and its words, one of them with {output}")
    return value


def _check_host(value: str) -> str:
    if is_loopback(value):
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not all(part.isalnum() for part in value.replace("-", "a").split(".")):
            raise ValueError("must be an IP address or a host name") from None
    return value


def split_list(value: object) -> object:
    """A variable has its list as one text with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _check_database_url(value: str) -> str:
    """A libpq URL; over a network it must say whether it is encrypted, and no password is in it: it stands in logs and messages."""
    parts = urlsplit(value)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    user, _, places = parts.netloc.rpartition("@")
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or not value.isprintable():
        raise ValueError("must be postgresql://user@host:port/name")
    if ":" in user or "password" in query or "passfile" in query:
        raise ValueError("must not hold a password: that is database.password_file")
    hosts = [re.sub(r":[0-9]*\Z", "", place) for place in places.split(",")] + query.get("host", "").split(",")
    near = all(not host or host.startswith(("/", "%2F", "%2f")) or is_loopback(host.strip("[]")) for host in hosts)
    if not ((near and not query.get("hostaddr")) or "sslmode" in query):
        raise ValueError(
            "the server is reached over a network: the URL must say ?sslmode=verify-full (or another mode)"
        )
    return value.replace("postgres://", "postgresql://", 1)


def is_loopback(host: str) -> bool:
    """True for `localhost` and for addresses that only this machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
PlainPath = Annotated[AbsolutePath, AfterValidator(_check_plain)]
Host = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_check_host)]
DatabaseUrl = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_check_database_url)]
Port = Annotated[int, Field(ge=1, le=65535)]
AmiUser = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{1,40}\z")]
Networks = Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(split_list), Field(min_length=1)]
Days = Annotated[int, Field(ge=0, le=36_500)]


class Section(BaseModel):
    """What every part of the settings is: nothing unknown, nothing changed later, no value in a message."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
