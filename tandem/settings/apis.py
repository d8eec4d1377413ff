"""Other systems' APIs: whether each is served, and what only it knows; one door for each, none of them open to a network by itself."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from tandem.settings.fields import AbsolutePath, Section

Serve = Literal["off", "loopback", "everywhere"]


class DoorSettings(Section):
    """One API of another system."""

    serve: Serve = Field(
        "loopback",
        description="off; loopback: for this machine alone, not through a proxy; everywhere: for whoever reaches http.",
    )


class AriDialerSettings(DoorSettings):
    """The ARI Dialer's API at /adial/api and /api."""


class GoApiSettings(DoorSettings):
    """GOautodial's goAPI at /goAPI and /goAPIv2."""

    http_errors: bool = Field(
        False, description="Whether errors are HTTP 400, as its README says; else 200, as its programs expect."
    )


class MikoPbxSettings(DoorSettings):
    """The MikoPBX auto dialer's API at /pbxcore/api and /admin-cabinet."""

    trust_loopback: bool = Field(
        False,
        description="Whether programs on this machine need no login, as there; not through a proxy, and no pages in a browser.",
    )
    crm_url: str = Field(
        "",
        pattern=r"^(https?://[\x21-\x7e]{1,1990})?$",
        description="Where the action send_crm of polls sends answers to; empty for nowhere.",
    )


class While1Settings(DoorSettings):
    """The While1 Voice API at /api."""

    api_key: SecretStr | None = Field(
        None, description="Key that each request is hashed with (api_hash); better in a file of its own."
    )
    api_key_file: AbsolutePath | None = Field(None, description="File with the key, not readable by others.")
    deprecated_credentials: bool = Field(
        True, description="Whether api_username and api_password are taken in place of a token, with a warning."
    )
    message_codes: bool = Field(
        False, description="Whether error messages are an object with a code for each, else a list."
    )
    project_id: Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9_.-]{1,40}\z")] = Field(
        "1", description="Project of calls that no program placed: in what is read, and of all events."
    )
    post_only: bool = Field(False, description="Whether what changes something or places a call must be a POST.")


class ApiSettings(Section):
    """Other systems' APIs, for programs written for them."""

    ari_dialer: AriDialerSettings = AriDialerSettings()
    goapi: GoApiSettings = GoApiSettings()
    mikopbx: MikoPbxSettings = MikoPbxSettings()
    while1: While1Settings = While1Settings()
