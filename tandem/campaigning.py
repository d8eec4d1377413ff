"""Changes campaigns, their numbers and the lists of numbers that must not be called: checked against the live PBX, committed by whoever asks, then told to the dialer.

Every API and the command line come through here: one validation, one store. Never opens a transaction of its own: `commit` does, with
whatever else belongs into it (an audit entry, a kept answer).
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.threads import deferToThread

from tandem.domain.agent_statuses import StatusRefused, statuses_of
from tandem.domain.campaign_checks import check_campaign_within
from tandem.domain.campaigns import Campaign, CampaignState, NewNumber, SavedCampaign, SavedNumber
from tandem.domain.customers import Customer
from tandem.domain.destinations import SurveyDestination
from tandem.domain.numbers import make_number_key
from tandem.domain.snapshot import Snapshot
from tandem.store import customers, dnc, number_lists
from tandem.store.attempt_claims import Claim
from tandem.store.attempt_ends import record_agent_status
from tandem.store.campaigns import (
    change_state,
    create_campaign,
    delete_campaign,
    load_campaign,
    load_words,
    update_campaign,
)
from tandem.store.closed_numbers import close_numbers
from tandem.store.numbers import Added, add_numbers, delete_number, load_number, update_number
from tandem.store.surveys import SurveyMissing, load_survey
from tandem.store.whole_campaigns import WholeCampaign, save_whole_campaign

T = TypeVar("T")
# Does work within a transaction of the caller's choice, and fires with what it returned.
Commit = Callable[[Callable[[Any], T]], Awaitable[T]]
# Numbers that go into the database with one statement: json holds the interpreter for about so many milliseconds per thousand.
BATCH = 2000


class CampaignRefused(ValueError):
    """The campaign does not fit itself or the live PBX; each problem is (field, rule)."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {rule}" for field, rule in problems))
        self.problems = tuple(problems)


class Dialling(Protocol):
    """What is needed of the dialer (`tandem.dialer`)."""

    async def start(
        self, campaign_id: int, permissions: tuple[str, ...], *, resume: bool = False, commit: Commit[Any] | None = None
    ) -> SavedCampaign:
        """Dials from now on."""

    async def pause(self, campaign_id: int, *, commit: Commit[Any] | None = None) -> SavedCampaign:
        """Dials no more; calls go on."""

    async def stop(self, campaign_id: int, *, commit: Commit[Any] | None = None) -> SavedCampaign:
        """Dials no more, hangs up."""

    async def reset(self, campaign_id: int, *, commit: Commit[Any] | None = None) -> int:
        """Everything is pending again."""

    async def dial_by_hand(
        self,
        campaign_id: int,
        agent: str,
        wanted: int | NewNumber | None = None,
        *,
        commit: Commit[Any] | None = None,
    ) -> Claim:
        """One number for one agent."""

    async def wait_hung_up(self, campaign_ids: Collection[int]) -> None:
        """Until calls that were hung up are over."""

    def note_change(self, saved: SavedCampaign) -> None:
        """A campaign was changed."""

    def forget(self, campaign_id: int) -> None:
        """A campaign was deleted."""

    def wake(self, campaign_id: int) -> None:
        """There may be something due."""


