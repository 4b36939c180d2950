"""What must hold for every functional in the register."""

import pytest
import torch
from case_types import FunctionalCase, as_dtype, randn
from cases import FUNCTIONALS
from torch.testing import assert_close

from apheleia.core import CapabilityError
from apheleia.core.space import per_sample
from apheleia.functionals import L0, Magnitude, Scaled, check_gradient, check_prox
from apheleia.functionals.priors.indicators import Indicator
from apheleia.operators.transforms import transform


def functionals_where(holds):
    """Parametrise over the functionals of the register for which `holds(case)`."""
    cases = [
        pytest.param(case, marks=pytest.mark.slow if case.is_slow else (), id=case.name) for case in FUNCTIONALS if holds(case)
    ]
    return pytest.mark.parametrize("case", cases)


every_functional = functionals_where(lambda case: True)
smooth = functionals_where(lambda case: case().is_smooth)
not_smooth = functionals_where(lambda case: not case().is_smooth)
quadratic = functionals_where(lambda case: case().is_quadratic)
convex = functionals_where(lambda case: case().is_convex)
proximable = functionals_where(lambda case: case().is_proximable)
exactly_proximable = functionals_where(lambda case: case().has_exact_prox)
with_conjugate = functionals_where(lambda case: case().has_conjugate)
STEPS = (1e-3, 0.3, 7.0)
"""Steps of proximal maps. Loops and no parameters of the tests, because an item costs more than what most of them compute."""


def wide(step, case):
    """Return a step a sample, ready to multiply signals."""
    return per_sample(step, case.x(dtype=torch.float64).real, len(case.shape))


def energy(F, u, x, step):
    """Return what the proximal map minimises."""
    return step * F(u) + 0.5 * F.space.inner(u - x, u - x)


# energies


@every_functional
def test_one_energy_a_sample(case: FunctionalCase):
    energies = case()(case.x((4, *case.batch)))
    assert energies.shape == (4, *case.batch)
    assert energies.dtype == torch.float64


@every_functional
def test_energies_of_a_batch_equal_a_loop(case: FunctionalCase):
    x = case.inside(case.batch or (3,))
    alone = [case(index=i) if case.batch else case() for i in range(3)]
    assert_close(case()(x), torch.stack([alone[i](x[i]) for i in range(3)]), rtol=1e-12, atol=1e-12)


@every_functional
def test_samples_do_not_mix(case: FunctionalCase):
    x = case.inside(case.batch or (3,))
    other = x.clone()
    other[1] = case.inside(seed=7)[1] if case.batch else case.inside((), seed=7)
    F = case()
    assert torch.equal(F(x)[[0, 2]], F(other)[[0, 2]])
    if F.is_proximable:
        assert torch.equal(F.prox(x, 0.3)[[0, 2]], F.prox(other, 0.3)[[0, 2]])


@every_functional
def test_inputs_stay_untouched(case: FunctionalCase):
    F, x = case(), case.inside()
    kept = x.clone()
    F(x)
    if F.is_smooth:
        F.grad(x)
    if F.is_proximable:
        F.prox(x, 0.3)
        F.conj_prox(x, 0.3)
    assert torch.equal(x, kept)


@every_functional
def test_single_precision_stays(case: FunctionalCase):
    F, x = case(), case.inside(dtype=torch.float32)
    step = torch.full(case.batch, 0.3, dtype=torch.float64)
    assert F(x).dtype == torch.float32
    assert_close(F(x), F(x.to(as_dtype(torch.float64, x.is_complex()))).float(), rtol=1e-4, atol=1e-4)
    if F.is_smooth:
        assert F.grad(x).dtype == x.dtype
    if F.is_proximable:
        p, gap = F.prox_and_gap(x, step, 1e-4)
        assert (p.dtype, gap.dtype) == (x.dtype, torch.float32)
        assert F.conj_prox(x, step).dtype == x.dtype
    if F.has_conjugate:
        assert F.conjugate(x).dtype == torch.float32


