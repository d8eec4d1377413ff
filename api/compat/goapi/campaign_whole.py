"""A campaign and all that is made with it (in-group, message, DID, sound, survey), written as one and brought live, or not there at all; decides nothing of it.

One transaction writes everything. What Asterisk, or the start, then refuses is taken back by one more.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from api.compat.goapi.actions import Call
from api.compat.goapi.dialling import Known, Target, commit
from api.compat.goapi.objects import Objects, bring_live
from api.compat.goapi.speech import fail, fail_code
from api.compat.goapi.voicefiles import Upload
from api.declare import Reply
from api.joint import Commit, Joint, Step
from tandem.domain.campaigns import Campaign, CampaignState, SavedCampaign
from tandem.domain.destinations import SurveyDestination
from tandem.domain.entities import Did, Entity
from tandem.domain.snapshot import Snapshot, with_entity
from tandem.domain.surveys import SavedSurvey, Survey
from tandem.store.campaign_codes import CodeTaken, save_code
from tandem.store.did_ids import number_dids, save_group
from tandem.store.user_groups import admit_campaign
from tandem.surveying import SurveyRefused

_PENDING: Final = "Error: Asterisk cannot be asked now, and the campaign needs what it does not have yet: try again"


@dataclass(slots=True)
class Whole:
    """What there is beside the campaign of this code. owned: objects that belong to the group of whoever asks."""

    code: str
    words: dict[str, Any] = field(default_factory=dict)
    objects: list[Entity] = field(default_factory=list)
    owned: list[tuple[str, str]] = field(default_factory=list)
    sound: Upload | None = None
    survey: Survey | None = None

    def view(self, call: Call) -> Snapshot:
        """The live PBX as it will be."""
        snapshot: Snapshot = call.services.live.current
        for entity in self.objects:
            snapshot = with_entity(snapshot, snapshot.revision, entity)
        return snapshot


async def create(call: Call, whole: Whole, campaign: Campaign, *, is_started: bool) -> Mapping[str, Any]:
    """A new campaign; more of the answer."""
    joint, objects, author = Joint(), _objects(call, whole), call.exchange.who.name
    group, at = call.exchange.who.group, call.services.now().timestamp()
    made: list[SavedSurvey] = []

    def complete(draft: Campaign) -> Campaign:
        if whole.survey is None:
            return draft
        made[:] = [one for one in joint.results if isinstance(one, SavedSurvey)]
        return replace(draft, destination=SurveyDestination(survey=made[-1].survey_id))

    async def add(keep: Commit) -> None:
        def admit(db: Any, saved: SavedCampaign) -> None:
            if group is not None:
                admit_campaign(db, group.name, saved.campaign_id, at)

        await call.services.campaigns.create(
            campaign, author=author, commit=_with_words(keep, whole, admit), within=whole.view(call), complete=complete
        )

    async def ask(keep: Commit) -> None:
        view = whole.view(call)
        await call.services.surveys.create(whole.survey, author=author, commit=keep, within=view)

    await _run(call, whole, joint, objects, ask, add)
    campaign_id = joint.results[-1].campaign_id
    if group is not None and group.campaigns is not None:
        await call.services.authority.load()

    async def undo() -> None:
        await Joint().run(
            call.services.store.run,
            [
                lambda keep: call.services.campaigns.delete(campaign_id, commit=keep, is_paused_first=True),
                lambda keep: call.services.surveys.delete(*(one.survey_id for one in made), commit=keep),
                objects.undo,
            ],
        )
        if whole.sound is not None:
            await whole.sound.undo(call)

    return await _finish(call, whole, undo, (lambda: _start(call, whole.code, campaign_id)) if is_started else None)


async def change(
    call: Call,
    whole: Whole,
    known: Known,
    survey_id: int | None,
    decide: Callable[[SavedCampaign], Campaign],
    state: CampaignState | None,
) -> Mapping[str, Any]:
    """Another campaign in its place, with another survey where there is one in `whole`; state: what it is from now on, None as it was."""
    joint, objects, before = Joint(), _objects(call, whole), known.saved
    # What is not live yet takes no calls.
    is_waiting = bool(whole.objects) and (state or before.state) == "running"
    first: CampaignState | None = "paused" if is_waiting else state
    permissions = call.exchange.who.reach if state == "running" else before.permissions
    old_survey = call.services.surveys.find(survey_id) if whole.survey is not None else None

    async def alter(keep: Commit) -> None:
        await call.services.campaigns.change_running(
            known.campaign_id, decide, commit=_with_words(keep, whole), state=first, permissions=permissions,
            within=whole.view(call),
        )  # fmt: skip

    async def ask(keep: Commit) -> None:
        view = whole.view(call)
        await call.services.surveys.replace(survey_id, whole.survey, commit=keep, within=view)

    await _run(call, whole, joint, objects, ask, alter)

    async def undo() -> None:
        async def back(keep: Commit) -> None:
            await call.services.campaigns.change_running(
                known.campaign_id, lambda _: before.campaign, state=before.state, permissions=before.permissions,
                commit=_with_words(keep, Whole(known.code, dict(known.words))),
            )  # fmt: skip

        steps: list[Step] = [back]
        if old_survey is not None:
            steps.append(lambda keep: call.services.surveys.replace(survey_id, old_survey.survey, commit=keep))
        await Joint().run(call.services.store.run, [*steps, objects.undo])
        if whole.sound is not None:
            await whole.sound.undo(call)

    async def go_on() -> None:
        if state == "running":
            await _start(call, whole.code, known.campaign_id)
        else:
            target = commit(call, f"campaigns/{whole.code}/resume")
            await call.services.campaigns.resume(known.campaign_id, commit=target)

    return await _finish(call, whole, undo, go_on if is_waiting else None)


async def _start(call: Call, code: str, campaign_id: int) -> None:
    """Dials from now on, as far as whoever asks may."""
    target = commit(call, f"campaigns/{code}/start")
    await call.services.campaigns.start(campaign_id, call.exchange.who.reach, commit=target)


def _objects(call: Call, whole: Whole) -> Objects:
    def beside(db: Any) -> None:
        number_dids(db, [one.number for one in whole.objects if isinstance(one, Did)])
        if (group := call.exchange.who.group) is not None:
            for collection, name in whole.owned:
                save_group(db, collection, name, group.name)

    return Objects(call, lambda _: whole.objects, beside)


def _with_words(
    keep: Commit, whole: Whole, beside: Callable[[Any, SavedCampaign], None] = lambda _db, _saved: None
) -> Callable[[Callable[[Any], SavedCampaign]], Awaitable[SavedCampaign]]:
    """`keep`, of work that saves a campaign, with its code and its words."""

    async def commit_both(work: Callable[[Any], SavedCampaign]) -> SavedCampaign:
        def perform(db: Any) -> SavedCampaign:
            saved = work(db)
            try:
                save_code(db, saved.campaign_id, whole.code, whole.words)
            except CodeTaken:
                raise fail_code("10109") from None
            beside(db, saved)
            return saved

        saved: SavedCampaign = await keep(perform)
        return saved

    return commit_both


async def _run(call: Call, whole: Whole, joint: Joint, objects: Objects, ask: Step, last: Step) -> None:
    """Everything in one transaction, with an audit entry for each thing."""
    steps: list[Step] = []
    places: dict[str, int | None] = {f"campaigns/{whole.code}": None}
    if whole.objects:
        steps.append(objects.write)
    if (upload := whole.sound) is not None:
        steps.append(lambda keep: upload.keep(call, keep))
        places[upload.target] = None
    if whole.survey is not None:
        steps.append(ask)
        places[f"campaigns/{whole.code}/survey"] = None

    async def write(work: Callable[[Any], object]) -> None:
        def tell(_: object) -> Target:
            return {**places, **objects.tell(joint.results[0])} if whole.objects else places

        await call.exchange.write(lambda db: (work(db), Reply()), tell)

    try:
        await joint.run(write, [*steps, last])
    except SurveyRefused as refused:
        where, rule = refused.problems[0]
        raise fail(f"Error: survey {where} {rule}") from None


async def _finish(
    call: Call, whole: Whole, undo: Callable[[], Awaitable[None]], run: Callable[[], Awaitable[None]] | None
) -> Mapping[str, Any]:
    """Brings live what was written, and lets it run; else all is taken back."""
    more = await bring_live(call, undo) if whole.objects else {}
    try:
        # A DID can wait; what the campaign's calls need cannot.
        if more and any(not isinstance(one, Did) for one in whole.objects):
            raise fail(_PENDING)
        if run is not None:
            await run()
    except Exception:
        await undo()
        raise
    return more
