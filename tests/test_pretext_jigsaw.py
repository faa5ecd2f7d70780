from dataclasses import replace

import pytest
import torch

from depthscope.corpus import corpus_of
from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.geometry.depth import pixel_grid
from depthscope.pretext.jigsaw import Jigsaw, PuzzleDraws, Puzzles, Tiles, cut, ordered, permutations
from depthscope.pretext.jigsaw.permutations import least_distance
from depthscope.pretext.jigsaw.puzzles import normalised, tile_points
from depthscope.pretext.stored import from_yaml, to_yaml
from depthscope.training import LAST, load_checkpoint
from mosaics import ENCODER, flat_corpus, mosaic_corpus, short, stop_after

TILES = Tiles(tile_px=8, gap_px=4, smallest=0.8)
TINY = Jigsaw(permutations=9, tiles=TILES, encoder=ENCODER, training=short())

PLAIN = Tiles(tile_px=16, gap_px=4, normalise=False, channel_shift_px=0, gray=0.0, rotation_deg=0.0, smallest=1.0)


def drawn(tiles: Tiles, count: int = 16, side_px: int = 64, orders: int = 27):
    return PuzzleDraws(mosaic_corpus(side_px=side_px), torch.arange(20), tiles, orders).batch(range(count))


@pytest.mark.parametrize(("count", "distance"), [(9, 8), (27, 8), (72, 8), (81, 7), (504, 7)])
def test_orders_in_closed_form_differ_in_many_places_and_are_balanced(count, distance):
    orders = permutations(count)
    assert orders.shape == (count, 9)
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(count, 9))
    assert least_distance(orders) >= distance
    at_place = torch.stack([(orders == tile).sum(0) for tile in range(9)])
    assert torch.equal(at_place, torch.full((9, 9), count // 9))


def test_the_published_rule_leaves_orders_that_are_nearly_the_same():
    published = permutations(24, "published")
    assert len(published.unique(dim=0)) == 24
    assert least_distance(published) <= 3 < least_distance(permutations(27))


@pytest.mark.slow
def test_beyond_504_orders_are_added_greedily():
    orders = permutations(600)
    assert len(orders.unique(dim=0)) == 600 and least_distance(orders) >= 5


def test_orders_that_cannot_be_balanced_are_refused():
    with pytest.raises(BadInputError, match="multiple of 9"):
        permutations(30)
    with pytest.raises(BadInputError, match="2 to 10000"):
        permutations(1)


def test_unpermuting_returns_the_tiles():
    orders, tiles = permutations(27), torch.rand(5, 9, 3, 4, 4)
    number = torch.tensor([0, 5, 11, 20, 26])
    shown = ordered(tiles, number, orders)
    assert torch.equal(shown[1, 3], tiles[1, orders[5, 3]])
    assert torch.equal(ordered(shown, torch.arange(5), orders[number].argsort(1)), tiles)


def test_tiles_stay_in_their_cells_and_move_in_all_of_them():
    tiles = replace(PLAIN, channel_shift_px=1)
    batch = drawn(tiles, count=200)
    begins = (batch.offsets_px[:, :, None] + batch.shifts_px).flatten(0, 2)
    assert begins.min() == 0 and begins.max() == tiles.gap_px
    assert batch.shifts_px.unique().tolist() == [-1, 0, 1]
    cells = torch.tensor([[c, r] for r in range(3) for c in range(3)]) * tiles.cell_px
    batch = batch._replace(centre_px=torch.full((200, 2), 30.0), side_px=torch.full((200,), 60.0))
    points = tile_points(batch, tiles)  # a crop of 60 px around (30, 30): its pixels are those of the frame
    low, high = points.amin((0, 2, 3, 4)), points.amax((0, 2, 3, 4))
    assert bool((low >= cells).all() and (high <= cells + tiles.cell_px).all())


def test_tiles_are_cut_from_where_they_lie():
    batch = drawn(PLAIN, count=4)._replace(
        centre_px=torch.full((4, 2), 32.0), side_px=torch.full((4,), 60.0), offsets_px=torch.full((4, 9, 2), 2.0)
    )
    tiles = cut(batch, PLAIN)
    images = batch.images.permute(0, 3, 1, 2).float() / 255
    assert torch.allclose(tiles[:, 5], images[:, :, 24:40, 44:60], atol=1e-4)  # second row, third column


def test_normalised_tiles_have_mean_zero_and_spread_one_each():
    tiles = torch.rand(4, 9, 3, 8, 8) * (0.1 + torch.rand(4, 9, 1, 1, 1)) + torch.rand(4, 9, 3, 1, 1)
    found = normalised(tiles)
    assert torch.allclose(found.mean((-1, -2)), torch.zeros(4, 9, 3), atol=1e-4)
    assert torch.allclose(found.square().mean((-1, -2, -3)), torch.ones(4, 9), atol=1e-4)
    assert bool(normalised(torch.ones(1, 9, 3, 8, 8)).isfinite().all())


def test_equal_shifts_of_all_channels_are_a_translation():
    batch = drawn(PLAIN, count=8)
    shifted = batch._replace(shifts_px=torch.ones(8, 9, 3, 2))
    moved = batch._replace(offsets_px=batch.offsets_px + 1)
    assert torch.allclose(cut(shifted, PLAIN), cut(moved, PLAIN), atol=1e-5)


def test_grey_puzzles_are_grey_although_their_channels_were_shifted():
    tiles = cut(drawn(replace(TILES, gray=1.0, normalise=False)), replace(TILES, gray=1.0, normalise=False))
    assert torch.equal(tiles[:, :, 0], tiles[:, :, 1]) and torch.equal(tiles[:, :, 0], tiles[:, :, 2])


def test_crops_lie_inside_the_content_however_they_are_turned():
    content = (pixel_grid(64, 64, torch.zeros(1)) - 32).square().sum(-1).sqrt() <= 30
    frames = torch.where(content[..., None], mosaic_corpus(holdout=0.0).frames, 0)
    corpus = corpus_of(frames, content=content[None], holdout=0.0)
    tiles = replace(TILES, rotation_deg=30.0)
    batch = PuzzleDraws(corpus, corpus.trained, tiles, 27).batch(range(300))
    away = (tile_points(batch, tiles) - 32).square().sum(-1).sqrt()
    assert float(away.max()) <= 31


def test_the_same_draw_is_the_same_puzzle():
    draws = PuzzleDraws(mosaic_corpus(), torch.arange(20), TILES, 27, seed=3)
    one, other = draws.batch([4, 9]), draws.batch([9])
    assert all(torch.equal(a[1], b[0]) for a, b in zip(one, other, strict=True))


def test_every_video_is_drawn_as_often_however_long_it_is():
    corpus = mosaic_corpus(40, holdout=0.0)
    video = (torch.arange(40) >= 4).long()
    corpus = corpus_of(corpus.frames, video=video, holdout=0.0)
    draws = PuzzleDraws(corpus, corpus.trained, TILES, 27)
    shown = draws.batch(range(400)).images
    short_ones = (shown[:, None] == corpus.frames[:4]).flatten(2).all(2).any(1)
    assert abs(float(short_ones.float().mean()) - 0.5) < 0.08


def test_what_cannot_be_learned_from_is_told(tmp_path):
    with pytest.raises(BadInputError, match="one colour"):
        TINY.learn(flat_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match=r"for nine tiles.*frames.area_px"):
        replace(TINY, tiles=replace(TILES, tile_px=64)).learn(mosaic_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="multiple of 8"):
        replace(TINY, tiles=replace(TILES, tile_px=12))
    with pytest.raises(BadInputError, match="half of the gap"):
        Tiles(gap_px=0)
    assert not any(tmp_path.iterdir())


def test_options_survive_their_run():
    assert from_yaml(to_yaml(TINY), (Jigsaw,)) == TINY


def test_frames_of_one_colour_give_a_finite_loss():
    flat = drawn(TILES, count=4)
    task = Puzzles(TINY.network(), TILES)
    batch = flat._replace(images=torch.zeros_like(flat.images), order=flat.order % 9)
    assert all(bool(value.isfinite()) for value in task.loss(task.network, batch).values())


def test_light_alone_solves_puzzles_of_nothing_but_light_unless_tiles_are_normalised(tmp_path):
    light = torch.linspace(40, 200, 64)
    frames = (light[None, :, None] + light[None, None, :] / 4 + torch.zeros(12, 1, 1)).clamp(0, 255)
    frames = frames + torch.arange(12)[:, None, None]
    corpus = corpus_of(frames.to(torch.uint8)[..., None].expand(-1, -1, -1, 3).contiguous(), holdout=0.0)
    shares = []
    for normalise in (False, True):
        tiles = replace(TILES, normalise=normalise, channel_shift_px=0, rotation_deg=0.0, gray=0.0)
        options = replace(TINY, tiles=tiles, training=short(steps=60, batch=16))
        (score,) = options.learn(corpus, tmp_path / str(normalise), quiet=True).scores
        shares.append(score.beside["by light alone"])
    assert shares[0] > 0.7 and shares[1] < 0.4


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    corpus = mosaic_corpus()
    learned = TINY.learn(corpus, tmp_path / "whole", quiet=True)
    (score,) = learned.scores
    assert "unseen" in score.name and score.beside["by chance"] == pytest.approx(1 / 9)
    stop_after(monkeypatch, Puzzles, 4)
    with pytest.raises(InterruptedRunError):
        TINY.learn(corpus, tmp_path / "cut", quiet=True)
    monkeypatch.undo()
    TINY.learn(corpus, tmp_path / "cut", resume=True, quiet=True)
    whole, cut_off = (load_checkpoint(tmp_path / name / LAST)["network"] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut_off[name]) for name in whole)
