"""Training by view synthesis: snippets, what the network sees of them, runs of every recipe, and what they leave."""

import json
from dataclasses import replace

import pytest
import torch

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import camera_file, depth_maps
from depthscope.geometry.depth import sample
from depthscope.networks import DepthRange, DispNet, KnownMotion
from depthscope.objectives import ViewSynthesis
from depthscope.objectives.photometric import EdgeAware, synthesised
from depthscope.prediction import Recording, load_model, predict
from depthscope.recipes import (
    ENDOSCOPY_PHOTOMETRIC,
    FAST,
    MONODEPTH2_M,
    MONODEPTH2_MS,
    MONODEPTH2_S,
    RECIPES,
    SFMLEARNER,
    Recipe,
    from_yaml,
    to_yaml,
)
from depthscope.runs import prepared_snippets, train_recipe
from depthscope.runs.run import _from_video
from depthscope.supervision import SnippetRule, SparsePoints, snippet_clip
from depthscope.supervision.snippets import STEREO_BASELINE, snippets_of
from depthscope.training import (
    LAST,
    Adam,
    SnippetAugmentation,
    SnippetDraws,
    Task,
    VideoDepth,
    load_checkpoint,
    snippet_network,
    train,
)
from depthscope.training.draws import Draws
from depthscope.training.snippet_augmentation import mirrored_snippets, turned_colours, zoomed
from depthscope.unposed_clip import UnposedClip
from depthscope.video import read_image, write_video
from miniatures.kitti_folder import DAY, DRIVE, write_raw
from scenes import grid
from stereo import BASELINE_MM, CAMERA, RIGHT_FROM_LEFT, SIZE, path, shrunk, wall_clip
from textured import predicted, seen_wall, wall_snippet
from tiny_runs import TUBE, tube_clip

LITTLE = DispNet((16, 16, 16, 16), DepthRange(0.2, 10.0))
BY_VIEWS = [recipe for recipe in RECIPES.values() if isinstance(recipe.objective, ViewSynthesis)]


@pytest.fixture(scope="module")
def tube(tmp_path_factory):
    """A tube with its SfM."""
    folder = tmp_path_factory.mktemp("tube")
    return folder / "tube", tube_clip(folder / "tube", replace(TUBE, frames=10))


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    return wall_clip(tmp_path_factory.mktemp("wall"), stereo=True)


def clips_of(recipe: Recipe, clip, folder):
    return prepared_snippets([clip if isinstance(clip, UnposedClip) else UnposedClip.of(clip)], recipe, folder)[0]


# --- snippets


def test_targets_have_all_their_sources(wall):
    assert snippets_of(wall, SnippetRule()).tolist() == [[n, n - 1, n + 1] for n in range(1, 5)]
    assert snippets_of(wall, SnippetRule(offsets=(-2, -1, 1, 2), stride=1)).tolist() == [
        [2, 0, 1, 3, 4],
        [3, 1, 2, 4, 5],
    ]
    assert snippets_of(wall, SnippetRule(stride=2)).tolist() == [[2, 0, 4], [3, 1, 5]]
    assert snippets_of(replace(wall, targets=(3, 0)), SnippetRule()).tolist() == [[3, 2, 4]]
    assert snippets_of(wall, SnippetRule(offsets=(), stereo=True)).tolist() == [[n] for n in range(6)]


def test_sources_are_chosen_by_the_motion_of_the_points(tube):
    sequence = tube[1]
    unposed = UnposedClip.of(sequence)

    def median_flow(target: int, source: int) -> float:
        shared = sequence.seen[target] & sequence.seen[source]
        here, there = (
            sequence.cameras[0].project(sequence.camera_from_world[f].apply(sequence.points[shared]))
            for f in (target, source)
        )
        return float((here - there).norm(dim=-1).median()) * 320 / sequence.size_px[0]

    least = median_flow(4, 6)
    rows = snippets_of(unposed, SnippetRule(flow_px=least))
    strides = rows[:, 2] - rows[:, 0]
    assert len(rows) and bool((strides >= 1).all()) and int(strides.max()) > 1
    for target, _, source in rows.tolist():
        assert median_flow(target, source) >= least - 1e-6
        assert source == target + 1 or median_flow(target, source - 1) < least
    longest = int(strides.max())  # a stride of that length is the last one that is tried
    assert torch.equal(snippets_of(unposed, SnippetRule(flow_px=least, longest_stride=longest)), rows)
    shorter = snippets_of(unposed, SnippetRule(flow_px=least, longest_stride=longest - 1))
    spans = (rows[:, 1:] - rows[:, :1]).abs().amax(1)
    assert torch.equal(shorter, rows[spans < longest])


