"""The settings of one Tandem: what there is (`sections`, `apis`), how they are read (`loading`) and how they are told (`describing`)."""

from tandem.settings.apis import ApiSettings, GoApiSettings, MikoPbxSettings, Serve, While1Settings
from tandem.settings.describing import (
    DEFAULT_PATH,
    PATH_VARIABLE,
    SettingRow,
    describe_settings,
    format_settings,
    write_settings_template,
)
from tandem.settings.fields import is_loopback
from tandem.settings.loading import SettingsError, SettingsProblem, load_settings
from tandem.settings.sections import (
    AmiSettings,
    AsteriskSettings,
    DatabaseSettings,
    DialerSettings,
    FastagiSettings,
    HttpSettings,
    LogSettings,
    RecordingsSettings,
    RetentionSettings,
    Settings,
    SoundsSettings,
    SpeechSettings,
    WebhookSettings,
)

__all__ = [
    "DEFAULT_PATH",
    "PATH_VARIABLE",
    "AmiSettings",
    "ApiSettings",
    "AsteriskSettings",
    "DatabaseSettings",
    "DialerSettings",
    "FastagiSettings",
    "GoApiSettings",
    "HttpSettings",
    "LogSettings",
    "MikoPbxSettings",
    "RecordingsSettings",
    "RetentionSettings",
    "Serve",
    "SettingRow",
    "Settings",
    "SettingsError",
    "SettingsProblem",
    "SoundsSettings",
    "SpeechSettings",
    "WebhookSettings",
    "While1Settings",
    "describe_settings",
    "format_settings",
    "is_loopback",
    "load_settings",
    "write_settings_template",
]
