"""The one table exception -> HTTP answer, and the one form of an error body; never lets a traceback or a secret out."""

import errno
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

import orjson
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from tandem.ami.errors import AmiError
from tandem.audio import ToolFailed, ToolMissing, ToolStopped
from tandem.campaigning import CampaignRefused
from tandem.channels import ChannelMissing
from tandem.document import DocumentError
from tandem.domain.agent_statuses import StatusRefused
from tandem.domain.agents import AgentMissing, AgentNotThere, AgentRefused
from tandem.domain.call_notes import NotesRefused
from tandem.domain.changes import ApplyBusy, ApplyRefused, EditNotAdoptable, HandEdited, PlanOutdated, RevisionChanged
from tandem.domain.features import FeatureRefused
from tandem.domain.number_files import FileRefused
from tandem.domain.number_rows import NotJson
from tandem.domain.originate import CallRefused
from tandem.domain.sounds import SoundRefused
from tandem.editing import EditRefused, StillUsed
from tandem.importing import ImportsBusy
from tandem.live import LiveError
from tandem.sounds import SoundsBusy
from tandem.speech import SpeechFailed
from tandem.store.answers import OtherBody
from tandem.store.attempt_claims import ClaimRefused
from tandem.store.call_notes import CallMissing
from tandem.store.campaigns import CampaignMissing, StateConflict, VersionConflict
from tandem.store.customers import CustomerMissing
from tandem.store.dnc import ListExists, ListMissing, ListUsed
from tandem.store.errors import StoreError
from tandem.store.number_lists import NumberListBusy, NumberListExists, NumberListMissing
from tandem.store.numbers import NumberInFlight, NumberMissing
from tandem.store.objects import HeadMoved
from tandem.store.sounds import SoundExists, SoundMissing
from tandem.store.surveys import SurveyMissing, SurveyUsed
from tandem.store.user_groups import UserGroupExists, UserGroupMissing, UserGroupUsed
from tandem.store.users import LastAdmin
from tandem.store.webhooks import TooManyWebhooks, WebhookMissing
from tandem.surveying import SurveyRefused
from tandem.voicemail import GreetingMissing, MessageMissing, VoicemailClosed

log = logging.getLogger(__name__)

MAX_PROBLEMS: Final = 100