def test_motions_and_points_are_those_of_the_sequence(tube, tmp_path):
    recipe = shrunk(ENDOSCOPY_PHOTOMETRIC)
    (clip,) = clips_of(recipe, tube[1], tmp_path)
    draws = SnippetDraws((clip,), known=True)
    batch = draws.batch([0, 1, 2])
    for number in range(3):
        _, (target, before, after) = draws.snippet(number)
        expected = clip.sfm.camera_from_world[after] @ clip.sfm.camera_from_world[target].inverse()
        assert torch.allclose(batch.temporal.translation[number, 1], expected.translation.float(), 0, 1e-6)
        assert torch.equal(batch.images[number, 1], clip.store.frames[before].permute(2, 0, 1))
        seen = batch.points.weight[number, 2] > 0
        assert torch.equal(
            batch.points.depth[number, 2][seen], clip.sfm.points[after].depth[clip.sfm.points[after].weight > 0]
        )
    assert SnippetDraws((clip,)).batch([0]).temporal is None


def test_true_depth_explains_the_frames_of_a_stored_clip(wall, tmp_path):
    """Frames, cameras and motions of the batch fit together: through crop, resize and scale."""
    (clip,) = clips_of(replace(shrunk(MONODEPTH2_S), network=LITTLE), wall, tmp_path)
    draws = SnippetDraws((clip,))
    assert draws.batch([0]).mask is None  # every pixel shows the wall
    _, (target,) = draws.snippet(0)
    batch = draws.batch([0])
    unit = STEREO_BASELINE / float(RIGHT_FROM_LEFT.translation.norm())  # of the wall in units of training
    depth = seen_wall(path(6)[int(target)], *SIZE)[1][None].float() * unit
    assert clip.store.view.size_px == SIZE
    view = synthesised(batch.clean[:, 1], depth, batch.stereo, batch.camera[:, 0], batch.camera[:, 1])
    error = (view.image - batch.clean[:, 0]).abs().amax(1)[view.valid]
    assert view.valid.float().mean() > 0.7 and float(error.quantile(0.99)) < 0.05
    assert clip.unit == "mm" and clip.unit_length == pytest.approx(BASELINE_MM / STEREO_BASELINE)


def test_what_a_rule_needs_is_told(wall, tube, tmp_path):
    mono = replace(wall, right_camera=None)
    for recipe, clip, told in (
        (MONODEPTH2_S, mono, "has one eye"),
        (ENDOSCOPY_PHOTOMETRIC, mono, "has no structure from motion"),
        (
            replace(MONODEPTH2_M, objective=replace(MONODEPTH2_M.objective, snippets=SnippetRule(stride=9))),
            mono,
            "no frame",
        ),
    ):
        with pytest.raises(BadInputError, match=told):
            clips_of(shrunk(recipe), clip, tmp_path)
    with pytest.raises(BadInputError, match="no SfM to choose frames by"):
        snippet_clip(mono, shrunk(MONODEPTH2_M).supervision, SnippetRule(flow_px=4.0), SIZE, tmp_path)
    with pytest.raises(BadInputError, match="learns from its points"):
        train_recipe(FAST, [mono], tmp_path / "run", quiet=True)


# --- augmentation


def view_loss(batch, depth, motions) -> float:
    objective = ViewSynthesis(full_resolution=True, smoothness=EdgeAware(0.0))
    return float(objective(predicted(depth, motions), batch)["view"])


