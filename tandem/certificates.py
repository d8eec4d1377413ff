"""Certificates that the settings name, and their keys: what is wrong with the files, and until when they hold; reads them as far as it may, and writes nothing.

A key may be for Asterisk alone to read: what we may not look at is not called wrong. Whether a browser or a carrier believes a certificate is not asked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tandem.domain.changes import Complaint
from tandem.settings import Settings

T = TypeVar("T")

WARN_BEFORE: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A certificate and its key. section, prefix: of their settings, `asterisk` and `sip_tls_`; is_ours: whether Tandem itself has to read both."""

    section: str
    prefix: str
    certificate: Path
    key: Path
    is_ours: bool = False

    @property
    def setting(self) -> str:
        """`asterisk.sip_tls_certificate`."""
        return f"{self.section}.{self.prefix}certificate"


@dataclass(frozen=True, slots=True)
class Certified:
    """What was found. problems: why it is of no use; the times are None where the certificate cannot be read."""

    problems: tuple[Complaint, ...]
    begins_at: datetime | None = None
    expires_at: datetime | None = None

    def describe(self, now: datetime) -> tuple[str, str]:
        """(what was found, remedy), the second one empty where all is well for longer than WARN_BEFORE."""
        if self.problems:
            return "; ".join(
                map(str, self.problems)
            ), "mend the files, or name others; Asterisk reads them when it starts"
        if self.begins_at is None or self.expires_at is None:
            return "cannot be read by us, so nothing is known of it", ""
        if now < self.begins_at:
            return (
                f"holds from {self.begins_at:%Y-%m-%d %H:%M} UTC on",
                "is the clock right? Else take one that holds now",
            )
        left = self.expires_at - now
        found = f"holds until {self.expires_at:%Y-%m-%d %H:%M} UTC"
        if left <= timedelta():
            return f"expired: it held until {self.expires_at:%Y-%m-%d %H:%M} UTC", "renew it, and restart Asterisk"
        return found, f"renew it within {left.days} days, and restart what reads it" if left < WARN_BEFORE else ""


def list_pairs(settings: Settings) -> Iterator[CertificatePair]:
    """Those that are set."""
    asterisk, http = settings.asterisk, settings.http
    if asterisk.sip_tls_certificate is not None and asterisk.sip_tls_key is not None:
        yield CertificatePair("asterisk", "sip_tls_", asterisk.sip_tls_certificate, asterisk.sip_tls_key)
    if http.tls_certificate is not None and http.tls_key is not None:
        yield CertificatePair("http", "tls_", http.tls_certificate, http.tls_key, is_ours=True)


def look_at_pair(pair: CertificatePair) -> Certified:
    """Reads both files."""
    problems: list[Complaint] = []

    def attempt(what: str, path: Path, parse: Callable[[bytes], T]) -> T | None:
        try:
            return parse(path.read_bytes())
        except ValueError as error:
            reason = f"{path} {error}"
        except OSError as error:
            if isinstance(error, PermissionError) and not pair.is_ours:
                return None
            reason = f"{path} cannot be read: {error.strerror}"
        problems.append(Complaint(pair.section, pair.prefix + what, reason))
        return None

    certificate = attempt("certificate", pair.certificate, _parse_certificate)
    key = attempt("key", pair.key, _parse_key)
    if certificate is not None and key is not None and _spell(certificate.public_key()) != _spell(key):
        reason = f"{pair.key} must be the key of {pair.certificate}, and is another one's"
        problems.append(Complaint(pair.section, f"{pair.prefix}key", reason))
    if certificate is None:
        return Certified(tuple(problems))
    return Certified(tuple(problems), certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _parse_certificate(text: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(text)[0]
    except ValueError:
        raise ValueError("must be a certificate in PEM (-----BEGIN CERTIFICATE-----)") from None


def _parse_key(text: bytes) -> PublicKeyTypes:
    """Its public half."""
    try:
        return load_pem_private_key(text, None).public_key()
    except TypeError:
        raise ValueError("is encrypted: nobody is there to give its passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("must be a private key in PEM (-----BEGIN PRIVATE KEY-----)") from None


def _spell(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def list_expiries(settings: Settings) -> Iterator[tuple[str, float]]:
    """Setting -> seconds until its certificate has expired, less than none afterwards; only of those that can be read."""
    for pair in list_pairs(settings):
        if (expires_at := look_at_pair(pair).expires_at) is not None:
            yield pair.setting, (expires_at - datetime.now(UTC)).total_seconds()
