from pathlib import Path

import pytest

from tandem.settings import (
    Settings,
    SettingsError,
    describe_settings,
    format_settings,
    load_settings,
    write_settings_template,
)
from tandem.store.place import PostgresPlace, place_of
from tandem.target import describe_target


def write(folder: Path, text: str, mode: int = 0o640) -> Path:
    path = folder / "tandem.yaml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refuse(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ or {})
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_means_the_defaults_and_these_are_loopback(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""), {})
    assert settings == Settings()
    assert (settings.fastagi.host, settings.ami.host) == ("127.0.0.1",) * 2
    assert settings.agi_url == "agi://127.0.0.1:4573"
    assert settings.control_socket == Path("/run/tandem/control.sock")
    with pytest.raises(ValueError, match="frozen"):
        settings.calls_kept = 3  # type: ignore[misc]


def test_values_arrive_as_written_and_variables_win(tmp_path: Path) -> None:
    path = write(tmp_path, "calls_kept: 0010\nfastagi: {host: 10.0.0.1, port: 4574, allowed_peers: [10.0.0.0/8]}\n")
    environ = {"TANDEM_FASTAGI_PORT": "4575", "TANDEM_LOG_LEVEL": "debug", "TANDEM_SETTINGS": "/nowhere", "PATH": "x"}
    settings = load_settings(path, environ)
    assert (settings.calls_kept, settings.fastagi.port, settings.log.level) == (10, 4575, "debug")
    assert list(map(str, settings.fastagi.allowed_peers)) == ["10.0.0.0/8"]
    more = load_settings(path, {"TANDEM_FASTAGI_ALLOWED_PEERS": "192.0.2.1, 2001:db8::/32"})
    assert list(map(str, more.fastagi.allowed_peers)) == ["192.0.2.1/32", "2001:db8::/32"]
    assert more.agi_url == "agi://10.0.0.1:4574"


def test_the_variable_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "calls_kept: 7\n")
    assert load_settings(None, {"TANDEM_SETTINGS": str(path)}).calls_kept == 7
    assert refuse(None, {"TANDEM_SETTINGS": str(tmp_path / "missing.yaml")})[0].startswith(
        f"{tmp_path}/missing.yaml: cannot be read: "
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "asterisk: {mode: owner, sip_tls_key: /etc/asterisk/sip.key}\n",
            "{path}: asterisk: sip_tls_certificate and sip_tls_key go together",
        ),
        (
            "asterisk: {sip_tls_key: /k, sip_tls_certificate: /c}\n",
            "{path}: asterisk: sip_tcp and sip_tls_… are for mode owner",
        ),
        ("asterisk: {sip_tcp: yes}\n", "{path}: asterisk: sip_tcp and sip_tls_… are for mode owner"),
        ("fastagi: {prot: 1}", "{path}: fastagi.prot: unknown key; did you mean fastagi.port?"),
        ("xyz: 1", "{path}: xyz: unknown key"),
        ("fastagi: {port: 70000}", "{path}: fastagi.port: Input should be less than or equal to 65535"),
        ("fastagi: {port: no}", "{path}: fastagi.port: Input should be a valid integer"),
        ("fastagi: 5", "{path}: fastagi: Input should be a valid dictionary"),
        ("fastagi: {decision_deadline_s: 4}", "{path}: fastagi.decision_deadline_s: Input should be less than"),
        ("fastagi: {host: 0.0.0.0}", "{path}: fastagi: host 0.0.0.0 is reached from outside: fastagi.allowed_peers"),
        ("fastagi: {allowed_peers: [10.0.0.1/8]}", "{path}: fastagi.allowed_peers: value is not a valid IPv4 or IPv6"),
        ("ami: {host: pbx.example.net}", "{path}: ami: host pbx.example.net is not loopback: ami.allow_remote"),
        ("ami: {host: 'a b'}", "{path}: ami.host: must be an IP address or a host name"),
        ('ami: {username: "a\\r\\nAction: x"}', "{path}: ami.username: String should match pattern"),
        ("http: {prot: 8080}", "{path}: http.prot: unknown key"),
        ("database: {path: tandem.db}", "{path}: database.path: must be an absolute path"),
        ("database: {url: 'mysql://u@localhost/x'}", "{path}: database.url: must be postgresql://user@host:port/name"),
        (
            "database: {url: 'postgresql://u@localhost'}",
            "{path}: database.url: must be postgresql://user@host:port/name",
        ),
        ("database: {url: 'postgresql://u:hunter2@localhost/x'}", "{path}: database.url: must not hold a password"),
        (
            "database: {url: 'postgresql://localhost/x?password=hunter2'}",
            "{path}: database.url: must not hold a password",
        ),
        (
            "database: {url: 'postgresql://u@db.example.net/x'}",
            "{path}: database.url: the server is reached over a network",
        ),
        (
            "database: {url: 'postgresql:///x?host=/run/a,db.example.net'}",
            "{path}: database.url: the server is reached",
        ),
        (
            "database: {url: 'postgresql://u@localhost/x?hostaddr=192.0.2.1'}",
            "{path}: database.url: the server is reached",
        ),
        ("asterisk: {agi_url: 'agi://x/did'}", "{path}: asterisk.agi_url: String should match pattern"),
        ("log: {level: loud}", "{path}: log.level: Input should be 'debug'"),
        ("calls_kept: 1\ncalls_kept: 2", "{path}, line 2: calls_kept is there twice"),
        ("a: [", "{path}, line 1: "),
        ("- 1", "{path}: must be a mapping"),
    ],
)
def test_bad_files_are_refused_with_file_key_and_rule(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    problems = refuse(path)
    assert problems[0].startswith(problem.format(path=path))
    assert "hunter2" not in str(problems)


def test_every_problem_is_told_at_once_with_the_variable_that_said_it(tmp_path: Path) -> None:
    path = write(tmp_path, "log: {level: loud}\n")
    problems = refuse(path, {"TANDEM_FASTAGI_PORT": "0", "TANDEM_FASTAGI_PROT": "1"})
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["TANDEM_FASTAGI_PROT", "unknown variable; did you mean TANDEM_FASTAGI_PORT?"],
        ["TANDEM_FASTAGI_PORT", "fastagi.port"],
        [str(path), "log.level"],
    ]