class Campaigns:
    """The use-cases. All raise what `tandem.store` raises (CampaignMissing, StateConflict, NumberMissing, ListMissing …) and StoreError."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], dialer: Dialling, now: Callable[[], float] = time.time
    ) -> None:
        self._snapshot = snapshot
        self._dialer = dialer
        self._now = now
        self._watchers: tuple[Callable[[str, int], None], ...] = ()

    def watch(self, callback: Callable[[str, int], None]) -> None:
        """Calls back with what happened (`created`, `changed`, `deleted`, `started`, …, `numbers-added`) and the campaign's id."""
        self._watchers = (*self._watchers, callback)

    def _tell(self, what: str, campaign_id: int) -> None:
        for callback in self._watchers:
            callback(what, campaign_id)

    # -------------------------------------------------------------------------------------------------- campaigns

    async def create(
        self,
        campaign: Campaign,
        *,
        author: str,
        commit: Commit[SavedCampaign],
        permissions: Sequence[str] = (),
        words: Mapping[str, Any] | None = None,
        numbers: Sequence[NewNumber] = (),
        within: Snapshot | None = None,
        complete: Callable[[Campaign], Campaign] = lambda campaign: campaign,
    ) -> SavedCampaign:
        """A new one, stopped, with its first numbers; CampaignRefused. words: another system's own words for it.

        within: the PBX that it must fit, where that is not the live one yet; complete: adds what is only known within the transaction.
        """
        snapshot, at = within or self._snapshot(), self._now()

        def work(db: Any) -> SavedCampaign:
            whole = complete(campaign)
            _check(db, snapshot, whole)
            saved = create_campaign(db, whole, author=author, permissions=permissions, at=at, words=words)
            _add_numbers(db, saved.campaign_id, numbers, at)
            return saved

        saved = await commit(work)
        self._dialer.note_change(saved)
        self._tell("created", saved.campaign_id)
        return saved

    async def change(
        self,
        campaign_id: int,
        decide: Callable[[SavedCampaign], Campaign],
        *,
        commit: Commit[SavedCampaign],
        words: Mapping[str, Any] | None = None,
    ) -> SavedCampaign:
        """What `decide` makes of it (within the transaction, so nothing comes between), or what it raises; not while it is running."""
        snapshot, at = self._snapshot(), self._now()

        def work(db: Any) -> SavedCampaign:
            before = load_campaign(db, campaign_id)
            campaign = decide(before)
            _check(db, snapshot, campaign)
            return update_campaign(db, campaign_id, campaign, at, version=before.version, words=words)

        saved = await commit(work)
        self._dialer.note_change(saved)
        self._tell("changed", campaign_id)
        return saved

    async def change_running(
        self,
        campaign_id: int,
        decide: Callable[[SavedCampaign], Campaign],
        *,
        commit: Commit[SavedCampaign],
        state: CampaignState | None = None,
        permissions: tuple[str, ...] = (),
        within: Snapshot | None = None,
    ) -> SavedCampaign:
        """As `change`, also of one that is running: it pauses for what must not change while it dials, and calls go on.

        state: what it is from then on, None as it was; permissions: of whoever starts it. within: as for `create`.
        """
        snapshot, at = within or self._snapshot(), self._now()

        def work(db: Any) -> SavedCampaign:
            before = load_campaign(db, campaign_id)
            campaign = decide(before)
            _check(db, snapshot, campaign)
            words = load_words(db, [campaign_id])[campaign_id]
            whole = WholeCampaign(
                campaign=campaign, author=before.author, words=words, permissions=permissions, campaign_id=campaign_id,
                state=state,
            )  # fmt: skip
            return save_whole_campaign(db, whole, at)

        saved = await commit(work)
        self._dialer.note_change(saved)
        self._tell("changed", campaign_id)
        return saved

    async def save_whole(self, wanted: WholeCampaign, *, commit: Commit[SavedCampaign]) -> SavedCampaign:
        """A campaign with its list and its state, new or anew, all or nothing; CampaignRefused, CampaignMissing."""
        snapshot, at = self._snapshot(), self._now()

        def work(db: Any) -> SavedCampaign:
            _check(db, snapshot, wanted.campaign)
            return save_whole_campaign(db, wanted, at)

        saved = await commit(work)
        self._dialer.note_change(saved)
        self._tell("created" if wanted.campaign_id is None else "changed", saved.campaign_id)
        return saved

    async def delete(
        self,
        *campaign_ids: int,
        commit: Commit[None],
        check: Callable[[SavedCampaign], object] = lambda _: None,
        is_paused_first: bool = False,
    ) -> None:
        """Takes them and their numbers away, not while one is running or calls are up; their attempts stay. `check` may raise.

        is_paused_first: one that is running is paused, which is taken back where it cannot be deleted.
        """

        def work(db: Any) -> None:
            for campaign_id in campaign_ids:
                before = load_campaign(db, campaign_id)
                check(before)
                if is_paused_first and before.state == "running":
                    change_state(db, campaign_id, "paused", ("running",), "", self._now())
                delete_campaign(db, campaign_id, self._now())

        # Whoever has just stopped one may delete it.
        await self._dialer.wait_hung_up(campaign_ids)
        await commit(work)
        for campaign_id in campaign_ids:
            self._dialer.forget(campaign_id)
            self._tell("deleted", campaign_id)

    async def start(
        self, campaign_id: int, permissions: tuple[str, ...], *, commit: Commit[SavedCampaign]
    ) -> SavedCampaign:
        """Dials from now on, as far as `permissions` reach; CampaignRefused where what it needs is not live any more."""
        saved = await self._dialer.start(campaign_id, permissions, commit=self._checked(campaign_id, commit))
        self._tell("started", campaign_id)
        return saved

    async def resume(self, campaign_id: int, *, commit: Commit[SavedCampaign]) -> SavedCampaign:
        """Goes on after a pause, with the permissions that it was started with."""
        saved = await self._dialer.start(campaign_id, (), resume=True, commit=self._checked(campaign_id, commit))
        self._tell("resumed", campaign_id)
        return saved

    def _checked(self, campaign_id: int, commit: Commit[SavedCampaign]) -> Commit[SavedCampaign]:
        """`commit`, of work that follows on a check against what is live now."""
        snapshot = self._snapshot()

        def check_first(work: Callable[[Any], SavedCampaign]) -> Awaitable[SavedCampaign]:
            def checked(db: Any) -> SavedCampaign:
                saved = work(db)
                _check(db, snapshot, load_campaign(db, campaign_id).campaign)
                return saved

            return commit(checked)

        return check_first

    async def pause(self, campaign_id: int, *, commit: Commit[SavedCampaign]) -> SavedCampaign:
        """Dials no more; calls go on."""
        saved = await self._dialer.pause(campaign_id, commit=commit)
        self._tell("paused", campaign_id)
        return saved

    async def stop(self, campaign_id: int, *, commit: Commit[SavedCampaign]) -> SavedCampaign:
        """Dials no more, hangs up all calls, and puts what was not reached back to the beginning."""
        saved = await self._dialer.stop(campaign_id, commit=commit)
        self._tell("stopped", campaign_id)
        return saved

    async def reset(self, campaign_id: int, *, commit: Commit[int]) -> int:
        """Every number is pending again, those that were reached too; how many."""
        moved = await self._dialer.reset(campaign_id, commit=commit)
        self._tell("reset", campaign_id)
        return moved

    # ---------------------------------------------------------------------------------------------------- numbers

    async def add_numbers(
        self, campaign_id: int, numbers: Sequence[NewNumber], *, commit: Commit[Added], dedupe: bool = False
    ) -> Added:
        """Adds numbers at the list's end, all in one transaction. dedupe: those that are on the list are left out."""
        at = self._now()

        def work(db: Any) -> Added:
            load_campaign(db, campaign_id)
            return _add_numbers(db, campaign_id, numbers, at, dedupe=dedupe)

        added = await commit(work)
        if added.number_ids:
            self.note_numbers(campaign_id)
        return added

    def note_numbers(self, campaign_id: int) -> None:
        """Numbers were added."""
        self._dialer.wake(campaign_id)
        self._tell("numbers-added", campaign_id)

    async def delete_number(self, number_id: int, *, commit: Commit[SavedNumber]) -> SavedNumber:
        """Takes one off its list; NumberMissing, NumberInFlight."""
        number = await commit(lambda db: delete_number(db, number_id))
        self._tell("number-deleted", number.campaign_id)
        return number

    async def change_number(
        self, number_id: int, decide: Callable[[SavedNumber], NewNumber], *, commit: Commit[SavedNumber]
    ) -> SavedNumber:
        """Another phone number, other data and variables; NumberMissing, NumberInFlight. Its list and its time stay."""
        at = self._now()

        def work(db: Any) -> SavedNumber:
            wanted = decide(load_number(db, number_id))
            return update_number(db, number_id, at, wanted)

        number = await commit(work)
        self._tell("number-changed", number.campaign_id)
        return number

    async def close_numbers(
        self, number_ids: Sequence[int], *, commit: Commit[tuple[SavedNumber, ...]]
    ) -> tuple[SavedNumber, ...]:
        """Their purpose was fulfilled elsewhere: not dialled any more, and after the call that one is in, not again. NumberMissing."""
        at = self._now()
        numbers = await commit(lambda db: close_numbers(db, number_ids, at))
        for campaign_id in sorted({number.campaign_id for number in numbers}):
            self._tell("numbers-closed", campaign_id)
        return numbers

    async def dial_by_hand(
        self, campaign_id: int, agent: str, wanted: int | NewNumber | None, *, commit: Commit[Claim]
    ) -> Claim:
        """Dials a number by its id, one that was typed, or the next that is due, for the agent of an endpoint; what the dialer raises."""
        claim = await self._dialer.dial_by_hand(campaign_id, agent, wanted, commit=commit)
        if isinstance(wanted, NewNumber):
            self._tell("numbers-added", campaign_id)
        return claim

    async def set_status(
        self,
        number_id: int,
        code: str,
        *,
        author: str,
        commit: Commit[SavedNumber],
        call_again_at: float | None = None,
    ) -> SavedNumber:
        """Keeps what an agent says of a number's last call; the campaign's rules follow when the call is over.

        call_again_at: seconds since 1970, for a status that is a callback. StatusRefused, NumberMissing, ClaimRefused.
        """
        at, make_key = self._now(), self.make_key()

        def work(db: Any) -> SavedNumber:
            number = load_number(db, number_id)
            known = statuses_of(load_campaign(db, number.campaign_id).campaign.statuses)
            status = known.get(code)
            if status is None:
                raise StatusRefused("status", f"must be one of {', '.join(sorted(known))}")
            if status.is_callback != (call_again_at is not None):
                rule = "is missing: a callback has a time" if status.is_callback else f"does not go with {code}"
                raise StatusRefused("call_again_at", rule)
            if status.is_dnc:
                dnc.add_dnc_numbers(db, "global", [make_key(number.phone_number)], at, author)
            return record_agent_status(db, number_id, code, at, call_again_at)

        number = await commit(work)
        self._dialer.wake(number.campaign_id)
        self._tell("number-spoken-of", number.campaign_id)
        return number

    # ---------------------------------------------------------------------------------------------- lists of numbers

    async def create_number_list(
        self, campaign_id: int, name: str, *, commit: Commit[number_lists.NumberList], **given: Any
    ) -> number_lists.NumberList:
        """A new, empty list that feeds a campaign; given: description, is_active, list_id. CampaignMissing, NumberListExists."""
        at = self._now()
        made = await commit(lambda db: number_lists.create_number_list(db, campaign_id, name, at, **given))
        self._tell("list-created", campaign_id)
        return made

    async def change_number_list(
        self, list_id: int, *, commit: Commit[number_lists.NumberList], **changes: Any
    ) -> number_lists.NumberList:
        """name, description, is_active, campaign_id: its numbers go with it. From the next claim on."""
        at = self._now()
        changed = await commit(lambda db: number_lists.update_number_list(db, list_id, at, **changes))
        self._dialer.wake(changed.campaign_id)
        self._tell("list-changed", changed.campaign_id)
        return changed

    async def delete_number_lists(
        self, list_ids: Sequence[int], *, commit: Commit[list[number_lists.NumberList]]
    ) -> None:
        """Takes lists and their numbers away, all or none; NumberListMissing, NumberListBusy."""
        gone = await commit(lambda db: [number_lists.delete_number_list(db, list_id) for list_id in list_ids])
        for campaign_id in sorted({one.campaign_id for one in gone}):
            self._tell("list-deleted", campaign_id)

    # ---------------------------------------------------------------------------------------------------- customers

    async def save_customers(self, people: Sequence[Customer], *, commit: Commit[list[Customer]]) -> list[Customer]:
        """People with their telephones, new or anew, all or none."""
        at = self._now()
        return await commit(lambda db: customers.save_customers(db, people, at))

    async def delete_customer(self, person: str, *, commit: Commit[Any]) -> None:
        """Takes a person away; numbers of campaigns stay. CustomerMissing."""
        await commit(lambda db: customers.delete_customer(db, person))

    # ------------------------------------------------------------------------------------- numbers not to be called

    def make_key(self) -> Callable[[str], str]:
        """A phone number as the lists have it, by the country of the live PBX."""
        return make_number_key(self._snapshot().general.country)

    async def _make_keys(self, numbers: Iterable[str]) -> list[str]:
        make_key = self.make_key()
        return await deferToThread(lambda: list(map(make_key, numbers)))

    async def create_list(self, name: str, *, commit: Commit[dnc.DncList]) -> dnc.DncList:
        """A new, empty list; ListExists."""
        at = self._now()
        return await commit(lambda db: dnc.create_dnc_list(db, name, at))

    async def delete_list(self, name: str, *, commit: Commit[None]) -> None:
        """Takes a list away; ListMissing, ListUsed."""
        await commit(lambda db: dnc.delete_dnc_list(db, name))

    async def block_numbers(self, name: str, numbers: Iterable[str], *, author: str, commit: Commit[int]) -> int:
        """Puts numbers on a list; how many were not on it. They are not dialled from the next claim on."""
        keys, at = await self._make_keys(numbers), self._now()
        return await commit(lambda db: dnc.add_dnc_numbers(db, name, keys, at, author))

    async def unblock_numbers(self, name: str, numbers: Iterable[str], *, commit: Commit[int]) -> int:
        """Takes numbers off a list; how many were on it. Those that were refused meanwhile stay so until a reset."""
        keys, at = await self._make_keys(numbers), self._now()
        return await commit(lambda db: dnc.delete_dnc_numbers(db, name, keys, at))


def _add_numbers(db: Any, campaign_id: int, numbers: Sequence[NewNumber], at: float, *, dedupe: bool = False) -> Added:
    number_ids: list[int] = []
    duplicate_at: list[int] = []
    for start in range(0, len(numbers), BATCH):
        added = add_numbers(db, campaign_id, numbers[start : start + BATCH], at, dedupe=dedupe)
        number_ids += added.number_ids
        duplicate_at += [start + index for index in added.duplicate_at]
    return Added(tuple(number_ids), tuple(duplicate_at))


def _check(db: Any, snapshot: Snapshot, campaign: Campaign) -> None:
    problems = list(check_campaign_within(snapshot, campaign))
    try:
        dnc.check_dnc_lists(db, campaign.dnc_lists)
    except dnc.ListMissing as missing:
        problems.append(("dnc_lists", f"there is no list {missing.name}"))
    if isinstance(campaign.destination, SurveyDestination):
        try:
            load_survey(db, campaign.destination.survey)
        except SurveyMissing:
            problems.append(("destination.survey", f"there is no survey {campaign.destination.survey}"))
    if problems:
        raise CampaignRefused(problems)