def test_mirrored_and_zoomed_snippets_are_still_explained_by_true_depth():
    batch, depth, motions = wall_snippet(160, 120)
    pixels = torch.tensor([[30.2, 40.7]], dtype=torch.float64).expand(1, 3, 1, 2)
    points = SparsePoints(pixels, torch.ones(1, 3, 1, dtype=torch.float64), torch.ones(1, 3, 1, dtype=torch.float64))
    batch = replace(batch, points=points, temporal=motions)
    plain = view_loss(batch, depth, motions)

    turned = mirrored_snippets(batch, torch.tensor([True]))
    assert view_loss(turned, depth.flip(-1), turned.temporal) == pytest.approx(plain, rel=1e-6)
    assert turned.points.pixels[0, 0, 0].tolist() == pytest.approx([160 - 30.2, 40.7])
    assert bool(turned.mirrored) and view_loss(turned, depth.flip(-1), motions) > 5 * plain
    back = mirrored_snippets(turned, torch.tensor([True]))
    assert torch.equal(back.images, batch.images) and not bool(back.mirrored)
    untouched = mirrored_snippets(batch, torch.tensor([False]))
    assert torch.equal(untouched.images, batch.images) and torch.equal(untouched.temporal.rotation, motions.rotation)

    factor, place = torch.tensor([[1.13, 1.05]], dtype=torch.float64), torch.tensor([[0.3, 0.9]], dtype=torch.float64)
    larger = zoomed(batch, factor, place)
    corner = place * (factor - 1) * torch.tensor([160.0, 120.0])
    zoomed_depth = sample(depth[:, None], ((grid(160, 120) + corner) / factor)[None])[:, 0]
    assert view_loss(larger, zoomed_depth, motions) < 3 * plain + 2e-3
    assert view_loss(replace(larger, camera=batch.camera), zoomed_depth, motions) > 2 * view_loss(
        larger, zoomed_depth, motions
    )
    at = larger.points.pixels[0, 0, 0]
    assert torch.allclose(at, torch.tensor([30.2, 40.7], dtype=torch.float64) * factor[0] - corner[0])


def test_colours_change_for_the_network_alone_and_alike_in_a_snippet():
    batch, _, _ = wall_snippet(32, 24)
    batch = replace(batch, images=torch.cat([batch.images[:, :1]] * 3, 1).float())
    change = SnippetAugmentation(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1, chance=1.0)
    clean, seen = change(batch, 0)
    assert torch.equal(clean.images, batch.images) and not torch.equal(seen, batch.images)
    assert torch.equal(seen[:, 0], seen[:, 1]) and float(seen.min()) >= 0 and float(seen.max()) <= 1
    assert torch.equal(seen, change(batch, 0)[1])  # a function of seed and draw
    assert not torch.equal(seen, change(batch, 1)[1])
    assert torch.equal(replace(change, chance=0.0)(batch, 0)[1], batch.images)
    red = torch.tensor([1.0, 0.0, 0.0])[None, None, :, None, None]
    assert torch.allclose(
        turned_colours(red, torch.tensor([2 * torch.pi / 3])).flatten(), torch.tensor([0.0, 1.0, 0.0]), 0, 1e-6
    )


# --- runs


def train_on(recipe: Recipe, tube, wall, out):
    clip = wall if recipe.objective.snippets.stereo else tube[1]
    return train_recipe(recipe, [clip], out, quiet=True)


@pytest.mark.parametrize("recipe", BY_VIEWS, ids=[recipe.name for recipe in BY_VIEWS])
def test_every_recipe_trains_two_steps(recipe, tube, wall, tmp_path):
    recipe = shrunk(recipe)
    assert from_yaml(to_yaml(recipe)) == recipe
    torch.manual_seed(recipe.training.seed)
    before = snippet_network(recipe.network, recipe.objective).state_dict()
    result = train_on(recipe, tube, wall, tmp_path)
    after = load_checkpoint(tmp_path / LAST)["training_network"]
    spare = "pose.motion.6.bias"  # its last six outputs are published but not used
    still = [name for name in before if name in after and torch.equal(before[name], after[name]) and name != spare]
    assert result.steps == 2 and result.losses["loss"] > 0
    assert [name for name in still if not name.endswith("num_batches_tracked")] == []
    judged_by_depth = not recipe.objective.snippets.stereo
    assert ("abs_rel" in result.validation) == judged_by_depth
    assert result.validation["score"] > 0


