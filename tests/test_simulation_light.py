import math

import pytest
import torch
from torch.nn import functional

from depthscope.errors import BadInputError
from depthscope.simulation.light import (
    LIGHTINGS,
    MOST_LAMPS,
    AutoGain,
    Lamp,
    Lighting,
    arriving,
    displayed,
    glint,
    irradiance,
    lighting,
    linearised,
    matte,
)


def facing_plane(z: float) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.meshgrid(*(torch.linspace(-0.8, 0.8, 9, dtype=torch.float64),) * 2, indexing="xy")
    points = z * torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
    return points, points.new_tensor([0.0, 0.0, -1.0]).expand_as(points)


def test_inverse_square_and_cosine_to_the_fourth_on_a_facing_plane():
    for z in (5.0, 10.0, 20.0):
        points, normals = facing_plane(z)
        cosine = functional.normalize(points, dim=-1)[:, 2]
        constant = irradiance(Lamp(), points, normals) * z**2 / cosine**3  # cos of incidence, cos^2 of distance
        assert torch.allclose(constant, torch.ones_like(constant), rtol=1e-12)


def test_doubling_the_distance_quarters_linear_light():
    near, far = (irradiance(Lamp(), *facing_plane(z)) for z in (7.0, 14.0))
    assert torch.allclose(near, 4 * far)


def test_half_power_at_41_degrees_for_the_calibrated_colonoscope():
    lamp = Lamp(spread=2.767302)
    angle = torch.tensor([0.0, math.radians(41.45)], dtype=torch.float64)
    points = 10 * torch.stack([torch.sin(angle), torch.zeros(2), torch.cos(angle)], -1)
    _, light = arriving(lamp, points)
    assert float(light[1] / light[0]) == pytest.approx(0.5, rel=1e-3)


def test_lamps_add_and_strength_scales_exactly():
    points, normals = facing_plane(9.0)
    lamps = lighting("colonoscope_leds").lamps
    both = sum(irradiance(lamp, points, normals) for lamp in lamps)
    thrice = sum(irradiance(Lamp(p.position_mm, p.axis, p.spread, 3 * p.strength), points, normals) for p in lamps)
    assert torch.allclose(3 * both, thrice, rtol=1e-12)


def test_gamma_is_undone():
    linear = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.allclose(linearised(displayed(linear, 2.2), 2.2), linear, atol=1e-12)


def test_matte_light_is_albedo_over_pi():
    assert torch.allclose(matte(torch.full((2, 3), 0.5), torch.tensor([1.0, 2.0]))[1], torch.full((3,), 1 / math.pi))


def test_light_that_creeps_around_the_edge_is_not_more_light():
    cosine = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    sine = (1 - cosine**2).sqrt()
    normals = torch.stack([sine, torch.zeros_like(sine), -cosine], -1)
    points = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand_as(normals)
    plain, wrapped = (irradiance(Lamp(), points, normals, wrap).mean() for wrap in (0.0, 0.3))
    assert float(wrapped / plain) == pytest.approx(1, abs=1e-3)


def test_glints_sit_where_the_film_mirrors_the_lamp_and_sharpen_with_smoothness():
    points, normals = facing_plane(10.0)
    for roughness in (0.05, 0.2):
        shine = glint(Lamp(), points, normals, roughness)
        assert int(shine.argmax()) == len(points) // 2
    smooth, rough = (glint(Lamp(), points, normals, r) for r in (0.05, 0.2))
    assert smooth.max() > 3 * rough.max() and smooth[0] < rough[0]


def test_light_is_differentiable():
    points, normals = facing_plane(10.0)
    points.requires_grad_()
    irradiance(Lamp((1.0, 0.0, 0.0), spread=2.0), points, normals).sum().backward()
    assert points.grad is not None and bool(points.grad.isfinite().all())


def test_gain_holds_the_level_follows_late_and_is_clamped():
    automatic = AutoGain(quantile=0.5, level=0.45, lag_frames=4.0)
    gain = automatic.wanted(torch.full((100,), 1e-3), 2.2)
    assert displayed(torch.tensor(gain * 1e-3), 2.2) == pytest.approx(0.45, rel=1e-5)
    assert automatic.lagged([gain] * 10) == pytest.approx(gain)
    assert gain < automatic.lagged([2 * gain] + [gain] * 9) < 1.5 * gain
    assert automatic.wanted(torch.zeros(5), 2.2) == automatic.highest


@pytest.mark.parametrize("name", LIGHTINGS)
def test_every_preset_lights_the_middle(name):
    points, normals = facing_plane(12.0)
    assert all(bool((irradiance(lamp, points, normals) > 0).any()) for lamp in lighting(name).lamps)


def test_what_the_model_does_not_know_is_refused():
    with pytest.raises(BadInputError, match="9 light sources; expected 1 to 8"):
        Lighting((Lamp(),) * (MOST_LAMPS + 1))
    with pytest.raises(BadInputError, match="no light called 'sun'"):
        lighting("sun")
    with pytest.raises(BadInputError, match="direction"):
        Lamp(axis=(0.0, 0.0, 0.0))
    with pytest.raises(BadInputError, match="spread"):
        Lamp(spread=-1.0)
    with pytest.raises(BadInputError, match="gamma"):
        Lighting(gamma=0.1)


def test_a_bright_wall_close_by_takes_the_gain_down():
    linear = torch.full((1000,), 0.01)
    linear[:50] = 1.0
    free, held = (AutoGain(lowest=0.01, ceiling=ceiling).wanted(linear, 2.2) for ceiling in (math.inf, 0.9))
    assert free == pytest.approx(0.45**2.2 / 0.01, rel=1e-4)
    assert held == pytest.approx(0.9, rel=1e-4)


def test_a_few_glints_do_not_take_the_gain_down():
    linear = torch.full((1000,), 0.01)
    linear[:20] = 1.0
    free, held = (AutoGain(ceiling=ceiling).wanted(linear, 2.2) for ceiling in (math.inf, 0.9))
    assert held == pytest.approx(free)


def test_a_ceiling_of_nothing_is_refused():
    with pytest.raises(BadInputError, match="ceiling"):
        AutoGain(ceiling=0.0)
