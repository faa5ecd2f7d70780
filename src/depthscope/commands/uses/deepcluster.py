"""``depthscope predict`` of a run that learned deep clusters: a video sorted by what it shows, and keyframes."""

import time
from pathlib import Path
from typing import Annotated

import torch
from tyro.conf import Positional, arg

from depthscope.commands.flags import Part
from depthscope.errors import BadInputError
from depthscope.inference.clusters import cluster_sheet, keyframe_order
from depthscope.training.devices import resolved_device
from depthscope.video.cut import WHOLE


def deepcluster(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    input: Annotated[Positional[Path], arg(metavar="INPUT")],  # noqa: A002 - the name on the command line
    /,
    out: Path,
    keyframes: int = 30,
    every_s: float | None = None,
    store: Path | None = None,
    part: Part = WHOLE,
) -> int:
    """The frames of a video by cluster, and keyframes that differ.

    Args:
        run: Folder of a run of depthscope pretrain deepcluster.
        input: Video, image folder or sequence folder.
        out: Folder for ``clusters.csv``, ``clusters.png`` and ``keyframes.txt``.
        keyframes: How many; 0 for none.
        every_s: Time from one frame to the next (default: as in training).
        store: Where to keep the decoded frames (default: nowhere).
        part: Which frames of it are used.
    """
    from depthscope.inference.sheets import frames_of, write_keyframes, write_rows
    from depthscope.pretext import stored_options, stored_weights
    from depthscope.pretext.deepcluster import ClusterTask, DeepCluster, agreement
    from depthscope.pretext.stored import checkpoint_of
    from depthscope.video import write_image
    from depthscope.workspace import content_hash, write_provenance, write_result, writing_folder

    if keyframes < 0:
        raise BadInputError(f"--keyframes {keyframes}", "0 or more")
    start = time.perf_counter()
    options = stored_options(run)[1]
    assert isinstance(options, DeepCluster)
    network = options.restored(stored_weights(run)).to(resolved_device())
    if not bool(network.centres.any()):
        raise BadInputError(f"{run} has no clusters yet", "a finished run", "go on with pretrain ... --resume")
    with (
        frames_of(input, options.frames, every_s, store, part) as corpus,
        writing_folder(out, inputs=(checkpoint_of(run), input)) as folder,
    ):
        if keyframes > len(corpus):
            raise BadInputError(
                f"--keyframes {keyframes} of {len(corpus)} frames", "no more than there are", "lower it, or --every-s"
            )
        task = ClusterTask(network, options.size_of(corpus))
        whitened = task.whitened(corpus, torch.arange(len(corpus)))
        cluster, distance = network.nearest(whitened)
        rows = zip(corpus.names, corpus.time_s.tolist(), cluster.tolist(), distance.tolist(), strict=True)
        write_rows(folder / "clusters.csv", ("frame", "time_s", "cluster", "distance"), list(rows))
        write_image(folder / "clusters.png", cluster_sheet(corpus, cluster, distance))
        if keyframes:
            write_keyframes(folder, corpus, keyframe_order(whitened, cluster, distance, keyframes))
        figures = {
            "frames": len(corpus),
            "clusters": len(cluster.unique()),
            "clusters_learned": len(network.centres),
            "nmi_to_time": agreement(cluster, (torch.arange(len(corpus)) * 20 // len(corpus))),
            "keyframes": keyframes,
            "seconds": time.perf_counter() - start,
        }
        write_result(folder, figures)
        write_provenance(
            folder,
            options={"keyframes": keyframes, "every_s": every_s},
            inputs={str(path): content_hash(path) for path in (checkpoint_of(run), input)},
            seconds=time.perf_counter() - start,
        )
    print(
        f"{figures['frames']} frames in {figures['clusters']} clusters, {keyframes} keyframes: {out / 'clusters.png'}"
    )
    return 0