def test_a_run_that_is_interrupted_goes_on_the_same(tube, wall, tmp_path):
    recipe = shrunk(SFMLEARNER, steps=4, save_every=2)
    whole = train_on(recipe, tube, wall, tmp_path / "whole")
    out = tmp_path / "parts"
    record = {"recipe": to_yaml(recipe), "sequences": [tube[1].name]}
    torch.manual_seed(recipe.training.seed)
    task, draws, validate, _ = _from_video(recipe, [UnposedClip.of(tube[1])], out / "store")
    train(task, draws, replace(recipe.training, steps=2), out, validate=validate, record=record, quiet=True)
    again = train_recipe(recipe, [tube[1]], out, resume=True, quiet=True)
    assert again.steps == whole.steps == 4
    one, other = (load_checkpoint(folder / LAST)["network"] for folder in (tmp_path / "whole", out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_wall_is_learned_in_mm_from_two_eyes(wall, tmp_path):
    recipe = shrunk(MONODEPTH2_S, steps=50, batch=4, validate_every=50, optimiser=Adam(3e-3))
    recipe = replace(recipe, network=LITTLE, augmentation=SnippetAugmentation(flip=True))
    train_recipe(recipe, [wall], tmp_path, quiet=True)
    model = load_model(tmp_path)
    assert model.unit == "mm" and model.unit_length == pytest.approx(BASELINE_MM / STEREO_BASELINE)
    recording = Recording(wall.frame_names, (read_image(p) for p in wall.images), SIZE, CAMERA)
    millimetres = BASELINE_MM / float(RIGHT_FROM_LEFT.translation.norm())
    ratios = []
    for number, one in enumerate(predict(model, recording)):
        assert one.unit == "mm"
        truth = seen_wall(path(6)[number], *SIZE)[1] * millimetres
        ratios.append((one.depth[6:-6, 8:-8] / truth[6:-6, 8:-8]).median().item())
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.1)


def test_learned_intrinsics_move(tube, tmp_path):
    recipe = shrunk(SFMLEARNER)
    recipe = replace(recipe, objective=replace(recipe.objective, learn_camera=True))
    train_recipe(recipe, [tube[1]], tmp_path, quiet=True)
    weights = load_checkpoint(tmp_path / LAST)["network"]
    assert bool((weights["camera"] != 0).all())


def test_the_task_is_a_task(tube, tmp_path):
    recipe = shrunk(ENDOSCOPY_PHOTOMETRIC)
    task = VideoDepth(snippet_network(recipe.network, recipe.objective), recipe.objective, recipe.augmentation)
    assert isinstance(task, Task) and task.network.pose is None and isinstance(recipe.objective.motion, KnownMotion)
    assert isinstance(SnippetDraws(clips_of(recipe, tube[1], tmp_path)), Draws)


# --- on the command line


def config(folder, recipe: Recipe):
    file = folder / "recipe.yaml"
    file.write_text(to_yaml(shrunk(recipe)))
    return file


def test_a_folder_of_images_trains_and_predicts_by_one_command_each(tmp_path, wall, capsys):
    images = wall.images[0].parent
    camera_file.write(CAMERA, tmp_path / "camera.yaml")
    train_call = ["train", str(images), "--recipe", "monodepth2-m", "--config", str(config(tmp_path, MONODEPTH2_M))]
    run, out = tmp_path / "run", tmp_path / "prediction"
    assert main([*train_call, "--camera", str(tmp_path / "camera.yaml"), "--out", str(run)]) == 0
    result = json.loads((run / "result.json").read_text("utf-8"))
    assert result["steps"] == 2 and "abs_rel" not in result["validation"] and result["validation"]["score"] > 0
    assert main(["predict", str(run), str(images), "--out", str(out)]) == 0
    depth = depth_maps.read(next((out / "depth").iterdir()))
    assert bool((depth > 0).all()) and json.loads((out / "result.json").read_text("utf-8"))["unit"] == "relative"
    told = capsys.readouterr()
    assert "no measure of depth" in told.out and "6 frames without structure from motion" in told.out
    assert main([*train_call, "--out", str(tmp_path / "none")]) == 2
    assert "no camera" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_camera_is_learned_where_none_is_given(tmp_path, wall):
    images = wall.images[0].parent
    call = ["train", str(images), "--recipe", "sfmlearner", "--config", str(config(tmp_path, SFMLEARNER))]
    run = tmp_path / "run"
    assert main([*call, "--objective.learn-camera", "--out", str(run)]) == 0
    learned, correction = camera_file.read(run / "camera.yaml"), load_checkpoint(run / LAST)["network"]["camera"]
    assert learned.size_px == SIZE and learned.source == "learned by view synthesis"
    assert learned.focal_px[0] == pytest.approx(0.8 * SIZE[0] * correction[0].exp().item(), rel=1e-6)
    assert learned.centre_px[1] == pytest.approx(SIZE[1] / 2 + 0.8 * SIZE[0] * correction[3].item(), rel=1e-6)
    assert correction.abs().min() > 0


def test_a_drive_of_kitti_trains_and_its_unit_is_mm(tmp_path, capsys):
    write_raw(tmp_path / "kitti")
    (tmp_path / "split.txt").write_text(f"{DAY}/{DRIVE} 3 l\n{DAY}/{DRIVE} 2 l\n{DAY}/{DRIVE} 2 r\n")
    call = ["train", str(tmp_path / "kitti"), "--split", str(tmp_path / "split.txt"), "--recipe", "monodepth2-ms"]
    run = tmp_path / "run"
    assert main([*call, "--config", str(config(tmp_path, MONODEPTH2_MS)), "--out", str(run)]) == 0
    assert "of two eyes 1.5 mm apart" in capsys.readouterr().out
    assert load_model(run).unit == "mm"


def test_sfm_supervision_is_replaced_by_naming_another_recipe(tube, tmp_path, capsys):
    folder = str(tube[0])
    call = ["train", folder, "--recipe", "endoscopy-photometric", "--out", str(tmp_path / "run")]
    assert main([*call, "--config", str(config(tmp_path, ENDOSCOPY_PHOTOMETRIC))]) == 0
    assert "AbsRel" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "run"), folder, "--sequence", folder, "--out", str(tmp_path / "p")]) == 0
    assert main(["train", folder, "--out", str(tmp_path / "run"), "--resume"]) == 0  # the recipe is the stored one