@every_functional
def test_numpy_in_numpy_out(case: FunctionalCase):
    F, x = case(), case.inside()
    assert_close(torch.from_numpy(F(x.numpy()).copy()), F(x))
    if F.is_smooth:
        assert_close(torch.from_numpy(F.grad(x.numpy())), F.grad(x))
    if F.is_proximable:
        step = 0.3 * torch.ones(case.batch, dtype=torch.float64)
        assert_close(torch.from_numpy(F.prox(x.numpy(), step.numpy())), F.prox(x, step))


@every_functional
def test_prepared_is_the_same_functional(case: FunctionalCase):
    F, x = case(), case.inside()
    ready = F.prepared(case.shape, torch.float64)
    for predicate in ("is_convex", "is_smooth", "is_quadratic", "is_proximable", "has_exact_prox", "has_conjugate"):
        assert getattr(ready, predicate) == getattr(F, predicate), predicate
    assert (ready.is_strongly_convex, ready.batch_shape) == (F.is_strongly_convex, F.batch_shape)
    assert (ready.split is None) == (F.split is None)
    assert_close(ready(x), F(x))
    if F.is_smooth:
        assert_close(ready.grad(x), F.grad(x))
        assert ready.smoothness(case.shape).kind == F.smoothness(case.shape).kind
        assert_close(ready.smoothness(case.shape).value, F.smoothness(case.shape).value)
    if F.is_convex:
        assert_close(ready.strong_convexity(case.shape).value, F.strong_convexity(case.shape).value)
    if F.is_proximable:
        assert_close(ready.prox(x, 0.3), F.prox(x, 0.3), rtol=1e-6, atol=1e-6)


@every_functional
def test_it_saves_and_loads_like_any_module(case: FunctionalCase):
    F, G, x = case(), case(), case.inside()
    G.load_state_dict(F.state_dict())
    assert torch.equal(F(x), G(x))


@functionals_where(lambda case: case().space.is_complex)
def test_real_signals_in_a_complex_space(case: FunctionalCase):
    F, real = case(), randn(*case.shape)
    assert_close(F(real), F(real.to(torch.complex128)))
    if F.is_smooth:
        assert_close(F.grad(real), F.grad(real.to(torch.complex128)))


@functionals_where(lambda case: case().split is not None)
def test_split_has_the_same_value(case: FunctionalCase):
    F, x = case(), case.inside()
    split = F.split
    assert split is not None
    assert split[0].is_proximable
    assert_close(split[0](split[1](x)), F(x))


@every_functional
def test_parts_sum_up(case: FunctionalCase):
    F, x = case(), case.inside()
    assert_close(sum(part(x) for part in F.parts), F(x))


@functionals_where(lambda case: case().start(case.shape) is not None)
def test_start_is_a_point_of_the_space(case: FunctionalCase):
    F = case()
    x = F.start(case.shape)
    assert x is not None
    assert x.shape == (*case.batch, *case.shape)
    assert x.isfinite().all()


# predicates


@every_functional
def test_predicates_imply_one_another(case: FunctionalCase):
    F = case()
    assert F.is_smooth or not F.is_quadratic
    assert F.is_proximable or not F.has_exact_prox
    assert F.is_convex or not F.is_strongly_convex


@functionals_where(lambda case: case().is_strongly_convex)
def test_strongly_convex_has_a_modulus_above_zero(case: FunctionalCase):
    modulus = case().strong_convexity(case.shape)
    assert modulus.is_lower
    assert modulus.is_positive


@not_smooth
def test_not_smooth_says_so(case: FunctionalCase):
    if case().is_differentiable:
        # a gradient that is not Lipschitz is one all the same
        check_gradient(case(), case.shape, batch=case.batch or (2,), scale=case.scale)
    else:
        with pytest.raises(CapabilityError, match=r"is not smooth and has no gradient\. Use its proximal map, or a smoothed"):
            case().grad(case.x())
    with pytest.raises(CapabilityError, match="is not smooth and has no smoothness constant"):
        case().smoothness(case.shape)


