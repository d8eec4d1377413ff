"""Tells what nobody took of FreePBX's tables: other columns and keywords that say something, and whole tables; pure, and never tells a secret.

A value that says nothing (`0`, `no`, `default`) is not told, and one that many rows have is told once, with their numbers.
"""

import re
from collections.abc import Iterator
from typing import Final

from tandem.domain.freepbx_source import Source
from tandem.domain.queue_options import KNOWN

_IDLE: Final = frozenset({"", "0", "no", "none", "default", "off", "disabled", "false", "dontcare", "auto"})
_SHOWN: Final = 8
# Table -> the column of a row's number, and the columns that are taken, told elsewhere, or of use to FreePBX alone.
_COLUMNS: Final = {
    "users": ("extension", "password name voicemail ringtimer outboundcid noanswer_dest busy_dest chanunavail_dest sipname"),
    "devices": ("id", "emergency_cid tech dial devicetype user description"),
    "trunks": ("trunkid", "name tech channelid outcid maxchans dialoutprefix disabled usercontext provider routedisplay"),
    "incoming": ("extension", "cidnum destination description pricid pmmaxretries pmminlength"),
    "outbound_routes": (
        "route_id", "name outcid password emergency_route dest time_group_id timezone calendar_id calendar_group_id seq"
    ),
    "queues_config": ("extension", "descr maxwait dest"),
    "ringgroups": ("grpnum", "strategy grptime grppre grplist annmsg_id postdest description needsconf ringing cfignore progress"),
    "ivr_details": (
        "id",
        ("name description announcement directdial timeout_time invalid_destination timeout_destination "
         "invalid_recording invalid_retry_recording timeout_recording timeout_retry_recording"),
    ),
    "ivr_entries": ("ivr_id", "selection dest"),
    "meetme": ("exten", "options userpin adminpin description users use_count"),
    "announcement": ("announcement_id", "description recording_id post_dest"),
    "paging_config": ("page_group", "duplex description"),
}  # fmt: skip
# What FreePBX writes for every phone and trunk, and what Tandem does anyway.
_SIP: Final = frozenset({
    "secret", "allow", "disallow", "codecs", "max_contacts", "dtmfmode", "media_encryption", "webrtc", "host", "port", "sip_server",
    "sip_server_port", "registration", "register", "username", "defaultuser", "match", "from_user", "fromuser", "from_domain", "fromdomain",
    "account", "accountcode", "callerid", "dial", "sipdriver", "secret_origional", "emergency_cid", "trunk_name", "tech", "type",
    "force_rport", "rewrite_contact", "rtp_symmetric", "direct_media", "sendrpid", "trustrpid", "nat", "canreinvite", "authentication",
    "auth_rejection_permanent",
})  # fmt: skip
# What they hold where nobody changed it.
_USUAL: Final = frozenset({
    ("context", "from-internal"), ("context", "from-pstn"), ("context", "from-trunk"), ("transport", "0.0.0.0-udp"), ("transport", "udp"), ("qualify", "yes"),
    ("qualifyfreq", "60"), ("qualify_frequency", "60"), ("max_audio_streams", "1"), ("max_video_streams", "1"), ("minimum_expiration", "60"),
    ("maximum_expiration", "7200"), ("outbound_auth", "yes"), ("refer_blind_progress", "yes"), ("remove_existing", "yes"), ("timers", "yes"), ("timers_min_se", "90"),
    ("aggregate_mwi", "yes"), ("deny", "0.0.0.0/0.0.0.0"), ("permit", "0.0.0.0/0.0.0.0"), ("max_retries", "10000"), ("max_retries", "10"), ("retry_interval", "60"),
    ("forbidden_retry_interval", "30"), ("fatal_retry_interval", "30"), ("expiration", "3600"), ("support_path", "yes"),
})  # fmt: skip
# Read for other rows' sake, or about FreePBX itself.
_OWN: Final = re.compile(
    r"admin|amp.*|asterisk_.*|cron.*|featurecodes|freepbx_.*|globals|kvstore.*|module.*|notifications|certman.*|userman.*|backup.*"
)


def tell_rest(source: Source) -> None:
    """After all else: a table that nothing has read by then is told as a whole."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for table, number, name, value in (*_list_columns(source), *_list_keywords(source)):
        if value.lower() not in _IDLE:
            told.setdefault((table, name, value), []).append(number)
    for (table, name, value), numbers in told.items():
        shown = "…" if re.search("pass|secret|pin$|md5", name) else value[:60]
        rest = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        source.carrier.lose(f"{table} {', '.join(numbers[:_SHOWN])}{rest}", f"{name} = {shown} is not carried over")
    for table, rows in source.tables.items():
        if rows and table not in source.read and not _OWN.fullmatch(table):
            source.carrier.lose(table, f"the table is not carried over ({len(rows)} rows)")


def _list_columns(source: Source) -> Iterator[tuple[str, str, str, str]]:
    for table, (key, columns) in _COLUMNS.items():
        known = {key, *columns.split()}
        for row in source.rows(table):
            for name, value in row.items():
                if name not in known:
                    yield table, row.get(key, "") or "any", name, value


def _list_keywords(source: Source) -> Iterator[tuple[str, str, str, str]]:
    # A trunk's transport is carried, a phone's is not.
    for table, known in (("queues_details", KNOWN | {"member", "recording"}), ("sip", _SIP), ("pjsip", _SIP)):
        for row in source.rows(table):
            number, name, value = row.get("id", ""), row.get("keyword", ""), row.get("data", "")
            is_taken = name == "transport" and number not in source.phones and value.endswith(("-tls", "-tcp", "-udp"))
            if name not in known and (name, value) not in _USUAL and not is_taken:
                yield table, number, name, value
