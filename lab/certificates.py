"""Certificates of the lab, signed by themselves, and their files; never one that anything outside the lab believes."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files. name: whom the certificate is of."""

    name: str
    certificate: Path
    key: Path

    def make_trust(self) -> ssl.SSLContext:
        """A client's side that believes this certificate and no other one."""
        return ssl.create_default_context(cafile=str(self.certificate))


def find_certificate(folder: Path, name: str) -> CertificateFiles:
    """Where `write_certificate` puts it."""
    return CertificateFiles(name, folder / f"{name}.crt", folder / f"{name}.key")


def write_certificate(folder: Path, name: str, *, days: float = 30) -> CertificateFiles:
    """Makes both files, `NAME.crt` and `NAME.key`; days: how long it still holds."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = find_certificate(folder, name)
    files.certificate.write_bytes(make_certificate(key, name, days=days).public_bytes(Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def make_certificate(key: ec.EllipticCurvePrivateKey, name: str, *, days: float = 30) -> x509.Certificate:
    """One that is signed by itself. days: how long it still holds; less than none of one that has expired."""
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=400))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
