import csv
import json
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.corpus import CorpusOptions
from depthscope.inference.retrieval import spread_in_time
from depthscope.pretext import stored_options, stored_weights
from depthscope.pretext.deepcluster import DeepCluster
from depthscope.pretext.exemplar import Exemplar
from depthscope.pretext.jigsaw import Jigsaw, Tiles, descriptors
from depthscope.video import read_image, write_image
from mosaics import ENCODER, mosaic_corpus, short

FRAMES = CorpusOptions(size_px=(64, 64))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("frames")
    corpus = mosaic_corpus(30, holdout=0.0)
    for name, frame in zip(corpus.names, corpus.frames, strict=True):
        write_image(place / f"{name}.png", frame)
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place, corpus = tmp_path_factory.mktemp("runs"), mosaic_corpus(30, holdout=0.0)
    systems = {
        "exemplar": Exemplar(patch_px=16, largest=1.5, encoder=ENCODER, frames=FRAMES, training=short(steps=4)),
        "deepcluster": DeepCluster(
            clusters=5, rounds=2, view=0.5, encoder=ENCODER, frames=FRAMES, training=short(steps=4)
        ),
        "jigsaw": Jigsaw(9, tiles=Tiles(tile_px=8, gap_px=4), encoder=ENCODER, frames=FRAMES, training=short(steps=2)),
    }
    for name, options in systems.items():
        options.learn(corpus, place / name, quiet=True)
    return place


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments)])


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "options",
    [
        ("exemplar", "--patch-px", "32", "--largest", "1"),
        ("deepcluster", "--clusters", "3", "--rounds", "2", "--view", "0.5"),
        ("jigsaw", "--permutations", "9", "--tiles.tile-px", "32", "--tiles.gap-px", "2"),
    ],
)
def test_pretrain_leaves_an_encoder_and_says_what_its_scores_stand_beside(options, folder, tmp_path, capsys):
    small = ["--encoder.width", "4", "--encoder.widest", "8", "--training.batch", "4"]
    out = tmp_path / "run"
    assert main(["pretrain", *options, str(folder), "--out", str(out), "--steps", "2", *small]) == 0
    assert (out / "encoder.pt").is_file()
    scores = json.loads((out / "result.json").read_text("utf-8"))["scores"]
    assert scores and all(score["beside"] for score in scores)
    assert "next: depthscope" in capsys.readouterr().out


@pytest.mark.parametrize("system", ["exemplar", "jigsaw"])
def test_a_frame_of_the_video_finds_itself_again(runs, folder, tmp_path, system):
    out = tmp_path / "found"
    assert predict(runs / system, folder, "--query", folder / "000017.png", "--out", out) == 0
    rows = table(out / "neighbours.csv")
    assert rows[0]["frame"] == "000017" and float(rows[0]["similarity"]) == pytest.approx(1, abs=1e-3)
    assert len(rows) == 30 and [int(row["rank"]) for row in rows] == list(range(1, 31))
    assert json.loads((out / "result.json").read_text("utf-8"))["nearest"] == "000017"
    assert read_image(out / "neighbours.png").shape[1] > 400
    assert not (out / "keyframes.txt").exists()


@pytest.mark.parametrize("system", ["exemplar", "jigsaw"])
def test_keyframes_are_chosen_too(runs, folder, tmp_path, system):
    out = tmp_path / "keys"
    assert predict(runs / system, folder, "--keyframes", 7, "--out", out) == 0
    names = (out / "keyframes.txt").read_text("utf-8").split()
    assert len(set(names)) == 7 and all((folder / f"{name}.png").is_file() for name in names)
    assert (out / "keyframes.png").is_file()


def test_a_video_is_sorted_into_clusters_and_keyframes_are_one_of_each_first(runs, folder, tmp_path):
    out = tmp_path / "clusters"
    assert predict(runs / "deepcluster", folder, "--keyframes", 12, "--out", out) == 0
    rows = table(out / "clusters.csv")
    names = (out / "keyframes.txt").read_text("utf-8").split()
    assert len(rows) == 30 and len(set(names)) == 12
    cluster = {row["frame"]: row["cluster"] for row in rows}
    found = len(set(cluster.values()))
    assert len({cluster[name] for name in names[:found]}) == found
    assert json.loads((out / "result.json").read_text("utf-8"))["clusters"] == found
    assert (out / "clusters.png").is_file()


def test_a_jigsaw_describes_frames_in_the_colours_it_learned_from(runs):
    options, corpus = stored_options(runs / "jigsaw")[1], mosaic_corpus(6, holdout=0.0)
    network = options.restored(stored_weights(runs / "jigsaw"))
    darker = replace(corpus, frames=(corpus.frames.float() * 0.5).round().to(torch.uint8))
    found = [descriptors(network, one, options.tiles) for one in (corpus, darker)]
    torch.testing.assert_close(*found, atol=0.05, rtol=0.05)
    plain = replace(options.tiles, normalise=False)
    assert (descriptors(network, corpus, plain) - descriptors(network, darker, plain)).abs().max() > 0.1


def test_what_cannot_be_answered_is_told_in_one_line(runs, folder, tmp_path, capsys):
    out = tmp_path / "none"
    assert predict(runs / "jigsaw", folder, "--out", out) == 2
    assert predict(runs / "exemplar", folder, "--query", tmp_path / "no.png", "--out", out) == 2
    assert predict(runs / "exemplar", folder, "--keyframes", 500, "--out", out) == 2
    assert predict(runs / "deepcluster", folder, "--keyframes", 500, "--out", out) == 2
    assert predict(runs / "deepcluster", tmp_path / "nowhere", "--out", out) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5 and all(line.startswith("error: ") for line in told)
    assert not out.exists()


def test_neighbours_that_are_close_in_time_are_shown_once():
    corpus = mosaic_corpus(10, videos=1, holdout=0.0)
    order = torch.tensor([4, 5, 3, 6, 9, 0])
    assert spread_in_time(corpus, order, 2.0, 10) == [4, 6, 9, 0]
    assert spread_in_time(corpus, order, 2.0, 2) == [4, 6]
    two = replace(
        corpus,
        video=torch.arange(10) % 2,
        videos=("a", "b"),
        content=corpus.content.expand(2, -1, -1),
        sources=corpus.sources * 2,
        windows=corpus.windows * 2,
    )
    assert spread_in_time(two, order, 3.0, 10) == [4, 5, 9, 0]