class Refused(Exception):
    """A request that is refused; `problems` names each field and its rule."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        problems: tuple[dict[str, str], ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.problems, self.headers = status, message, problems, headers


class TokenMissing(Refused):
    """No token at all where one is needed."""


class PermissionMissing(Refused):
    """A token without the permission that this takes."""

    def __init__(self, permission: str) -> None:
        super().__init__(HTTPStatus.FORBIDDEN, f"this takes the permission {permission}")
        self.permission = permission


class BodyUnreadable(Refused):
    """A body that is no JSON, or JSON that nobody can mean."""

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.BAD_REQUEST, message)


def refuse_fields(problems: Iterable[tuple[str, str]]) -> Refused:
    """422 with each field and its rule."""
    found = tuple({"field": name, "rule": rule} for name, rule in problems)[:MAX_PROBLEMS]
    first = found[0] if found else {"field": "", "rule": "is not valid"}
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, f"{first['field']} {first['rule']}".strip(), found)


def explain(error: BaseException) -> Refused:  # noqa: C901, PLR0912 - it is the table
    """The answer for what a handler raised; what is not in the table is logged, and told to nobody."""
    match error:
        case Refused():
            return error
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            return Refused(
                HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes only {allowed}", headers=(("allow", allowed),)
            )
        case HTTPException():
            return _explain_routing(error)
        case EditRefused(problems=problems):
            found = tuple({"object": place, "field": field, "rule": rule} for place, field, rule in problems)
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _shorten(str(error)), found[:MAX_PROBLEMS])
        case StillUsed(referrers=referrers):
            found = tuple(
                {"object": place, "field": field, "rule": f"leads to {error.place}"} for place, field in referrers
            )
            return Refused(HTTPStatus.CONFLICT, _shorten(str(error)), found[:MAX_PROBLEMS])
        case DocumentError(problems=lines):
            found = tuple({"field": line.path, "rule": line.message, "line": str(line.line or "")} for line in lines)
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _shorten(str(error)), found[:MAX_PROBLEMS])
        case ApplyRefused(problems=complaints) | EditNotAdoptable(problems=complaints):
            found = tuple({"object": it.object, "field": it.field, "rule": it.reason} for it in complaints)
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, _shorten(str(error)), found[:MAX_PROBLEMS])
        case HandEdited() | ApplyBusy():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case RevisionChanged() | PlanOutdated():
            return Refused(HTTPStatus.PRECONDITION_FAILED, str(error))
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return Refused(HTTPStatus.INSUFFICIENT_STORAGE, f"no space left: {error}")
        case CampaignRefused(problems=fields) | SurveyRefused(problems=fields):
            return refuse_fields(fields)
        case (
            CampaignMissing() | NumberMissing() | ListMissing() | WebhookMissing() | SurveyMissing() | CustomerMissing()
        ):
            what = {
                CampaignMissing: "campaign", NumberMissing: "number", WebhookMissing: "webhook", SurveyMissing: "survey", CustomerMissing: "customer",
            }.get(type(error), "list")  # fmt: skip
            return Refused(HTTPStatus.NOT_FOUND, f"there is no such {what}")
        case NumberListMissing():
            return Refused(HTTPStatus.NOT_FOUND, "there is no such list of this campaign")
        case NumberListExists() | NumberListBusy() | ClaimRefused():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case UserGroupMissing():
            return Refused(HTTPStatus.NOT_FOUND, "there is no such group of users")
        case UserGroupExists() | UserGroupUsed():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case (
            StatusRefused(field=field, rule=rule)
            | CallRefused(field=field, rule=rule)
            | FeatureRefused(field=field, rule=rule)
            | NotesRefused(field=field, rule=rule)
        ):
            return refuse_fields([(field, rule)])
        case CallMissing():
            return Refused(HTTPStatus.NOT_FOUND, "there is no such call")
        case StateConflict(state=state, rule=rule):
            return Refused(HTTPStatus.CONFLICT, rule, ({"field": "state", "rule": f"is {state}"},))
        case NumberInFlight(status=status):
            return Refused(HTTPStatus.CONFLICT, f"this number is being called: it is {status}")
        case VersionConflict():
            return Refused(HTTPStatus.PRECONDITION_FAILED, "it was changed meanwhile: read it again")
        case FileRefused() | NotJson():
            return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), ({"field": "", "rule": str(error)},))
        case ListExists() | ListUsed() | SurveyUsed() | ImportsBusy() | TooManyWebhooks():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case ChannelMissing():
            return Refused(HTTPStatus.NOT_FOUND, str(error))
        case CallRefused(field=name, rule=rule):
            return refuse_fields([(name, rule)])
        case AgentMissing():
            return Refused(HTTPStatus.NOT_FOUND, "there is no such endpoint")
        case AgentRefused(field=name, rule=rule):
            return refuse_fields([(name, rule)])
        case AgentNotThere():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case HeadMoved():
            return Refused(HTTPStatus.CONFLICT, f"{error}; try again")
        case OtherBody():
            return Refused(HTTPStatus.CONFLICT, "this Idempotency-Key was used before, for another body")
        case LastAdmin():
            return Refused(HTTPStatus.CONFLICT, str(error))
        case SoundRefused(field=field, rule=rule):
            return refuse_fields([(field, rule)])
        case SoundExists():
            return Refused(HTTPStatus.CONFLICT, f"{error} is there already")
        case SoundMissing():
            return Refused(HTTPStatus.NOT_FOUND, f"there is no {error}")
        case GreetingMissing() | MessageMissing():
            what = "greeting" if isinstance(error, GreetingMissing) else "message"
            return Refused(HTTPStatus.NOT_FOUND, f"the box has no such {what}")
        case VoicemailClosed():
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case ToolMissing() | ToolFailed() | ToolStopped() | SpeechFailed() | SoundsBusy():
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case AmiError():
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"Asterisk cannot be asked now: {error}")
        case StoreError() | LiveError():
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case _:
            log.error("a request failed", exc_info=error)
            return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the log says what")


def _explain_routing(error: HTTPException) -> Refused:
    # A redirect of werkzeug's (slashes, say) leads nowhere that the path itself did not.
    status = HTTPStatus(error.code or 500)
    status = HTTPStatus.NOT_FOUND if status < HTTPStatus.BAD_REQUEST else status
    return Refused(status, "there is nothing at this path" if status == HTTPStatus.NOT_FOUND else status.phrase)


def encode_refusal(refused: Refused) -> bytes:
    """`{"error": {"status", "message", "problems"}}`."""
    error: dict[str, Any] = {
        "status": int(refused.status),
        "message": refused.message,
        "problems": list(refused.problems),
    }
    return orjson.dumps({"error": error})


def _shorten(text: str) -> str:
    return text if len(text) < 2000 else text[:2000] + "…"
