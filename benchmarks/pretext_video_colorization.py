"""Tracking by colorizing against what needs no learning: masks and points carried through clips with known motion.

    python benchmarks/pretext_video_colorization.py --out DIR [--seeds 3] [--steps 300]
    python benchmarks/pretext_video_colorization.py --out DIR --clips PHANTOM_CLIP... [--steps 300]

Toy clips are photographs as textures of two objects that bend over a moving background; test photographs are others
than those of training. Figures are the mean Jaccard index J of the objects over all frames but the first, whose mask is
given. Beside the pointer stand: the first mask left where it is, patches of gray as descriptor, an untrained network,
dense optical flow (OpenCV's DIS and Farneback, scikit-image's ILK and TV-L1), and as control the same training with the
references' colours shuffled. Gates: J of the pointer at least that of the mask left alone + 0.10 and untrained + 0.12;
flow is printed, and may win.

With --clips (clips of ``depthscope simulate --faults instrument=1``) it learns from these clips without any truth, and
is asked for the J of the instrument and for the share of true tracks within 4, 8, 16, 32 and 64 px, beside KLT.

Writes ``pretext_video_colorization.json`` (``..._phantom.json``) and prints a table.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from moving_photographs import TESTS, TRAINING, Clip, clip as toy_clip, photographs
from skimage.registration import optical_flow_ilk, optical_flow_tvl1
from torch import Tensor
from torch.nn import functional

from depthscope.corpus import Corpus, CorpusOptions, corpus_of, read_corpus
from depthscope.pretext.stored import stored_weights
from depthscope.pretext.video_colorization import VideoColorization
from depthscope.pretext.video_colorization.klt import Klt
from depthscope.pretext.video_colorization.propagation import Propagation, enlarged, propagated
from depthscope.pretext.video_colorization.scores import copying
from depthscope.pretext.video_colorization.snippets import moving_snippets
from depthscope.pretext.video_colorization.task import Colours, ColourSnippetDraws, CopyColours, embedder_of
from depthscope.pretext.video_colorization.tracking import MaskCarrier, PointTracker, Tracking, content_cells
from depthscope.simulation.clip_files import unpacked_flow
from depthscope.training import Adam, Cosine, Training, train
from depthscope.video import read_image

PACE = 1.3
WITHIN_PX = (4, 8, 16, 32, 64)
SLOW_CLIPS = 15
"""That scikit-image's flows are run on."""

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]
Embedding = Callable[[Tensor], Tensor]


class Shuffled(CopyColours):
    """The control: the same task, but the references' colours stand at wrong places."""

    def colours(self, images: Tensor, content: Tensor) -> Colours:
        """Labels of the references in a random order."""
        labels, known = super().colours(images, content)
        order = torch.randperm(labels.shape[-1], device=labels.device)
        return Colours(torch.cat([labels[:, :-1][..., order], labels[:, -1:]], 1), known)


