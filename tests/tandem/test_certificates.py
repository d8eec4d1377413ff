"""Certificates of the settings: each mistake is told by its setting and its file, one that holds is not, and a change with useless files is refused."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from confgen.apply import plan_snapshot
from lab.certificates import find_certificate, write_certificate
from tandem.certificates import CertificatePair, list_expiries, list_pairs, look_at_pair
from tandem.cli.check import list_certificate_findings
from tandem.domain.changes import ApplyRefused
from tandem.domain.entities import Pbx
from tandem.domain.snapshot import build_snapshot
from tandem.settings import AsteriskSettings, HttpSettings, Settings
from tandem.target import describe_target

NOW = datetime.now(UTC)


@pytest.fixture
def settings(tmp_path):
    """Of an owner with a good pair for both."""
    files = write_certificate(tmp_path, "pbx.example.org")
    asterisk = AsteriskSettings(
        mode="owner",
        sip_tls_certificate=files.certificate,
        sip_tls_key=files.key,
        templates_dir=tmp_path / "none",
        config_dir=tmp_path / "tandem",
    )
    return Settings(
        asterisk=asterisk, http=HttpSettings(port=8080, tls_certificate=files.certificate, tls_key=files.key)
    )


def encrypt(path):
    key = rsa.generate_private_key(65537, 2048)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"correct horse")))


def swap_key(path):
    path.write_bytes(write_certificate(path.parent, "other.example.org").key.read_bytes())


MISTAKES = [
    ("certificate", lambda path: path.unlink(), "cannot be read: No such file"),
    ("certificate", lambda path: path.write_text("-----BEGIN"), "must be a certificate in PEM"),
    ("key", lambda path: path.unlink(), "cannot be read: No such file"),
    ("key", lambda path: path.write_bytes(b"\0"), "must be a private key in PEM"),
    ("key", encrypt, "is encrypted"),
    ("key", swap_key, "must be the key of"),
]


@pytest.mark.parametrize(("what", "spoil", "reason"), MISTAKES)
def test_a_mistake_is_told_by_its_setting_and_refuses_a_change(settings, what, spoil, reason):
    spoil(getattr(settings.asterisk, f"sip_tls_{what}"))
    told = {finding.what: finding for finding in list_certificate_findings(settings)}
    assert set(told) == {"asterisk.sip_tls_certificate", "http.tls_certificate"}
    assert not any(finding.well for finding in told.values())
    assert re.search(rf"^asterisk\.sip_tls_{what}: /.* {reason}", told["asterisk.sip_tls_certificate"].found)
    assert re.search(rf"^http\.tls_{what}: /.* {reason}", told["http.tls_certificate"].found)
    with pytest.raises(ApplyRefused, match=rf"asterisk\.sip_tls_{what}: .*{reason}") as caught:
        plan(settings)
    assert caught.value.stage == "settings"
    assert not settings.asterisk.config_dir.exists()


def plan(settings):
    return plan_snapshot(build_snapshot(1, Pbx()), describe_target(settings), settings.asterisk.config_dir)


def test_what_is_right_is_planned_and_well(settings):
    assert "http.conf" in plan(settings).plan.files
    assert [(finding.well, finding.remedy) for finding in list_certificate_findings(settings)] == [(True, "")] * 2
    assert all(29 * 86_400 < left_s < 30 * 86_400 for _, left_s in list_expiries(settings))
    assert list(list_pairs(Settings())) == []


@pytest.mark.parametrize(
    ("days", "found", "remedy"),
    [
        (15, "holds until", ""),
        (13.5, "holds until", "renew it within 13 days"),
        (-1, "expired", "renew it, and restart"),
    ],
)
def test_what_expires_is_told_two_weeks_before_and_refuses_no_change(settings, tmp_path, days, found, remedy):
    write_certificate(tmp_path, "pbx.example.org", days=days)
    (pair, _) = list_pairs(settings)
    said = look_at_pair(pair).describe(NOW)
    assert (found in said[0], remedy in said[1], bool(said[1])) == (True, True, bool(remedy))
    assert plan(settings).plan.files
    assert all(abs(left_s - days * 86_400) < 600 for _, left_s in list_expiries(settings))


def test_one_of_the_future(settings):
    (pair, _) = list_pairs(settings)
    assert look_at_pair(pair).describe(NOW - timedelta(days=500))[1].startswith("is the clock right?")


def test_what_only_asterisk_may_read_is_not_called_wrong(tmp_path, monkeypatch):
    files = write_certificate(tmp_path, "pbx.example.org")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    # Whoever runs the tests may be root, who may read everything.
    monkeypatch.setattr(type(files.key), "read_bytes", refuse)
    pair = CertificatePair("asterisk", "sip_tls_", files.certificate, files.key)
    assert look_at_pair(pair).describe(NOW) == ("cannot be read by us, so nothing is known of it", "")
    ours = look_at_pair(replace(pair, is_ours=True))
    assert [problem.field for problem in ours.problems] == ["sip_tls_certificate", "sip_tls_key"]


def test_the_lab_finds_what_it_wrote(tmp_path):
    assert find_certificate(tmp_path, "a") == write_certificate(tmp_path, "a")