@functionals_where(lambda case: not case().is_quadratic)
def test_not_quadratic_says_so(case: FunctionalCase):
    with pytest.raises(CapabilityError, match="is not quadratic and has no constant Hessian"):
        case().hessian(case.shape)


@functionals_where(lambda case: not case().is_proximable)
def test_not_proximable_says_so(case: FunctionalCase):
    F = case()
    other = r"Its split \(h, K\) has one" if F.split is not None else "Use its gradient" if F.is_smooth else ""
    for call in (lambda: F.prox(case.x(), 0.3), lambda: F.conj_prox(case.x(), 0.3), lambda: F.prox_and_gap(case.x(), 0.3)):
        with pytest.raises(CapabilityError, match=rf"is not proximable\. ?{other}"):
            call()


@functionals_where(lambda case: not case().has_conjugate)
def test_no_conjugate_says_so(case: FunctionalCase):
    with pytest.raises(CapabilityError, match="the value of its convex conjugate is not known"):
        case().conjugate(case.x())


# gradients


@smooth
def test_gradient_against_differences(case: FunctionalCase):
    for scale in (1e-2, 1.0, 10.0):
        check_gradient(case(), case.shape, batch=case.batch or (2,), scale=scale, tol=1e-4)


@smooth
def test_gradient_against_automatic_differentiation(case: FunctionalCase):
    F, x = case(), case.x().requires_grad_()
    (expected,) = torch.autograd.grad(F(x).sum(), x)
    assert_close(F.grad(x), expected)


@smooth
def test_gradient_of_a_batch_equals_a_loop(case: FunctionalCase):
    x = case.x(case.batch or (3,))
    alone = [case(index=i) if case.batch else case() for i in range(3)]
    assert_close(case().grad(x), torch.stack([alone[i].grad(x[i]) for i in range(3)]), rtol=1e-11, atol=1e-12)


@smooth
def test_gradient_can_be_differentiated(case: FunctionalCase):
    assert torch.autograd.gradcheck(case().grad, (case.x().requires_grad_(),), fast_mode=True)


@quadratic
def test_hessian_is_the_derivative_of_the_gradient(case: FunctionalCase):
    F, x, v = case(), case.x(), case.x(seed=1)
    assert_close(F.hessian(case.shape)(v), F.grad(x + v) - F.grad(x))


@functionals_where(lambda case: bool(case().hessian_bases))
def test_hessian_eigenvalues(case: FunctionalCase):
    F, x = case(), case.x()
    for basis in F.hessian_bases:
        change = transform(basis, tuple(case.shape[-2:]))
        assert_close(change.synthesise(change.analyse(x) * F._hessian_eigenvalues(basis, case.shape)), F.hessian(case.shape)(x))


@smooth
def test_smoothness_covers_sampled_slopes(case: FunctionalCase):
    F, x = case(), case.x((40, *case.batch))
    # near zero as well, where the tips of smoothed norms are
    x[20:] *= 1e-2
    bound = F.smoothness(case.shape)
    assert bound.is_upper
    for distance in (1e-3, 1.0, 100.0):
        y = x + distance * case.x((40, *case.batch), seed=1)
        slope = F.space.norm(F.grad(x) - F.grad(y)) / F.space.norm(x - y)
        assert (bound.value * (1 + 1e-9) >= slope).all()


@functionals_where(lambda case: case().is_smooth and case().is_weakly_convex and not case().is_convex)
def test_weak_convexity_covers_sampled_slopes(case: FunctionalCase):
    F, x = case(), case.x((60, *case.batch))
    bound = F.weak_convexity(case.shape)
    assert bound.is_upper
    sunk = torch.zeros((), dtype=torch.float64)
    for distance in (1e-2, 0.3, 3.0):
        y = x + distance * case.x((60, *case.batch), seed=1)
        slope = F.space.inner(F.grad(x) - F.grad(y), x - y) / F.space.norm(x - y) ** 2
        assert (slope >= -bound.value * (1 + 1e-9)).all()
        sunk = torch.minimum(sunk, slope.amin())
    # it is not convex, and the search sees that
    assert sunk < 0