def main() -> None:
    """Reads the arguments, measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--tests", type=int, default=40, help="toy clips to measure on")
    parser.add_argument("--stride", type=int, default=0, help="side of a cell in pixels; 4 on toys and 8 on phantoms")
    parser.add_argument("--clips", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    name = "pretext_video_colorization" + ("_phantom" if given.clips else "")
    rows = [on_phantoms(given, seed) if given.clips else on_toys(given, seed) for seed in range(given.seeds)]
    record = {
        "seeds": rows,
        "mean": means(rows),
        "machine": f"{platform.machine()}, torch {torch.__version__}, one thread",
        "steps": given.steps,
    }
    (given.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    for key, value in record["mean"].items():
        print(f"{key:45s} {value:8.3f}   ({', '.join(f'{row[key]:.3f}' for row in rows)})")


def options_of(given: argparse.Namespace, seed: int, stride: int) -> VideoColorization:
    """How it is learned here."""
    training = Training(
        given.steps, 8, Adam(1e-3), Cosine(), seed=seed, save_every=given.steps, validate_every=given.steps
    )
    return VideoColorization(stride=given.stride or stride, training=training)


# --- toys


def on_toys(given: argparse.Namespace, seed: int) -> dict[str, float]:
    """All arms with one seed."""
    textures, others = photographs(TRAINING), photographs(TESTS)
    clips = [toy_clip(textures, 1000 * seed + number, pace=PACE) for number in range(300)]
    tests = [toy_clip(others, 100_000 + number, pace=PACE) for number in range(given.tests)]
    corpus = corpus_of(
        torch.from_numpy(np.concatenate([one.frames for one in clips])),
        video=torch.arange(len(clips)).repeat_interleave(8),
        every_s=1 / 6,
    )
    options, found = replace(options_of(given, seed, 4), least_motion_px=0.0), {}
    found["J, first mask left alone"] = jaccard_of(tests, lambda one: np.stack([one.objects[0]] * len(one.frames)))
    found["J, gray patches"] = jaccard_of(tests, by_pointer(patches))
    found["J, untrained network"] = jaccard_of(tests, by_pointer(options.network(corpus).eval()))
    start, place = time.process_time(), given.out / "runs" / f"toy_{seed}"
    learned = options.learn(corpus, place, quiet=True)
    found["CPU seconds of training"] = time.process_time() - start
    trained = embedder_of(options.encoder, options.channels, options.stride, stored_weights(place))
    found["J, pointer"] = jaccard_of(tests, by_pointer(trained))
    moving = moving_snippets(corpus, 4, 0.0)
    control = Shuffled(options.network(corpus), options.temperature)
    train(
        control,
        ColourSnippetDraws(corpus, moving.trained, seed),
        options.training,
        given.out / "runs" / f"c_{seed}",
        quiet=True,
    )
    found["J, shuffled colours (control)"] = jaccard_of(tests, by_pointer(control.network.eval()))
    for flow, (calculate, most) in flows().items():
        found[f"J, {flow}"] = jaccard_of(tests[:most], by_flow(calculate))
    found[f"J, pointer, first {SLOW_CLIPS} clips"] = jaccard_of(tests[:SLOW_CLIPS], by_pointer(trained))
    score = learned.scores[0]
    found["colours copied"] = score.value
    found |= {f"colours copied, {name}": value for name, value in score.beside.items()}
    found |= points_on_toys(trained, tests)
    found["gate: pointer - left alone - 0.10"] = found["J, pointer"] - found["J, first mask left alone"] - 0.10
    found["gate: pointer - untrained - 0.12"] = found["J, pointer"] - found["J, untrained network"] - 0.12
    return found


def patches(images: Tensor) -> Tensor:
    """Gray 8 x 8 patches about cells of 4 px, without their mean."""
    luma = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    rows, columns = images.shape[-2] // 4, images.shape[-1] // 4
    found = functional.unfold(luma, 8, padding=2, stride=4)
    return (found - found.mean(1, keepdim=True)).unflatten(-1, (rows, columns))


def by_pointer(embedding: Embedding) -> Callable[[Clip], np.ndarray]:
    """Carries the first mask by features of cells."""

    @torch.no_grad()
    def carried(one: Clip) -> np.ndarray:
        features = embedding(torch.from_numpy(one.frames).permute(0, 3, 1, 2).float() / 255)
        layers = functional.one_hot(torch.from_numpy(one.objects[0]), 3).permute(2, 0, 1).float()
        first = functional.adaptive_avg_pool2d(layers, features.shape[-2:])
        size = one.objects.shape[2], one.objects.shape[1]
        return np.stack([enlarged(x, size).argmax(0).numpy() for x in propagated(features, first, Propagation())])

    return carried


def flows() -> dict[str, tuple[Flow, int]]:
    """Dense optical flows, from a frame to the one before; and how many clips each is run on."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def farneback(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        return cv2.calcOpticalFlowFarneback(now, before, None, 0.5, 3, 9, 5, 5, 1.1, 0)  # type: ignore[call-overload]

    def scikit(function: Callable) -> Flow:
        return lambda now, before: np.stack(function(now / 255.0, before / 255.0)[::-1], -1).astype(np.float32)

    return {
        "optical flow DIS": (lambda now, before: dis.calc(now, before, None), 10**9),  # type: ignore[call-overload]
        "optical flow Farneback": (farneback, 10**9),
        f"optical flow ILK, first {SLOW_CLIPS} clips": (scikit(optical_flow_ilk), SLOW_CLIPS),
        f"optical flow TV-L1, first {SLOW_CLIPS} clips": (scikit(optical_flow_tvl1), SLOW_CLIPS),
    }


def by_flow(calculate: Flow) -> Callable[[Clip], np.ndarray]:
    """Carries the first mask by dense flow, frame by frame."""
    return lambda one: warped_masks(one.frames, one.objects[0], calculate)


