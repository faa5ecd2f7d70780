from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.corpus import corpus_of
from depthscope.corpus.views import Crops, different_pictures
from depthscope.errors import BadInputError, InterruptedRunError
from depthscope.geometry.depth import pixel_grid
from depthscope.pretext.deepcluster import (
    ClusterTask,
    DeepCluster,
    ViewDraws,
    Whitening,
    agreement,
    clustered,
    deepcluster as deepcluster_module,
    plain_views,
    views,
    without_empty,
)
from depthscope.pretext.stored import from_yaml, to_yaml
from depthscope.training import LAST, load_checkpoint
from depthscope.video import write_image
from mosaics import ENCODER, flat_corpus, mosaic_corpus, short, stop_after

TINY = DeepCluster(clusters=4, rounds=3, components=8, view=0.5, encoder=ENCODER, training=short(steps=6))


def bunches(count: int = 5, each: int = 10) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (10 * torch.eye(count)).repeat_interleave(each, 0) + torch.randn(
        count * each, count, generator=generator
    ) / 10


def test_k_means_finds_bunches():
    found = clustered(bunches(), 5, seed=0)
    assert agreement(found.assigned, torch.arange(5).repeat_interleave(10)) == pytest.approx(1)
    assert torch.allclose(found.centres[found.assigned[0]], bunches()[:10].mean(0), atol=1e-5)


def test_empty_clusters_take_half_of_the_largest():
    points = bunches()
    assigned = torch.zeros(50, dtype=torch.int64)
    assigned[:5] = 3
    filled = without_empty(assigned, points, 6)
    sizes = filled.bincount(minlength=6)
    assert int(sizes.min()) > 0 and int(sizes.sum()) == 50
    assert torch.equal(filled[:5], torch.full((5,), 3))  # the others are left alone
    assert torch.equal(without_empty(filled, points, 6), filled)


def test_frames_that_are_all_alike_still_fill_every_cluster():
    found = clustered(torch.ones(20, 3), 4, seed=0)
    assert int(found.assigned.bincount(minlength=4).min()) > 0