@smooth
def test_second_derivative_against_differences(case: FunctionalCase):
    F, x, v = case(), case.x((3, *case.batch)), case.x((3, *case.batch), seed=1)
    step = 1e-6
    expected = (F.grad(x + step * v) - F.grad(x - step * v)) / (2 * step)
    assert_close(F.hvp(x, v), expected, rtol=1e-4, atol=1e-4 * float(F.space.norm(expected).amax()))


@functionals_where(lambda case: case().is_smooth and case().is_convex)
def test_strong_convexity_is_below_sampled_slopes(case: FunctionalCase):
    F, x, y = case(), case.x((40, *case.batch)), case.x((40, *case.batch), seed=1)
    slope = F.space.inner(F.grad(x) - F.grad(y), x - y) / F.space.norm(x - y) ** 2
    modulus = F.strong_convexity(case.shape)
    assert modulus.is_lower
    assert (modulus.value <= slope * (1 + 1e-9)).all()


@convex
def test_midpoint_of_a_convex_functional(case: FunctionalCase):
    F, x, y = case(), case.inside((20, *case.batch)), case.inside((20, *case.batch), seed=1)
    modulus = F.strong_convexity(case.shape).value
    chord = 0.5 * (F(x) + F(y)) - modulus / 8 * F.space.norm(x - y) ** 2
    assert (F(0.5 * (x + y)) <= chord + 1e-9 * chord.abs() + 1e-9).all()


# proximal maps


@proximable
def test_prox_against_its_neighbours(case: FunctionalCase):
    tol = max(1e-8, case.prox_tol)
    # many points at once instead of many draws
    batch, samples = ((8, *case.batch), 45) if case().has_exact_prox else (case.batch or (2,), 24)
    for step in STEPS:
        check_prox(case(), case.shape, step=step, batch=batch, scale=case.scale, samples=samples, tol=tol)


def zoomed_search(F, x, step):
    """Return the proximal point of one tiny signal by a grid that closes in: slow, and independent of every formula."""
    flat = (torch.view_as_real(x) if x.is_complex() else x).reshape(-1)
    ticks = torch.linspace(-1, 1, 9 if len(flat) > 3 else 7, dtype=torch.float64)
    grid = torch.cartesian_prod(*len(flat) * [ticks]).reshape(-1, len(flat))
    centre, radius = torch.zeros_like(flat), 4.0 * (1 + float(flat.abs().max()))
    while radius > 1e-5:
        points = centre + radius * grid
        u = torch.view_as_complex(points.reshape(-1, *x.shape, 2)) if x.is_complex() else points.reshape(-1, *x.shape)
        centre = points[energy(F, u, x, step).argmin()]
        radius *= 0.75
    return torch.view_as_complex(centre.reshape(*x.shape, 2)) if x.is_complex() else centre.reshape(x.shape)


@functionals_where(lambda case: case().is_proximable and case.tiny is not None)
@pytest.mark.parametrize("step", [pytest.param(0.2, marks=pytest.mark.slow), 1.5])
def test_prox_against_a_search(case: FunctionalCase, step):
    F = case.make(case.tiny)
    x = case.scale * randn(*case.tiny, seed=2, dtype=as_dtype(torch.float64, F.space.is_complex))
    found = zoomed_search(F, x, step)
    assert_close(F.prox(x, step), found, rtol=0, atol=1e-4)
    # an indicator forgives a violation of 1e-6
    assert energy(F, F.prox(x, step), x, step) <= energy(F, found, x, step) + 1e-5


@functionals_where(lambda case: case().is_proximable and case().is_smooth)
def test_prox_solves_its_optimality_condition(case: FunctionalCase):
    F, x = case(), case.x()
    for step in STEPS:
        p = F.prox(x, step)
        assert_close(p + step * F.grad(p), x, rtol=1e-8, atol=1e-8)


@functionals_where(lambda case: case().is_proximable and case().is_convex)
def test_prox_leaves_a_subgradient(case: FunctionalCase):
    F, x = case(), case.x()
    for step in STEPS:
        p = F.prox(x, step)
        u = (x - p) / step
        z = case.inside((30, *case.batch), seed=5)
        slack = 1e-9 + 2e-3 * (not F.has_exact_prox) / step
        assert (F(z) >= F(p) + F.space.inner(u.expand_as(z), z - p) - slack * (1 + F(z).abs())).all()


