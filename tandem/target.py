"""What confgen must know of the Asterisk beside us, from the settings; never reads Asterisk."""

from pathlib import Path

from confgen.render import RenderTarget, Transport
from tandem.resources import find_shipped
from tandem.settings import Settings
from tandem.settings.sections import AsteriskSettings


def describe_target(settings: Settings) -> RenderTarget:
    """The target of the settings: the static dialplan is part of each generation, so that it always fits what AstDB and FastAGI say."""
    owner = settings.asterisk.mode == "owner"
    return RenderTarget(
        mode=settings.asterisk.mode,
        transports=_list_transports(settings.asterisk) if owner else (),
        trunk_transport="udp" if owner else settings.asterisk.trunk_transport,
        agi_url=settings.agi_url,
        recordings_dir=str(settings.asterisk.recordings_dir),
        sounds_dir=str(settings.sounds.dir),
        dialplan_dir=str(settings.asterisk.config_dir / "current"),
        qualify_s=settings.asterisk.qualify_s,
        templates=read_templates(settings.asterisk.templates_dir),
    )


def _list_transports(asterisk: AsteriskSettings) -> tuple[Transport, ...]:
    found = [Transport(name="udp", bind=asterisk.sip_bind)]
    if asterisk.sip_tcp:
        found.append(Transport(name="tcp", protocol="tcp", bind=asterisk.sip_bind))
    if asterisk.sip_tls_certificate is not None:
        certificate, key = str(asterisk.sip_tls_certificate), str(asterisk.sip_tls_key)
        found.append(
            Transport(name="tls", protocol="tls", bind=asterisk.sip_tls_bind, certificate=certificate, key=key)
        )
        found.append(
            Transport(
                name="wss",
                protocol="wss",
                bind=asterisk.wss_bind,
                certificate=certificate,
                key=key,
                max_sessions=asterisk.wss_max_sessions,
            )
        )
    return tuple(found)


def read_templates(folder: Path) -> tuple[tuple[str, str], ...]:
    """Name -> text of the admin's own templates, none where there is no such folder; OSError for one that cannot be read."""
    found = sorted(path for path in folder.glob("*.j2") if path.is_file())
    return tuple((path.name, path.read_text(encoding="utf-8", errors="surrogateescape")) for path in found)


def read_dialplan() -> dict[str, str]:
    """File name -> text of the static contexts."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(find_shipped("dialplan").glob("*.conf"))}