def warped_masks(frames: np.ndarray, first: np.ndarray, calculate: Flow) -> np.ndarray:
    """Masks of all frames, each read from the one before."""
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    y, x = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)
    layers = [(first == value).astype(np.float32) for value in range(int(first.max()) + 1)]
    found = [first]
    for before, now in zip(greys[:-1], greys[1:], strict=True):
        flow = calculate(now, before)
        at = x + flow[..., 0], y + flow[..., 1]
        layers = [cv2.remap(one, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for one in layers]
        found.append(np.argmax(layers, 0))
    return np.stack(found)


def jaccard_of(tests: list[Clip], carried: Callable[[Clip], np.ndarray]) -> float:
    """Mean J over clips."""
    return float(np.nanmean([jaccard(carried(one), one.objects) for one in tests]))


def jaccard(found: np.ndarray, true: np.ndarray) -> float:
    """Mean over objects that the first frame shows (20 px or more) and over the later frames that show them."""
    scores = []
    for value in np.unique(true[0])[1:]:
        if (true[0] == value).sum() < 20:
            continue
        for one, other in zip(found[1:] == value, true[1:] == value, strict=True):
            if other.any():
                scores.append((one & other).sum() / (one | other).sum())
    return float(np.mean(scores)) if scores else float("nan")


def points_on_toys(network: torch.nn.Module, tests: list[Clip]) -> dict[str, float]:
    """Share of points within 2 and 4 px, coarse and refined, beside KLT; and whether confidence orders errors."""
    errors: dict[str, list[np.ndarray]] = {"pointer, coarse": [], "pointer, refined": [], "KLT": []}
    sure: list[np.ndarray] = []
    for one in tests:
        size = one.objects.shape[2], one.objects.shape[1]
        corpus = corpus_of(torch.from_numpy(one.frames), holdout=0.0)
        start = np.stack(np.meshgrid(*(np.arange(6.5, side, 8) for side in size)), -1).reshape(-1, 2)
        true = true_places(one, start)
        for name, refine in (("pointer, coarse", False), ("pointer, refined", True)):
            tracker = PointTracker(
                torch.from_numpy(start),
                corpus.windows[0],
                content_cells(corpus.content[0], 4),
                4,
                Tracking(refine=refine),
            )
            tracked = [step(network, corpus, n, tracker) for n in range(len(corpus))]
            errors[name].append(away(np.stack([t.places.numpy() for t in tracked]), true))
            if refine:
                sure.append(np.stack([t.confidence.numpy() for t in tracked])[1:][np.isfinite(true[1:, :, 0])])
        klt = Klt(start)
        errors["KLT"].append(away(np.stack([klt.step(frame)[0] for frame in one.frames]), true))
    joined = {name: np.concatenate(rows) for name, rows in errors.items()}
    found = {f"points within {px} px, {name}": float((e < px).mean()) for name, e in joined.items() for px in (2, 4)}
    trust = np.concatenate(sure)
    half = trust >= np.median(trust)
    found["points within 2 px, surer half"] = float((joined["pointer, refined"][half] < 2).mean())
    found["points within 2 px, less sure half"] = float((joined["pointer, refined"][~half] < 2).mean())
    return found


@torch.no_grad()
def step(network: torch.nn.Module, corpus: Corpus, number: int, tracker: PointTracker):
    """One step of a tracker on a frame of a corpus that is at the size of its video."""
    return tracker.step(network(corpus.images([number]))[0].float(), corpus.frames[number])


def true_places(one: Clip, start: np.ndarray) -> np.ndarray:
    """Where points of the first frame are, NaN where hidden; shape (frames, points, 2)."""
    column, row = start.astype(int).T
    owner, place = one.objects[0][row, column], one.places[0][row, column]
    found = np.full((len(one.frames), len(start), 2), np.nan)
    for frame in range(len(one.frames)):
        for point in range(len(start)):
            apart = np.linalg.norm(one.places[frame] - place[point], axis=-1)
            apart[one.objects[frame] != owner[point]] = np.inf
            y, x = np.unravel_index(int(apart.argmin()), apart.shape)
            if apart[y, x] < 0.75:
                found[frame, point] = x + 0.5, y + 0.5
    return found


def away(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances in all frames but the first, of the points that are seen there."""
    apart = np.linalg.norm(found - true, axis=-1)[1:]
    return apart[np.isfinite(apart)]


# --- phantoms


def on_phantoms(given: argparse.Namespace, seed: int) -> dict[str, float]:
    """All arms on simulated clips, learned from these clips without their truth."""
    options = options_of(given, seed, 8)
    frames = CorpusOptions(every_s=0.0, holdout=0.0)
    corpus = read_corpus([one / "video.mp4" for one in given.clips], frames, given.out / "store")
    untrained = options.network(corpus).eval()
    start, place = time.process_time(), given.out / "runs" / f"phantom_{seed}"
    options.learn(corpus, place, quiet=True)
    found = {"CPU seconds of training": time.process_time() - start}
    trained = embedder_of(options.encoder, options.channels, options.stride, stored_weights(place))
    task = CopyColours(trained, options.temperature)
    score = copying(task, corpus, moving_snippets(corpus, 4, options.least_motion_px, lambda _: None).trained)
    found |= {"colours copied (on the frames trained on)": score.accuracy, "same place": score.identity}
    found |= {"majority": score.majority, "palette entropy in bits": score.entropy_bits}
    networks = {"pointer": trained, "untrained network": untrained}
    rows = [on_phantom(folder, corpus, number, networks) for number, folder in enumerate(given.clips)]
    found |= means(rows)
    return found


def on_phantom(folder: Path, corpus: Corpus, number: int, networks: dict[str, torch.nn.Module]) -> dict[str, float]:
    """J of the instrument and shares of true tracks in one clip."""
    window, chosen = corpus.windows[number], corpus.of_video(number).tolist()
    images = [read_image(path) for path in sorted((folder / "images").glob("*.png"))]
    frames, found = np.stack([image.numpy() for image in images]), {}
    cells = content_cells(corpus.content[number], networks["pointer"].stride)
    start, true, on_instrument = true_tracks(folder, corpus.content[number], window)
    masks = sorted((folder / "masks" / "instrument").glob("*.png"))
    shown = (
        np.stack([(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.int64) for path in masks])
        if masks
        else None
    )
    for name, network in networks.items():
        carrier = None
        if shown is not None:
            carrier = MaskCarrier(torch.from_numpy(shown[0]), window, cells, Propagation())
        trackers = {
            how: PointTracker(torch.from_numpy(start), window, cells, network.stride, Tracking(refine=how == "refined"))
            for how in ("coarse", "refined")
        }
        tracks: dict[str, list[np.ndarray]] = {how: [] for how in trackers}
        carried = []
        for row, image in zip(chosen, images, strict=True):
            with torch.no_grad():
                features = network(corpus.images([row]))[0].float()
            for how, tracker in trackers.items():
                tracks[how].append(tracker.step(features, image).places.numpy())
            if carrier is not None:
                carried.append(carrier.step(features).numpy())
        if shown is not None:
            found[f"J of the instrument, {name}"] = jaccard(np.stack(carried), shown)
        for how, places in tracks.items():
            found |= shares(f"{name}, {how}", np.stack(places), true, on_instrument)
    klt = Klt(start)
    found |= shares("KLT", np.stack([klt.step(frame)[0] for frame in frames]), true, on_instrument)
    found |= shares("left alone", np.repeat(start[None], len(frames), 0), true, on_instrument)
    if shown is not None:
        found["J of the instrument, first mask left alone"] = jaccard(np.repeat(shown[:1], len(shown), 0), shown)
        for flow, (calculate, most) in flows().items():
            if most > SLOW_CLIPS:
                found[f"J of the instrument, {flow}"] = jaccard(warped_masks(frames, shown[0], calculate), shown)
    return found


def true_tracks(folder: Path, content: Tensor, window) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on a grid, their true places by the simulated flow (NaN once hidden), and which are on the instrument."""
    width, height = window.source_px
    inside = window.map_in_source(content[None].float())[0].numpy() > 0.5
    grid = np.stack(np.meshgrid(np.arange(8.5, width, 16), np.arange(8.5, height, 16)), -1).reshape(-1, 2)
    grid = grid[inside[grid[:, 1].astype(int), grid[:, 0].astype(int)]]
    places = [grid]
    for path in sorted((folder / "flow").glob("*.png")):
        flow, seen = unpacked_flow(path)
        now = places[-1]
        at = [(now[:, axis] - 0.5).astype(np.float32)[None] for axis in (0, 1)]
        moved = cv2.remap(flow.numpy().astype(np.float32), *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        kept = cv2.remap(seen.numpy().astype(np.float32), *at, cv2.INTER_LINEAR, borderValue=0)[0] > 0.999
        places.append(np.where(kept[:, None], now + moved, np.nan))
    mask = folder / "masks" / "instrument" / "0000.png"
    shown = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) if mask.is_file() else np.zeros((height, width), np.uint8)
    return grid, np.stack(places), shown[grid[:, 1].astype(int), grid[:, 0].astype(int)] > 0


def shares(name: str, found: np.ndarray, true: np.ndarray, on_instrument: np.ndarray) -> dict[str, float]:
    """Share of the places within each distance, over all later frames in which the points are seen."""
    result = {}
    for where, chosen in (("tissue", ~on_instrument), ("instrument", on_instrument)):
        apart = away(found[:, chosen], true[:, chosen])
        for px in WITHIN_PX:
            if len(apart):
                result[f"{where} within {px} px, {name}"] = float((apart < px).mean())
    return result


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the rows that have it."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: float(np.nanmean([row[name] for row in rows if name in row])) for name in names}


if __name__ == "__main__":
    main()