@proximable
def test_prox_of_a_vanishing_step_stays(case: FunctionalCase):
    F, x = case(), case.inside()
    assert_close(F.prox(x, 1e-12), x, rtol=0, atol=1e-6)


@proximable
def test_prox_of_a_huge_step_minimises(case: FunctionalCase):
    F, x, step = case(), case.x(), 1e8
    p = F.prox(x, step)
    assert p.isfinite().all()
    for rival in (case.inside(seed=3), F.prox(x, 1.0), F.prox(torch.zeros_like(x), 1.0)):
        assert (F(p) <= F(rival) + F.space.norm(rival - x) ** 2 / (2 * step) + 1e-3 * (not F.has_exact_prox) + 1e-7).all()


@proximable
def test_prox_of_a_batch_equals_a_loop(case: FunctionalCase):
    x, steps = case.x(case.batch or (3,)), torch.tensor([0.1, 0.5, 3.0], dtype=torch.float64)
    alone = [case(index=i) if case.batch else case() for i in range(3)]
    tol = 1e-12 if case().has_exact_prox else 1e-8
    together = case().prox(x, steps)
    assert_close(together, torch.stack([alone[i].prox(x[i], float(steps[i])) for i in range(3)]), rtol=tol, atol=tol)
    dual = case().conj_prox(x, steps)
    assert_close(dual, torch.stack([alone[i].conj_prox(x[i], float(steps[i])) for i in range(3)]), rtol=tol, atol=10 * tol)


@proximable
def test_one_signal_for_a_batch_of_steps(case: FunctionalCase):
    F, x, steps = case(), case.x(()), torch.tensor([0.1, 0.5, 3.0], dtype=torch.float64)
    assert_close(F.prox(x, steps), F.prox(x.expand(3, *case.shape), steps))


@functionals_where(lambda case: case().is_proximable and case().is_convex)
def test_prox_is_firmly_non_expansive(case: FunctionalCase):
    F, x, y = case(), case.x((20, *case.batch)), case.x((20, *case.batch), seed=1)
    for step in STEPS:
        p, q = F.prox(x, step), F.prox(y, step)
        slack = 1e-10 if F.has_exact_prox else 1e-3
        # a strongly convex functional contracts by 1 / (1 + step m)
        shrunk = (1 + step * F.strong_convexity(case.shape).value) * F.space.norm(p - q) ** 2
        assert (shrunk <= F.space.inner(p - q, x - y) + slack).all()


@proximable
def test_moreau(case: FunctionalCase):
    F, x = case(), case.x()
    for step in STEPS:
        assert_close(F.prox(x, step) + step * F.conj_prox(x / step, 1 / step), x, rtol=1e-6, atol=1e-6)


@proximable
@pytest.mark.parametrize("factor", [0.7, torch.tensor([0.4, 0.0, 2.0], dtype=torch.float64)], ids=["one", "one a sample"])
def test_conj_prox_of_a_weighted_functional_follows_moreau(case: FunctionalCase, factor):
    F, u, s = factor * case(), case.x((3,)), 0.6
    expected = u - s * F.prox(u / s, 1 / s)
    assert_close(F.conj_prox(u, s), expected, rtol=1e-6, atol=1e-6)
    if isinstance(factor, torch.Tensor):
        assert F.conj_prox(u, s)[1].abs().max() <= 1e-15 * u.abs().max()


@proximable
def test_prox_and_gap_bounds_the_suboptimality(case: FunctionalCase):
    F, x, step = case(), case.x(), 0.4
    loose, gap = F.prox_and_gap(x, step, 1e-2)
    tight, _ = F.prox_and_gap(x, step, 1e-13)
    excess = energy(F, loose, x, step) - energy(F, tight, x, step)
    assert (excess <= gap + 1e-10).all()
    assert (gap == 0).all() == F.has_exact_prox


