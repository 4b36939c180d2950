"""Bounds keep their pedigree through arithmetic, and certificates hold them to it."""

import json
import math

import pytest
import torch

from apheleia.core import ArgumentError, Bound, Certificate

EXACT, UPPER, LOWER, ESTIMATE = (Bound(2.0, kind, kind) for kind in ("exact", "upper", "lower", "estimate"))
EVERY = [EXACT, UPPER, LOWER, ESTIMATE]


def test_value_is_float64_whatever_came():
    for value in (2, 2.0, torch.tensor(2.0), torch.tensor(2)):
        assert Bound(value, "exact", "").value.dtype == torch.float64


def test_kind_is_one_of_four():
    with pytest.raises(ArgumentError, match="Bound: `kind` must be one of exact, upper, lower, estimate; got 'sure'"):
        Bound(1.0, "sure", "")


def test_bounds_are_frozen():
    with pytest.raises(AttributeError, match="cannot assign"):
        EXACT.kind = "upper"


@pytest.mark.parametrize(
    ("bound", "is_upper", "is_lower"),
    [(EXACT, True, True), (UPPER, True, False), (LOWER, False, True), (ESTIMATE, False, False)],
)
def test_safe_sides(bound, is_upper, is_lower):
    assert (bound.is_upper, bound.is_lower) == (is_upper, is_lower)


@pytest.mark.parametrize("bound", EVERY, ids=lambda b: b.kind)
def test_scaling_squares_and_roots_keep_the_kind(bound):
    for derived, value in ((bound.scaled(3.0, "thrice"), 6), (bound.squared(), 4), (bound.root(), math.sqrt(2))):
        assert derived.kind == bound.kind
        assert derived.value == pytest.approx(value)
        assert bound.how in derived.how


@pytest.mark.parametrize("combine", [Bound.sum, Bound.product])
@pytest.mark.parametrize("side", ["upper", "lower"])
def test_sums_and_products_are_at_best_one_sided(combine, side):
    safe = {"upper": (EXACT, UPPER), "lower": (EXACT, LOWER)}[side]
    for first in EVERY:
        for second in EVERY:
            kind = combine([first, second], side=side).kind
            assert kind == (side if first in safe and second in safe else "estimate")


def test_values_of_sums_products_and_maxima():
    a, b = Bound(torch.tensor([1.0, 5.0]), "exact", "a"), Bound(3.0, "upper", "b")
    assert Bound.sum([a, b]).value.tolist() == [4, 8]
    assert Bound.product([a, b]).value.tolist() == [3, 15]
    assert Bound.maximum([a, b]).value.tolist() == [3, 5]
    assert Bound.sum([a, b], "energy").how == "energy of [a] and [b]"


def test_one_bound_alone_stays_itself():
    assert Bound.sum([LOWER]) is LOWER
    assert Bound.product([ESTIMATE]) is ESTIMATE


def test_sums_and_products_of_nothing():
    assert Bound.sum([]).value == 0
    assert Bound.product([]).value == 1


def test_maximum_is_exact_only_among_exact_ones():
    assert Bound.maximum([EXACT, EXACT]).kind == "exact"
    assert Bound.maximum([EXACT, UPPER]).kind == "upper"
    assert Bound.maximum([EXACT, ESTIMATE]).kind == "estimate"
    assert Bound.maximum([EXACT, LOWER]).kind == "estimate"


def test_is_positive_asks_every_sample():
    assert Bound(torch.tensor([1.0, 2.0]), "lower", "").is_positive
    assert not Bound(torch.tensor([1.0, 0.0]), "lower", "").is_positive
    assert not Bound(math.nan, "lower", "").is_positive


def test_one_sample_of_a_batch():
    batch = Bound(torch.tensor([[1.0, 2.0, 3.0]]), "upper", "told")
    assert float(batch.at((1, 2), (4, 3)).value) == 3
    assert EXACT.at(1, (3,)).value == 2
    assert batch.at((0, 0), (4, 3)).kind == "upper"


def test_text():
    assert str(Bound(2.0, "exact", "told")) == "2 (exact: told)"
    assert str(Bound(torch.tensor([1.0, 2.5]), "upper", "told")) == "1 to 2.5 (upper: told)"


def test_json_has_no_infinities():
    values = Bound(torch.tensor([[1.0, math.inf], [math.nan, -math.inf]]), "upper", "told").as_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == {
        "value": [[1.0, None], [None, None]],
        "kind": "upper",
        "how": "told",
    }


def test_gradients_reach_the_parameters():
    factor = torch.tensor(3.0, requires_grad=True)
    EXACT.scaled(factor).squared().value.backward()
    assert factor.grad == 24


# certificates


def certificate(**changes):
    values = {"claim": "distance", "status": "proved", "value": UPPER, "why": "strongly convex", "source": "me"} | changes
    return Certificate(**values)


def test_a_proof_never_rests_on_an_estimate():
    with pytest.raises(
        ArgumentError, match=r"a proved distance cannot rest on an estimate \(estimate\); give an exact or safe bound"
    ):
        certificate(value=ESTIMATE)
    assert certificate(value=ESTIMATE, status="estimated").status == "estimated"


@pytest.mark.parametrize("value", [EXACT, UPPER, LOWER, None])
def test_a_proof_may_rest_on(value):
    assert certificate(value=value).value is value


def test_claims_and_statuses_are_known():
    with pytest.raises(ArgumentError, match=r"Certificate: `claim` must be one of convergence, rate, uniqueness, .* got 'truth'"):
        certificate(claim="truth")
    with pytest.raises(ArgumentError, match="Certificate: `status` must be one of proved, estimated, none; got 'sure'"):
        certificate(status="sure")


def test_certificate_of_one_sample():
    batch = certificate(value=Bound(torch.tensor([1.0, 2.0]), "upper", "told"))
    assert float(batch.at(1, (2,)).value.value) == 2
    assert certificate(value=None).at(1, (2,)).value is None


def test_certificate_text_and_json():
    assert str(certificate()) == "distance: proved 2 (upper: upper) (strongly convex) [me]"
    assert json.loads(json.dumps(certificate().as_dict(), allow_nan=False))["value"]["value"] == 2
    assert certificate(value=None).as_dict()["value"] is None
