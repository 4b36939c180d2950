"""Reports: one image of a batch, text, JSON without infinities, HTML without scripts."""

import json
import math

import pytest
import torch

from apheleia.core import Bound, Certificate, History, NotConverged, Report, Status


def report(batch=(3,), **changes):
    numbers = torch.arange(math.prod(batch), dtype=torch.float64).reshape(batch)
    values = {
        "algorithm": "FISTA",
        "why": "smooth + simple",
        "certificates": (Certificate("objective_gap", "proved", Bound(numbers, "upper", "duality gap"), "weak duality"),),
        "x": numbers[..., None].expand(*batch, 5),
        "duals": (numbers[..., None].expand(*batch, 2),),
        "codes": torch.full(batch, Status.CONVERGED.severity),
        "objective": numbers,
        "residual": numbers / 10,
        "gap": numbers / 100,
        "steps": torch.ones(batch, dtype=torch.int64),
        "tol": 1e-4,
        "seconds": 0.25,
        "history": History((0, 10), torch.stack([numbers, numbers]), torch.stack([numbers, numbers / 2])),
    }
    return Report(**(values | changes))


def test_statuses_carry_their_message():
    assert [s.severity for s in Status] == [0, 1, 2, 3, 4]
    assert Status.MAX_STEPS.message == Status.MAX_STEPS.value
    assert "raise `max_steps`" in Status.MAX_STEPS.message
    assert "step" in Status.DIVERGED.message


def test_status_is_that_of_the_worst_image():
    codes = torch.tensor([Status.CONVERGED.severity, Status.DIVERGED.severity, Status.MAX_STEPS.severity])
    assert report(codes=codes).status is Status.DIVERGED
    assert report(codes=codes)[0].status is Status.CONVERGED


@pytest.mark.parametrize("index", [1, -1])
def test_one_image(index):
    full, one = report(), report()[index]
    assert one.batch_shape == ()
    assert torch.equal(one.x, full.x[index])
    assert torch.equal(one.duals[0], full.duals[0][index])
    assert (one.objective, one.residual, one.steps) == (full.objective[index], full.residual[index], 1)
    assert one.gap == full.gap[index]
    assert one.certificates[0].value.value == full.objective[index]
    assert torch.equal(one.history.residual, full.history.residual[:, index])


def test_one_image_of_a_batch_of_two_axes():
    one = report((2, 3))[1, 2]
    assert one.objective == 5
    assert one.history.objective.tolist() == [5, 5]


def test_one_image_shares_what_is_not_per_image():
    shared = Certificate("convergence", "proved", Bound(1.0, "exact", "step"), "step < 2/L")
    assert report(certificates=(shared,))[1].certificates[0].value.value == 1
    assert report(gap=None)[1].gap is None


@pytest.mark.parametrize("index", [(0, 0), ()])
def test_wrong_number_of_indices(index):
    with pytest.raises(IndexError, match=r"Report: the batch has shape \(3,\); got the index"):
        report()[index]


def test_index_out_of_range():
    with pytest.raises(IndexError, match="out of bounds"):
        report()[3]


def test_a_loop_over_a_report_ends():
    assert len(list(report())) == 3


def test_length():
    assert len(report((4, 2))) == 4
    with pytest.raises(TypeError, match="the report of a single image and has no length"):
        len(report(()))


def test_certificate_by_claim():
    assert report().certificate("objective_gap") is not None
    assert report().certificate("rate") is None


def test_json_has_no_infinities():
    broken = torch.tensor([1.0, math.inf, math.nan])
    values = report(objective=broken, residual=broken, gap=broken).as_dict()
    decoded = json.loads(json.dumps(values, allow_nan=False))
    assert decoded["objective"] == decoded["gap"] == [1.0, None, None]
    assert decoded["status"] == "CONVERGED"
    assert decoded["certificates"][0]["value"]["value"] == [0, 1, 2]
    assert report(gap=None).as_dict()["gap"] is None
    assert report((), objective=torch.tensor(math.nan)).as_dict()["objective"] is None
    assert report(tol=math.inf).as_dict()["tol"] is None


def test_json_of_tensors_that_require_gradients():
    objective = torch.ones(3, requires_grad=True)
    assert report(objective=objective).as_dict()["objective"] == [1, 1, 1]
    assert "1" in str(report(objective=objective))


def test_text():
    text = str(report())
    assert "batch        3 CONVERGED" in text
    assert "algorithm    FISTA (smooth + simple)" in text
    assert "0 to 0.2 relative (tolerance 0.0001)" in text
    assert "certificate  objective_gap: proved 0 to 2 (upper: duality gap) (weak duality)" in text
    assert "duality gap" not in str(report(gap=None, certificates=()))
    assert "(tolerance" not in str(report(tol=None))
    assert "batch" not in str(report(()))
    assert repr(report(())) == "<Report FISTA: CONVERGED after 1 steps, 0.25 s>"


def test_html_is_escaped():
    page = report(algorithm="<script>alert(1)</script>")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.startswith("<table>")


def test_not_converged_keeps_the_good_images():
    error = NotConverged("1 of 3 images", torch.ones(3), report())
    assert error.x.sum() == 3
    assert error.report[0].status is Status.CONVERGED
    assert str(error) == "1 of 3 images"
