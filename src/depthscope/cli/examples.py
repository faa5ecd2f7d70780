"""What help pages show beside the options: commands to copy, and what the exit codes mean.

The folders of one example are those of the others: ``clip`` is what ``reconstruct`` wrote, ``run`` what ``train``
wrote, and so on. Tests parse every line, and run the chain on a simulated patient.
"""

EXIT_CODES = {
    0: "done",
    2: "bad input or options",
    3: "the data does not support an answer",
    70: "a mistake in depthscope",
    130: "interrupted; the same command goes on",
    141: "the reader of the output has gone",
}
"""Exit codes and their meaning."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": (
        "depthscope demo",
        "depthscope demo --out colon --anatomy colon --seed 2",
        "depthscope view depthscope-demo",
    ),
    "run": (
        "depthscope run video.mp4 --camera lens/camera.yaml --out case",
        "depthscope run video.mp4 --camera lens/camera.yaml --ct ct.nii.gz --out case",
        "depthscope run video.mp4 --out case --set train.steps=300 --set fuse.hole-voxels=4",
        "depthscope view case",
    ),
    "depth": (
        "depthscope depth video.mp4 --out depth",
        "depthscope depth frame.png --camera lens/camera.yaml --clouds 1 --out depth",
        "depthscope depth frames --weights run --out depth",
    ),
    "simulate": (
        "depthscope simulate --out patients --patients 2 --clips 2 --seed 1",
        "depthscope simulate --out colons --anatomy colon --preset hard",
    ),
    "stills": ("depthscope stills --out stills/train --patients 4 --frames 40",),
    "calibrate": (
        "depthscope calibrate board.mp4 --board 14x10 --square-mm 3 --out lens",
        "depthscope calibrate board.mp4 --board charuco:9x6 --square-mm 5 --model fisheye --out lens",
    ),
    "reconstruct": (
        "depthscope reconstruct video.mp4 --camera lens/camera.yaml --out clip",
        "depthscope reconstruct video.mp4 --camera lens/camera.yaml --masks masks --out clip",
        "depthscope reconstruct video.mp4 --start 1:02.5 --end frame_002150 --features xfeat --out clip",
    ),
    "join": ("depthscope join clip clip_2 --out map",),
    "inspect": ("depthscope inspect clip", "depthscope inspect clip --json"),
    "convert": (
        "depthscope convert clip --to nerfstudio --out scene",
        "depthscope convert clip --to colmap --out model",
    ),
    "train": (
        "depthscope train clip --recipe adapt --out run",
        "depthscope train clip --recipe paper-2018 --steps 2000 --out run_2018",
        "depthscope train clip --out run --resume",
        "depthscope train clip --out run_large --network.width 32 --training.batch 8",
    ),
    "pretrain": ("depthscope pretrain error-boosting video.mp4 --out masker",),
    "pretrain error-boosting": ("depthscope pretrain error-boosting video.mp4 --out masker",),
    "pretrain video-colorization": ("depthscope pretrain video-colorization video.mp4 --out tracker",),
    "pretrain deepcluster": ("depthscope pretrain deepcluster video.mp4 --out finder",),
    "pretrain jigsaw": ("depthscope pretrain jigsaw video.mp4 --out puzzle",),
    "pretrain exemplar": ("depthscope pretrain exemplar video.mp4 --out describer",),
    "pretrain colorization": ("depthscope pretrain colorization video.mp4 --out colourer",),
    "pretrain audio-visual": ("depthscope pretrain audio-visual video.mp4 --out listener",),
    "pretrain depth": ("depthscope pretrain depth stills/train --unseen stills/unseen --out weights",),
    "transfer": ("depthscope transfer puzzle clip clip_2 --out transfer",),
    "compare": ("depthscope compare clip --recipes adapt,fast,paper-2018 --out comparison",),
    "predict": (
        "depthscope predict run clip --sequence clip --out depth",
        "depthscope predict run other_video.mp4 --camera lens/camera.yaml --out other_depth",
        "depthscope predict masker video.mp4 --out masks",
    ),
    "export": (
        "depthscope export shipped --out depth.onnx --size 192x160",
        "depthscope export run --out depth.pt",
    ),
    "fuse": ("depthscope fuse depth clip --out surface",),
    "register": (
        "depthscope register surface ct.nii.gz --sequence clip --prediction depth --out registration",
        "depthscope register surface/surface.ply anatomy.ply --scale 4.5 --out registration",
    ),
    "evaluate": (
        "depthscope evaluate depth clip --run run --out evaluation",
        "depthscope evaluate depth true_depth --out evaluation",
        "depthscope evaluate surface anatomy.ply --protocol surface-1 --out evaluation",
    ),
    "report": ("depthscope report case", "depthscope report case --out page.html"),
    "view": (
        "depthscope view case",
        "depthscope view case --out viewer",
        "depthscope view case --fly-through flight.mp4",
    ),
}
"""By command, lines that can be copied."""
