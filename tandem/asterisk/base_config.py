"""The configuration every private Asterisk starts from: folders, modules, logging, ports, AMI users, records.

Pure texts. It holds nothing of a PBX (no endpoint, no dialplan); those come from whoever uses the instance.
"""

from __future__ import annotations

from pathlib import Path

from tandem.domain.records import CDR_FIELDS, CEL_EVENTS, CEL_FIELDS, list_declined

AMI_PORT = 5038
SIP_PORT = 5060
RTP_PORTS = (10000, 29999)
MAX_OPEN_FILES = 65536
"""Where the system allows it; the usual default of 1024 caps Asterisk near 100 calls."""

# Loaded one by one: with autoload the stock set makes the PJSIP threads wait for DNS. Left out on purpose: app_system and
# func_shell, which run commands.
MODULES = tuple(
    """
res_sorcery_config res_sorcery_memory res_sorcery_astdb res_pjproject res_crypto res_cdrel_custom
res_timing_timerfd res_rtp_asterisk res_srtp res_security_log
res_pjsip res_pjsip_session res_pjsip_pubsub chan_pjsip
res_http_websocket res_pjsip_transport_websocket
res_pjsip_acl res_pjsip_authenticator_digest res_pjsip_outbound_authenticator_digest
res_pjsip_endpoint_identifier_ip res_pjsip_endpoint_identifier_user res_pjsip_endpoint_identifier_anonymous
res_pjsip_registrar res_pjsip_outbound_registration res_pjsip_path
res_pjsip_caller_id res_pjsip_diversion res_pjsip_dtmf_info res_pjsip_empty_info res_pjsip_dlg_options
res_pjsip_nat res_pjsip_sdp_rtp res_pjsip_rfc3326 res_pjsip_header_funcs res_pjsip_messaging res_pjsip_refer
res_pjsip_mwi res_pjsip_mwi_body_generator res_pjsip_exten_state res_pjsip_pidf_body_generator
res_pjsip_dialog_info_body_generator res_pjsip_logger res_pjsip_maintenance res_pjsip_outbound_publish
res_format_attr_h264 res_format_attr_opus
codec_ulaw codec_alaw codec_a_mu codec_g722 codec_gsm codec_resample
format_pcm format_wav format_wav_gsm format_gsm format_sln
bridge_simple bridge_native_rtp bridge_softmix bridge_holding bridge_builtin_features bridge_builtin_interval_features
pbx_config res_speech res_agi res_musiconhold res_manager_devicestate res_clioriginate res_convert res_mutestream
app_amd app_authenticate app_cdr app_channelredirect app_chanspy app_confbridge app_controlplayback app_db app_dial
app_directed_pickup app_directory app_echo app_exec app_milliwatt app_mixmonitor app_originate app_page app_playback app_playtones
app_queue app_read app_record app_reload app_sayunixtime app_senddtmf app_softhangup app_stack app_transfer app_userevent
app_verbose app_voicemail app_waitforsilence app_waituntil app_while app_if app_waitforcond app_bridgeaddchan app_bridgewait
func_base64 func_callerid func_cdr func_channel func_cut func_db func_devstate func_dialgroup func_dialplan func_env
func_evalexten func_export func_extstate func_global func_groupcount func_hangupcause func_json func_lock func_logic func_math
func_md5 func_module func_periodic_hook func_pjsip_aor func_pjsip_contact func_pjsip_endpoint func_presencestate func_rand
func_sayfiles func_sha1 func_sorcery func_sprintf func_strings func_sysinfo func_timeout func_uri func_uuid
func_version func_vmcount func_volume
cdr_custom cdr_manager cel_custom
""".split()  # noqa: SIM905  a list of 150 lines would hide what belongs together
)
EMPTY_FILES = (
    "acl",
    "amd",
    "ccss",
    "cli",
    "codecs",
    "confbridge",
    "dsp",
    "features",
    "http",
    "pjproject",
    "queuerules",
    "sorcery",
    "udptl",
)


def base_config(
    folder: Path, *, dialer_secret: str, config_secret: str, verbosity: int, max_open_files: int
) -> dict[str, str]:
    """File name -> text, for an instance whose folders are all under ``folder`` (as Asterisk sees it)."""
    return {
        "asterisk.conf": f"""[directories]
astetcdir => {folder}/etc
astvarlibdir => {folder}/lib
astdbdir => {folder}/lib
astkeydir => {folder}/lib
astspooldir => {folder}/spool
astlogdir => {folder}/log
astrundir => {folder}/run

[options]
verbose = {verbosity}
maxfiles = {max_open_files}
entityid = 02:00:00:00:00:01
nocolor = yes
dontwarn = yes
hideconnect = yes
""",
        "modules.conf": "[modules]\nautoload = no\n" + "".join(f"load = {name}.so\n" for name in MODULES),
        # By default the log loses lines when more than a thousand wait to be written.
        "logger.conf": "[general]\ndateformat = %F %T.%3q\nlogger_queue_limit = 100000\n\n[logfiles]\nfull => notice,warning,error,verbose\n",
        "rtp.conf": f"[general]\nrtpstart = {RTP_PORTS[0]}\nrtpend = {RTP_PORTS[1]}\nicesupport = no\nstrictrtp = no\n",
        "manager.conf": f"""[general]
enabled = yes
port = {AMI_PORT}
bindaddr = 127.0.0.1
authtimeout = 5

; Without `system`: with it, an Originate may run a shell.
[tandem-dialer]
secret = {dialer_secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = system,call,agent,reporting,cdr
write = call,agent,originate,reporting
writetimeout = 1000

[tandem-config]
secret = {config_secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = system,call,agent,reporting
write = system,config,command,agent,call,reporting
writetimeout = 1000
""",
        "cdr.conf": "[general]\nenable = yes\n",
        "cdr_custom.conf": f"[cdr.json]\nformat = json\nfields = {CDR_FIELDS}\n",
        "cdr_manager.conf": "[general]\nenabled = yes\n\n[mappings]\nlinkedid => LinkedID\nsequence => Sequence\n",
        "cel.conf": f"[general]\nenable = yes\nevents = {','.join(CEL_EVENTS)}\n",
        "cel_custom.conf": f"[cel.json]\nformat = json\nfields = {CEL_FIELDS}\n",
        "musiconhold.conf": "[default]\nmode = files\ndirectory = moh\n",
        "indications.conf": "[general]\ncountry = us\n\n[us]\ndescription = United States\nringcadence = 2000,4000\ndial = 350+440\nbusy = 480+620/500,0/500\n"
        "ring = 440+480/2000,0/4000\ncongestion = 480+620/250,0/250\n",
        "pjsip.conf": "; nothing yet\n",
        "extensions.conf": "; nothing yet\n",
        "queues.conf": "[general]\nautofill = yes\nshared_lastcall = yes\n",
        "stasis.conf": "\n".join(list_declined()) + "\n",
        "voicemail.conf": "[general]\nformat = wav\n\n[default]\n",
        **dict.fromkeys((f"{name}.conf" for name in EMPTY_FILES), "; defaults\n"),
    }