@exactly_proximable
def test_prox_can_be_differentiated(case: FunctionalCase):
    assert torch.autograd.gradcheck(lambda x: case().prox(x, 0.3), (case.x().requires_grad_(),), fast_mode=True)


@exactly_proximable
def test_gradients_of_the_prox_are_finite_at_zero(case: FunctionalCase):
    x = torch.zeros_like(case.x()).requires_grad_()
    F = case()
    for y in (F.prox(x, 0.3), F.conj_prox(x, 0.3)):
        (gradient,) = torch.autograd.grad(y.abs().sum(), x)
        assert gradient.isfinite().all()


# conjugates


@with_conjugate
def test_fenchel_young_is_an_equality_at_the_prox(case: FunctionalCase):
    F, x = case(), case.x()
    for step in STEPS:
        p = F.prox(x, step)
        u = (x - p) / step
        # rounding in u may leave the domain of the conjugate
        u = u * F._dual_scale(u)[(...,) + (None,) * len(case.shape)]
        assert_close(F(p) + F.conjugate(u), F.space.inner(p, u), rtol=1e-7, atol=1e-7)


@with_conjugate
def test_fenchel_young_inequality(case: FunctionalCase):
    F, x, u = case(), case.inside((30, *case.batch)), case.x((30, *case.batch), seed=9)
    u = u * F._dual_scale(u)[(...,) + (None,) * len(case.shape)]
    product = F.space.inner(x, u)
    assert (F(x) + F.conjugate(u) >= product - 1e-9 * (1 + product.abs())).all()


@with_conjugate
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_dual_scale_reaches_the_domain_of_the_conjugate(case: FunctionalCase, dtype):
    F = case()
    for size in (0.01, 1.0, 100.0):
        u = size * case.x((30, *case.batch), dtype=dtype)
        scale = F._dual_scale(u)
        assert scale.dtype == dtype
        assert ((scale >= 0) & (scale <= 1)).all()
        assert F.conjugate(u * scale[(...,) + (None,) * len(case.shape)]).isfinite().all()


@with_conjugate
def test_dual_scale_is_the_largest(case: FunctionalCase):
    F, u = case(), case.x((30, *case.batch))
    scale = F._dual_scale(u)
    further = F.conjugate(u * (1.001 * scale + 1e-6)[(...,) + (None,) * len(case.shape)])
    assert ((scale >= 1 - 1e-8) | further.isinf()).all()


@with_conjugate
def test_dual_scale_leaves_subgradients_alone(case: FunctionalCase):
    F, x = case(), case.x()
    u = (x - F.prox(x, 0.5)) / 0.5
    assert_close(F._dual_scale(u), torch.ones(case.batch, dtype=torch.float64), rtol=0, atol=1e-8)


@with_conjugate
def test_conjugate_of_a_batch_equals_a_loop(case: FunctionalCase):
    F, x = case(), case.x(case.batch or (3,))
    u = (x - F.prox(x, 0.5)) / 0.5
    alone = [case(index=i) if case.batch else case() for i in range(3)]
    assert_close(F.conjugate(u), torch.stack([alone[i].conjugate(u[i]) for i in range(3)]), rtol=1e-12, atol=1e-12)


# weights


@every_functional
def test_a_sweep_of_weights_is_a_batch(case: FunctionalCase):
    weights = torch.linspace(0, 2, 3 if case.batch else 10, dtype=torch.float64)
    F, G, x = case(), weights * case(), case.inside()
    energies = G(x)
    assert energies.shape == weights.shape
    assert_close(energies, weights * F(x))
    assert (energies[0], G.batch_shape) == (0, tuple(weights.shape))
    if F.is_smooth:
        assert_close(G.grad(x), wide(weights, case) * F.grad(x))
        assert_close(G.smoothness(case.shape).value, weights * F.smoothness(case.shape).value)
        assert G.smoothness(case.shape).kind == F.smoothness(case.shape).kind
    if F.is_convex:
        assert_close(G.strong_convexity(case.shape).value, weights * F.strong_convexity(case.shape).value)