def test_remote_hosts_can_be_asked_for(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "ami: {host: 192.0.2.7, allow_remote: yes}\n"), {})
    assert settings.ami.host == "192.0.2.7"


@pytest.mark.parametrize("url", [
    "postgresql://tandem@127.0.0.1:5432/tandem", "postgresql:///tandem", "postgresql://tandem@[::1]/tandem",
    "postgresql://tandem@/tandem?host=/run/postgresql", "postgresql://u@a.example.net,b.example.net:5433/x?sslmode=verify-full",
    "postgresql://%2Frun%2Fpostgresql/tandem",
])  # fmt: skip
def test_databases_of_a_server(tmp_path: Path, url: str) -> None:
    settings = load_settings(write(tmp_path, f"database: {{url: '{url}'}}"), {})
    assert str(place_of(settings)) == url
    assert place_of(load_settings(write(tmp_path, ""), {})) == Path("/var/lib/tandem/tandem.db")


class TestSecrets:
    def test_a_databases_password_comes_from_its_file(self, tmp_path: Path) -> None:
        path = write(tmp_path, f"database: {{url: 'postgresql:///x', password_file: {self.secret_file(tmp_path)}}}")
        settings = load_settings(path, {})
        assert place_of(settings) == PostgresPlace("postgresql:///x", "s3cret")
        assert "s3cret" not in f"{settings} {settings!r} {place_of(settings)!r}"
        both = {"TANDEM_DATABASE_PASSWORD": "a", "TANDEM_DATABASE_PASSWORD_FILE": str(tmp_path / "secret")}
        assert "must not be set together" in refuse(path, both)[0]

    def secret_file(self, folder: Path, text: str = "s3cret\n", mode: int = 0o640) -> Path:
        path = folder / "secret"
        path.write_text(text)
        path.chmod(mode)
        return path

    @pytest.mark.parametrize("key", ["secret", "config_secret"])
    def test_come_from_files_named_by_file_or_variable(self, tmp_path: Path, key: str) -> None:
        secret = self.secret_file(tmp_path)
        for settings in (
            load_settings(write(tmp_path, f"ami: {{{key}_file: {secret}}}"), {}),
            load_settings(write(tmp_path, f"ami: {{{key}: other}}"), {f"TANDEM_AMI_{key.upper()}_FILE": str(secret)}),
        ):
            value = getattr(settings.ami, key)
            assert value is not None
            assert value.get_secret_value() == "s3cret"
            assert "s3cret" not in repr(settings)

    @pytest.mark.parametrize("mode", [0o644, 0o660, 0o641, 0o602])
    def test_a_file_that_others_can_read_or_change_is_refused(self, tmp_path: Path, mode: int) -> None:
        secret = self.secret_file(tmp_path, mode=mode)
        path = write(tmp_path, f"ami: {{secret_file: {secret}}}")
        assert refuse(path) == [
            f"{path}: ami.secret_file: {secret} holds a secret and has mode {mode:04o}: others must not read or change it (chmod 640 {secret})"
        ]

    def test_the_settings_file_itself_may_hold_one_only_if_it_is_private(self, tmp_path: Path) -> None:
        assert "holds a secret and has mode 0644" in refuse(write(tmp_path, "ami: {secret: abc}", 0o644))[0]
        assert load_settings(write(tmp_path, "ami: {secret: '0123'}", 0o600), {}).ami.secret is not None

    def test_two_places_for_one_secret_are_refused(self, tmp_path: Path) -> None:
        secret = self.secret_file(tmp_path)
        path = write(tmp_path, f"ami: {{secret: abc, secret_file: {secret}}}")
        assert refuse(path) == [f"{path}: ami.secret: must not be set together with ami.secret_file"]
        environ = {"TANDEM_AMI_SECRET": "abc", "TANDEM_AMI_SECRET_FILE": str(secret)}
        assert refuse(write(tmp_path, ""), environ) == [
            "TANDEM_AMI_SECRET: ami.secret: must not be set together with ami.secret_file"
        ]

    @pytest.mark.parametrize("text", ["", "\n", "two\nlines\n", "x\r\n", "a" * 2000])
    def test_contents_are_one_printable_line(self, tmp_path: Path, text: str) -> None:
        secret = self.secret_file(tmp_path, text)
        (problem,) = refuse(write(tmp_path, ""), {"TANDEM_AMI_SECRET_FILE": str(secret)})
        assert problem.startswith(f"TANDEM_AMI_SECRET_FILE: ami.secret_file: {secret} must hold one line")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        (problem,) = refuse(write(tmp_path, ""), {"TANDEM_AMI_SECRET_FILE": "/nowhere/secret"})
        assert "/nowhere/secret cannot be read" in problem

    def test_a_bad_secret_is_not_repeated_in_the_error(self, tmp_path: Path) -> None:
        path = write(tmp_path, "ami: {secret: [hunter2]}")
        assert "hunter2" not in str(refuse(path))


