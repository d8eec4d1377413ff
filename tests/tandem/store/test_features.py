"""What people set at their phones, on either database."""

from tandem.domain.features import Features
from tandem.store.features import load_features, save_features


def test_what_is_set_is_kept_and_goes_when_nothing_is_set_any_more(store):
    features = Features(extension="1001", do_not_disturb=True, always="", busy="1002", since=3.5, by="phone 1001")
    store.run_now(save_features, features)
    assert store.run_now(load_features) == {"1001": features}
    store.run_now(save_features, Features(extension="1001", since=4.0, by="x"))
    assert store.run_now(load_features) == {}