def test_inputs_that_do_not_fit_are_told(tmp_path, wall, capsys):
    images = wall.images[0].parent
    for source, more, told in (
        (images, ["--recipe", "fast"], "no structure from motion"),
        (images, ["--recipe", "endoscopy-photometric", "--camera", str(tmp_path / "camera.yaml")], "no structure"),
        (images, ["--recipe", "monodepth2-s", "--camera", str(tmp_path / "camera.yaml")], "has one eye"),
        (tmp_path / "none", ["--recipe", "sfmlearner"], "is missing"),
    ):
        camera_file.write(CAMERA, tmp_path / "camera.yaml")
        assert main(["train", str(source), "--out", str(tmp_path / "run"), *more]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_options_of_the_page_are_flags(monkeypatch):
    from depthscope.commands import train as verb

    asked = []
    monkeypatch.setattr(verb, "train", lambda inputs, out, recipe, **options: asked.append(recipe))
    for more in (
        ["sfmlearner", "--objective.motion.explainability", "--objective.reprojection.explainability", "0.2"],
        ["monodepth2-m", "--network.encoder.weights", "a.pth", "--objective.motion.encoder.weights", "b.pth"],
        ["endoscopy-photometric", "--objective.snippets.flow-px", "None", "--objective.snippets.stride", "3"],
    ):
        verb.parse(["in", "--out", "out", "--recipe", *more])()
    masked, weighted, strided = (recipe.objective for recipe in asked)
    assert masked.motion.explainability and masked.reprojection.explainability == 0.2
    assert asked[1].network.encoder.weights == "a.pth" and weighted.motion.encoder.weights == "b.pth"
    assert strided.snippets.flow_px is None and strided.snippets.stride == 3


def test_a_video_trains_with_the_camera_beside_it(tmp_path, wall, capsys):
    write_video(tmp_path / "clip.mp4", (read_image(path) for path in wall.images), fps=10)
    call = ["train", str(tmp_path / "clip.mp4"), "--recipe", "monodepth2-m"]
    call += ["--config", str(config(tmp_path, MONODEPTH2_M))]
    assert main([*call, "--out", str(tmp_path / "none")]) == 2
    assert "clip holds 6 images and no camera" in capsys.readouterr().err and not (tmp_path / "none").exists()
    camera_file.write(CAMERA, tmp_path / "camera.yaml")
    run = tmp_path / "run"
    assert main([*call, "--every-s", "0.2", "--out", str(run)]) == 0
    assert "clip: 3 frames without structure from motion" in capsys.readouterr().out
    assert len(list((run / "store").glob("clip-*-0.2s/*.png"))) == 3
    assert main(["train", str(tmp_path / "clip.mp4"), "--every-s", "-1", "--recipe", "monodepth2-m", "--out", "x"]) == 2