class TestTemplate:
    def test_describes_every_setting_under_a_variable_of_its_own(self) -> None:
        rows = describe_settings()
        assert all(row.description.endswith(".") for row in rows)
        assert len({row.variable for row in rows}) == len(rows) > 20

    def test_says_the_defaults(self, tmp_path: Path) -> None:
        text = format_settings()
        assert load_settings(write(tmp_path, text), {}) == Settings()
        keys = [row.key.rpartition(".")[2] for row in describe_settings()]
        for key in keys:
            text = text.replace(f"# {key}:", f"{key}:")
        assert load_settings(write(tmp_path, text), {}) == Settings()

    def test_holds_given_values_whatever_they_are(self, tmp_path: Path) -> None:
        path = tmp_path / "new.yaml"
        write_settings_template(
            path, {"database.path": tmp_path / "a: b#c", "ami.secret": "'x\" #: y", "calls_kept": 80}
        )
        settings = load_settings(path, {})
        assert settings.database.path == tmp_path / "a: b#c"
        assert settings.ami.secret is not None
        assert settings.ami.secret.get_secret_value() == "'x\" #: y"
        assert settings.calls_kept == 80
        assert path.stat().st_mode & 0o777 == 0o640
        with pytest.raises(FileExistsError):
            write_settings_template(path)
        with pytest.raises(ValueError, match=r"no such setting: a\.b"):
            format_settings({"a.b": 1})


def test_the_transports_of_an_owner(tmp_path: Path) -> None:
    path = write(
        tmp_path, "asterisk: {mode: owner, sip_tcp: yes, sip_tls_key: /etc/k.pem, sip_tls_certificate: /etc/c.pem}\n"
    )
    udp, tcp, tls, wss = describe_target(load_settings(path, {})).transports
    assert [(one.protocol, one.bind) for one in (udp, tcp)] == [("udp", "0.0.0.0:5060"), ("tcp", "0.0.0.0:5060")]
    assert (tls.protocol, tls.bind, tls.certificate, tls.key) == ("tls", "0.0.0.0:5061", "/etc/c.pem", "/etc/k.pem")
    assert (wss.bind, wss.certificate, wss.key, wss.max_sessions) == ("0.0.0.0:8089", "/etc/c.pem", "/etc/k.pem", 1000)
    assert [one.protocol for one in describe_target(Settings()).transports] == []


def test_how_often_phones_are_asked_whether_they_are_there(tmp_path: Path) -> None:
    assert describe_target(load_settings(write(tmp_path, "asterisk: {qualify_s: 0}\n"), {})).qualify_s == 0
    assert describe_target(Settings()).qualify_s == 60
    with pytest.raises(SettingsError, match="qualify_s"):
        load_settings(write(tmp_path, "asterisk: {qualify_s: 3601}\n"), {})