@proximable
def test_prox_of_a_weight_of_zero_stays(case: FunctionalCase):
    x = case.x()
    assert_close((0.0 * case()).prox(x, 0.3), x, rtol=1e-15, atol=0)


@every_functional
def test_weight_gets_gradients(case: FunctionalCase):
    weight = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    F, x = weight * case(), case.inside(seed=4) + 0.01
    assert [p is weight for p in F.parameters() if p.shape == ()] == [True]
    if F(x).isfinite().all() and (F(x) != 0).any():
        (gradient,) = torch.autograd.grad(F(x).sum(), weight)
        assert_close(gradient, F.functional(x).sum())
    if F.is_smooth:
        (gradient,) = torch.autograd.grad(F.grad(x).abs().sum(), weight)
        assert gradient != 0


def threshold_moves(case: FunctionalCase) -> bool:
    """Whether the proximal map changes smoothly with the step: projections and hard thresholds do not."""
    F = case()
    inner = F.functional if isinstance(F, Scaled) else F.R if isinstance(F, Magnitude) else F
    return F.has_exact_prox and not isinstance(inner, Indicator | L0)


@functionals_where(threshold_moves)
def test_weight_gets_gradients_through_the_prox(case: FunctionalCase):
    x = case.x()

    def through(weight):
        return (weight * case()).prox(x, 0.3)

    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(through, (weight,), fast_mode=True)
    (gradient,) = torch.autograd.grad(through(weight).abs().sum(), weight)
    assert gradient != 0


# proximal maps whose step differs from entry to entry


def entrywise_steps(case, seed=5):
    """Draw positive steps, (*batch, *space), constant along the axes that the functional couples."""
    F = case()
    axes = F.space.axes if F.coupled_axes is None else F.coupled_axes
    sizes = [1 if axis in axes else size for axis, size in zip(F.space.axes, case.shape, strict=True)]
    return (0.8 * randn(*(case.batch or (3,)), *sizes, seed=seed)).exp()


@functionals_where(lambda case: case().has_exact_prox and case().is_convex)
def test_entrywise_prox_is_minimal(case: FunctionalCase):
    F, x, steps = case(), case.x(case.batch or (3,)), entrywise_steps(case)
    p = F._entrywise_prox(x, steps)

    def distance(u, v):
        return 0.5 * ((u - v).abs() ** 2 / steps).sum(F.space.axes)

    least = F(p) + distance(p, x)
    assert bool(least.isfinite().all())
    for trial in range(60):
        away = 10 ** (-4 * trial / 59)
        # anywhere, towards x, and where other steps lead
        noise = case.x(case.batch or (3,), seed=100 + trial)
        u = (p + away * noise, p + away * (x - p), F._entrywise_prox(x, steps * (1 + away * entrywise_steps(case, trial))))[
            trial % 3
        ]
        # strong convexity in the metric of the steps
        shortfall = least + distance(u, p) - F(u) - distance(u, x)
        assert bool((shortfall <= 1e-9 * least.abs().clamp(min=1)).all())


@functionals_where(lambda case: case().has_exact_prox)
def test_entrywise_prox_with_one_step_is_prox(case: FunctionalCase):
    F, x = case(), case.x(case.batch or (3,))
    step = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
    steps = step[(..., *(None,) * F.space.rank)]
    assert_close(F._entrywise_prox(x, steps), F.prox(x, step), rtol=1e-12, atol=1e-12)
    assert_close(F._entrywise_conj_prox(x, steps, 1.0), F.conj_prox(x, step), rtol=1e-12, atol=1e-12)


@functionals_where(lambda case: case().has_exact_prox)
def test_entrywise_prox_obeys_moreau(case: FunctionalCase):
    F, u, steps = case(), case.x(case.batch or (3,)), entrywise_steps(case)
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    weights = weight[(..., *(None,) * F.space.rank)]
    expected = u - steps * F._entrywise_prox(u / steps, weights / steps)
    assert_close(F._entrywise_conj_prox(u, steps, weight), expected, rtol=1e-9, atol=1e-9)