def test_whitening_gives_every_direction_the_same_spread_and_every_item_length_one():
    features = (
        torch.randn(500, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([20.0, 5.0, 1.0, 1.0, 1.0, 1.0])
        + 7
    )
    fitted = Whitening(6, 4).fit(features)
    components = (features - fitted.mean) @ fitted.axes.T
    assert torch.allclose(torch.cov(components.T, correction=0), torch.eye(4), atol=1e-3)
    assert torch.allclose(fitted(features).norm(dim=1), torch.ones(500), atol=1e-5)
    loud = Whitening(6, 4).fit(features, whiten=False)
    spread = ((features - loud.mean) @ loud.axes.T).std(0)
    assert float(spread[0] / spread[-1]) > 10


def test_whitening_of_few_items_has_no_more_components_than_they_span():
    features = torch.randn(5, 20)
    found = Whitening(20, 16).fit(features)(features)
    assert found.shape == (5, 16) and bool(found.isfinite().all())
    assert torch.equal(found[:, 4:], torch.zeros(5, 12))
    with pytest.raises(BadInputError, match="look the same"):
        Whitening(3, 2).fit(torch.ones(5, 3))


def draws(assigned: torch.Tensor, **options) -> ViewDraws:
    corpus = mosaic_corpus(len(assigned), holdout=0.0)
    crops = tuple(Crops.of(content, (1, 1), 0.5) for content in corpus.content)
    return ViewDraws(corpus, torch.arange(len(assigned)), assigned, crops, **options)


def test_draws_are_even_over_clusters_however_large_they_are():
    from scipy.stats import chisquare

    assigned = torch.tensor([0] * 30 + [2] * 5 + [7] * 1)  # numbers that no frame has are never drawn
    drawn = draws(assigned).batch(range(1500)).cluster
    counts = drawn.bincount(minlength=8)[[0, 2, 7]]
    assert int(counts.sum()) == 1500
    assert chisquare(counts.numpy()).pvalue > 1e-3
    uneven = draws(assigned, even=False).batch(range(1500)).cluster.bincount()
    assert abs(float(uneven[0]) / 1500 - 30 / 36) < 0.05


def test_a_frame_is_labelled_with_its_own_cluster():
    assigned = torch.randperm(24, generator=torch.Generator().manual_seed(1)) % 5
    one = draws(assigned)
    batch = one.batch(range(100))
    for image, cluster in zip(batch.images, batch.cluster, strict=True):
        frame = int((one.corpus.frames == image).flatten(1).all(1).nonzero())
        assert int(cluster) == int(assigned[frame])


def test_the_same_draw_of_a_round_is_the_same_view_and_of_another_round_is_not():
    assigned = torch.arange(24) % 5
    one, other = draws(assigned, round=2).batch([3, 8]), draws(assigned, round=2).batch([8])
    assert all(torch.equal(a[1], b[0]) for a, b in zip(one, other, strict=True))
    rounds = [draws(assigned, round=r).batch(range(30)).cluster.tolist() for r in range(2)]
    assert rounds[0] != rounds[1]


def test_plain_views_come_in_order_and_never_show_the_rim():
    content = (pixel_grid(64, 64, torch.zeros(1)) - 32).square().sum(-1).sqrt() <= 30
    frames = torch.where(content[..., None], mosaic_corpus(70, holdout=0.0).frames.clamp_min(5), 0)
    corpus = corpus_of(frames, content=content[None], holdout=0.0)
    batches = list(plain_views(corpus, torch.arange(70)))
    assert torch.equal(torch.cat([batch.images for batch in batches]), frames)
    assert float(views(batches[0], (32, 32)).min()) >= 5 / 255 - 1e-6


def test_what_cannot_be_clustered_is_told(tmp_path):
    with pytest.raises(BadInputError, match="one colour"):
        TINY.learn(flat_corpus(), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="20 frames to find 40 clusters"):
        replace(TINY, clusters=40).learn(mosaic_corpus(20, holdout=0.0), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="12 frames to find 2 clusters.*20 or more"):
        replace(TINY, clusters=None).learn(mosaic_corpus(12, holdout=0.0), tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="6 in 9 rounds"):
        replace(TINY, rounds=9)
    with pytest.raises(BadInputError, match="batch 1"):
        replace(TINY, training=short(batch=1))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("pictures", [1, 3])
def test_stills_are_refused_however_long_they_are_shown(tmp_path, pictures):
    """Noise and compression make no new picture; four clusters need four."""
    few = mosaic_corpus(pictures, holdout=0.0).frames.repeat(30, 1, 1, 1).short()
    noise = torch.randint(-3, 4, few.shape, generator=torch.Generator().manual_seed(1))
    corpus = corpus_of((few + noise).clamp(0, 255).to(torch.uint8), holdout=0.0)
    assert different_pictures(corpus, corpus.trained, 99) == pictures
    with pytest.raises(BadInputError, match=rf"{30 * pictures} frames that show {pictures} different picture"):
        TINY.learn(corpus, tmp_path, quiet=True)
    assert not any(tmp_path.iterdir())
    moving = mosaic_corpus(40)
    assert different_pictures(moving, moving.trained, 8) == 8  # and no further


def test_a_folder_of_one_image_over_and_over_is_refused(tmp_path, capsys):
    (tmp_path / "still").mkdir()
    image = mosaic_corpus(1, holdout=0.0).frames[0]
    for number in range(40):
        write_image(tmp_path / "still" / f"{number:03d}.png", image)
    assert main(["pretrain", "deepcluster", str(tmp_path / "still"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "picture" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_options_survive_their_run():
    assert from_yaml(to_yaml(TINY), (DeepCluster,)) == TINY


def test_rounds_share_the_steps_and_leave_the_last_clustering(tmp_path):
    corpus = mosaic_corpus(40, videos=2, holdout=0.0)
    learned = replace(TINY, training=short(steps=7)).learn(corpus, tmp_path, quiet=True)
    assert learned.result.steps == 7
    assert [score.name for score in learned.scores][:2] == ["NMI to the last round", "NMI to the video"]
    content = load_checkpoint(tmp_path / LAST)
    network = TINY.restored(content["network"])
    whitened = ClusterTask(network, (32, 32)).whitened(corpus, torch.arange(40))
    last = load_checkpoint(tmp_path / "rounds" / "003" / "clusters.pt")["assigned"]
    assert float((network.nearest(whitened)[0] == last).float().mean()) > 0.8  # centres are means, lengths differ
    assert content["step"] == 7 and content["round"] == 3


def test_a_fresh_head_knows_nothing_of_the_last_round():
    network = TINY.network(4)
    network.with_fresh_head(torch.Generator().manual_seed(0))
    assert float(network.head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not bool(network.head.bias.any())


@pytest.mark.parametrize("fresh", [True, False])
def test_every_round_begins_with_a_new_head_unless_it_is_to_keep_the_old_one(tmp_path, monkeypatch, fresh):
    """Numbers of clusters mean nothing from one round to the next; what the rounds really start from is looked at."""
    heads, train = [], deepcluster_module.train

    def watched(task, *given, **options):
        before = task.network.head.weight.detach().clone()
        result = train(task, *given, **options)
        heads.append((before, task.network.head.weight.detach().clone()))
        return result

    monkeypatch.setattr(deepcluster_module, "train", watched)
    replace(TINY, fresh_head=fresh).learn(mosaic_corpus(40), tmp_path, quiet=True)
    assert len(heads) == 3
    for (_, after), (start, _) in zip(heads, heads[1:], strict=False):
        assert torch.equal(after, start) != fresh
        if fresh:
            assert float(start.std()) == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("step", [2, 3, 4, 8])  # in the first round, at its end, at the start of the next, in the last
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, monkeypatch, step):
    corpus = mosaic_corpus(40)
    options = replace(TINY, training=short(steps=9))
    options.learn(corpus, tmp_path / "whole", quiet=True)
    stop_after(monkeypatch, ClusterTask, step)
    with pytest.raises(InterruptedRunError):
        options.learn(corpus, tmp_path / "cut", quiet=True)
    monkeypatch.undo()
    options.learn(corpus, tmp_path / "cut", resume=True, quiet=True)
    whole, cut = (load_checkpoint(tmp_path / name / LAST)["network"] for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_run_goes_on_only_with_its_own_options(tmp_path):
    corpus = mosaic_corpus(40)
    TINY.learn(corpus, tmp_path, quiet=True)
    with pytest.raises(BadInputError, match="other options"):
        replace(TINY, clusters=5).learn(corpus, tmp_path, resume=True, quiet=True)
