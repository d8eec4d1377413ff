"""The script of a queue's callback key: asks for the number and has it kept; never lets a caller go without a promise, nor promises what is not kept.

Fails open: without its one command the dialplan takes the caller back to the same place in the queue.
"""

from dataclasses import replace
from typing import Final, TypeVar

from fastagi.brain import Brain, Case
from fastagi.session import ChannelGone, PlaybackFailed, Session
from tandem.domain.agents import AgentsUnavailable
from tandem.domain.callbacks import CallbackRefused, CallbackWish
from tandem.domain.dialling import OUTSIDE
from tandem.domain.dialplan import CONTEXT_QUEUE_CALLBACK
from tandem.domain.entities import QueueCallback

T = TypeVar("T")

TRIES: Final = 3
WAIT_S: Final = 6
MAX_DIGITS: Final = 24
RIGHT: Final = "1"
OTHER: Final = "2"
# All of these are sounds of Asterisk's own package.
_ENTER: Final = "vm-enter-num-to-call"
_KNOWN: Final = "vm-num-i-have"
_CHOICES: Final = ("to-call-this-number", "vm-press", "digits/1", "vm-toenternumber", "vm-press", "digits/2")
_WRONG: Final = "vm-nonumber"


async def callback(brain: Brain, session: Session) -> None:
    """`AGI(agi://…/callback,QUEUE,JOINED,PRIORITY,DID)`: since when the caller has waited (seconds since 1970), how urgent they are, what they had called."""
    name, joined_at, priority, called = (*session.environment.args, "", "", "", "")[:4]
    snapshot = brain.snapshot()
    number = session.environment.callerid or ""
    case = Case(session, snapshot, brain.now(), "callback", name, number)
    queue = snapshot.queues.get(name)
    try:
        # A Tandem that was frozen reads this late, when the caller waits again.
        await session.noop()
        if session.hung_up:
            raise ChannelGone("before anything was kept")
        if queue is None or queue.callback is None:
            case.reasons.append(f"queue {name} calls nobody back")
            case.outcome = "waits on"
            return
        asking = _Asking(brain, case, queue.callback)
        wish = CallbackWish(
            queue=name,
            number="",
            joined_at=float(joined_at) if joined_at.isdecimal() else case.decided_at.timestamp(),
            priority=int(priority) if priority.isdecimal() and len(priority) < 3 else 0,
            shown=called,
            asked_in=session.environment.uniqueid or "",
            language=session.environment.language,
        )
        if await asking.find(wish, number if OUTSIDE.fullmatch(number) else ""):
            await asking.play(queue.callback.accepted_prompts)
            case.outcome = f"{CONTEXT_QUEUE_CALLBACK},kept,1"
            await session.exec("Gosub", case.outcome)
        else:
            case.outcome = "waits on"
    except ChannelGone:
        case.outcome = f"caller hung up ({case.outcome})"
        raise
    finally:
        brain.record(case.close())


class _Asking:
    """One caller who is asked for a number."""

    def __init__(self, brain: Brain, case: Case, setting: QueueCallback) -> None:
        self._brain, self._case, self._setting = brain, case, setting
        self._session = case.session
        self._is_hopeless = False

    async def find(self, wish: CallbackWish, own: str) -> bool:
        """Asks until there is a number that is kept; whether there is one. own: the caller's own number, empty where they show none."""
        if self._setting.number == "caller":
            if not own:
                self._case.reasons.append("the caller shows no number")
            return bool(own) and await self._keep(wish, own)
        number = own if self._setting.number == "confirm" else ""
        for _ in range(TRIES):
            number = number or await self._enter()
            if number and await self._is_right(number):
                if await self._keep(wish, number):
                    return True
                if self._is_hopeless:
                    return False
                await self.play((_WRONG,))
            number = ""
        self._case.reasons.append("no number")
        return False

    async def play(self, prompts: tuple[str, ...], keys: str = "") -> str:
        """The key of `keys` that cut the prompts short, empty for none. A sound that is missing is passed over."""
        for prompt in prompts:
            try:
                await self._case.renew_guard(self._brain.prompt_lengths.UNKNOWN_S)
                heard = await self._case.listen(self._session.stream_file(self._brain.locate(prompt), keys))
            except PlaybackFailed:
                self._case.reasons.append(f"prompt {prompt} cannot be played")
                continue
            if heard.digit is not None:
                return heard.digit
        return ""

    async def _keep(self, wish: CallbackWish, number: str) -> bool:
        try:
            kept = await self._brain.keep_callback(replace(wish, number=number))
        except (CallbackRefused, AgentsUnavailable) as error:
            self._case.reasons.append(f"{number}: {error}")
            self._is_hopeless = not isinstance(error, CallbackRefused) or error.is_final
            return False
        self._case.reasons.append(f"callback {kept.callback_id} to {number}")
        return True

    async def _enter(self) -> str:
        await self._case.renew_guard(self._brain.prompt_lengths.UNKNOWN_S)
        try:
            heard = await self._case.listen(self._session.get_data(_ENTER, WAIT_S * 1000, MAX_DIGITS))
        except PlaybackFailed:
            heard = await self._case.listen(self._session.get_data("beep", WAIT_S * 1000, MAX_DIGITS))
        return heard.digits if OUTSIDE.fullmatch(heard.digits) else ""

    async def _is_right(self, number: str) -> bool:
        """The number is read to the caller, who presses 1."""
        keys = RIGHT + OTHER
        key = await self.play((_KNOWN,), keys)
        if not key:
            await self._case.renew_guard(len(number) * 2)
            key = await self._case.listen(self._say(number, keys))
        key = key or await self.play(_CHOICES, keys)
        if not key:
            await self._case.renew_guard(WAIT_S)
            key = await self._case.listen(self._wait())
        return key == RIGHT

    async def _say(self, number: str, keys: str) -> str:
        return await self._session.say_digits(number.removeprefix("+"), keys) or ""

    async def _wait(self) -> str:
        return await self._session.wait_for_digit(WAIT_S * 1000) or ""
