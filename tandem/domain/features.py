"""What people set at their phones: do not disturb and forwards, over what is configured for the endpoint; pure, never keeps or sends anything.

A forward that nobody set is as configured; one that somebody turned off is off, whatever is configured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from tandem.domain.entities import Endpoint
from tandem.domain.outbound import Caller, route_outbound
from tandem.domain.snapshot import Snapshot
from tandem.domain.tolls import judge_number

ForwardKind = Literal["always", "busy", "no_answer", "unavailable"]
FORWARD_KINDS: Final[tuple[ForwardKind, ...]] = get_args(ForwardKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Of one endpoint. None: as configured; of a forward '' is off, else the number. since: seconds since 1970; by: who set something last."""

    extension: str
    do_not_disturb: bool | None = None
    always: str | None = None
    busy: str | None = None
    no_answer: str | None = None
    unavailable: str | None = None
    since: float = 0.0
    by: str = ""

    @property
    def is_as_configured(self) -> bool:
        """Whether nothing is set."""
        return self.do_not_disturb is None and all(getattr(self, kind) is None for kind in FORWARD_KINDS)


# By extension; who set nothing is not in it.
FeatureSet = Mapping[str, Features]


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What holds for an endpoint's calls: every forward a number or ''."""

    do_not_disturb: bool
    always: str
    busy: str
    no_answer: str
    unavailable: str

    @property
    def is_plain(self) -> bool:
        """Whether the phone simply rings."""
        return self == _PLAIN

    def encode(self) -> str:
        """As AstDB has it: `1,always,busy,no answer,unavailable`."""
        return ",".join((str(int(self.do_not_disturb)), self.always, self.busy, self.no_answer, self.unavailable))


_PLAIN: Final = InForce(do_not_disturb=False, always="", busy="", no_answer="", unavailable="")


class FeatureRefused(ValueError):
    """What somebody wants to set cannot be; `field` is do_not_disturb or forward_…."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field} {rule}")
        self.field, self.rule = field, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureWish:
    """What is to be set: field of `Features` -> value. toggle: do not disturb is turned over."""

    values: Mapping[str, str | bool | None]
    toggle: bool = False


def features_in_force(endpoint: Endpoint, features: Features | None) -> InForce:
    """What holds for the endpoint: what was set at its phone, else what is configured."""
    configured = (
        endpoint.forward_always,
        endpoint.forward_busy,
        endpoint.forward_no_answer,
        endpoint.forward_unavailable,
    )
    if features is None:
        if not endpoint.do_not_disturb and not any(configured):
            return _PLAIN
        features = Features(extension=endpoint.extension)
    told = {
        kind: (fallback or "") if (own := getattr(features, kind)) is None else own
        for kind, fallback in zip(FORWARD_KINDS, configured, strict=True)
    }
    disturbed = endpoint.do_not_disturb if features.do_not_disturb is None else features.do_not_disturb
    return InForce(do_not_disturb=disturbed, **told)


def decide_features(
    snapshot: Snapshot, known: Features | None, extension: str, wish: FeatureWish, at: float, by: str
) -> Features:
    """What is set from now on; the same again is `known`. KeyError for an unknown endpoint, FeatureRefused for what it may not have."""
    endpoint = snapshot.endpoints[extension]
    before = known or Features(extension=extension)
    values = dict(wish.values)
    if wish.toggle:
        values["do_not_disturb"] = not features_in_force(endpoint, known).do_not_disturb
    for kind in FORWARD_KINDS:
        number = values.get(kind)
        if isinstance(number, str) and number:
            check_forward(snapshot, endpoint, f"forward_{kind}", number)
    after = replace(before, **values)  # type: ignore[arg-type]  # a wish has only fields of it
    return before if after == before else replace(after, since=at, by=by)


def check_forward(snapshot: Snapshot, endpoint: Endpoint, field: str, number: str) -> None:
    """FeatureRefused unless the endpoint might dial the number itself: whoever calls it would be connected at its cost."""
    if number == endpoint.extension:
        raise FeatureRefused(field, "must be another number than the endpoint's own")
    if number in snapshot.general.emergency_numbers or snapshot.outbound.is_emergency(number):
        raise FeatureRefused(field, "must not be an emergency number")
    if number in snapshot.numbers:
        if "internal" not in endpoint.permissions:
            raise FeatureRefused(field, "needs the permission internal")
        return
    if not number.lstrip("+").isdigit():
        raise FeatureRefused(field, "must be a number inside, or a number outside: digits, with or without a leading +")
    if len(number) < 3:
        raise FeatureRefused(field, "is no number inside, and too short for one outside")
    # A route that is closed now is a way all the same: the call finds out.
    caller = Caller(endpoint, is_phone=True, is_forward=True)
    found = route_outbound(snapshot, caller, number, None, at_any_time=True)
    guarded = [judge_number(snapshot, endpoint.extension, trunk, number, found.number) for trunk, _ in found.tries]
    if found.refusal or all(guarded):
        reason = "; ".join(found.reasons) if found.refusal else f"the toll guard refuses it: {guarded[0]}"
        raise FeatureRefused(field, f"must be a number that the phone may dial: {reason}")


def read_feature_code(kind: str, digits: str) -> FeatureWish:
    """What a phone wants that dialled a code: `dnd`, or `forward-no_answer` and the number after it (without one: off). KeyError for another kind."""
    if kind == "dnd":
        return FeatureWish(values={}, toggle=True)
    forward = kind.removeprefix("forward-")
    if forward not in FORWARD_KINDS:
        raise KeyError(kind)
    return FeatureWish(values={forward: digits})


def is_on(endpoint: Endpoint, features: Features, kind: str) -> bool:
    """Whether what a code is about is on now, for what the phone hears."""
    now = features_in_force(endpoint, features)
    return now.do_not_disturb if kind == "dnd" else bool(getattr(now, kind.removeprefix("forward-")))
