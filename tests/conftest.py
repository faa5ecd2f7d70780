"""What tests share: one thread, and the published sinus clip where it is at hand."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
SINUS = "sinus/bag_1/_start_004259_end_004629_stride_25_segment_13"


@pytest.fixture(autouse=True)
def sift_alone(monkeypatch) -> None:
    """Whether the packages of learned features are installed changes no test that does not ask for them."""
    monkeypatch.setattr("depthscope.reconstruction.ways.available", lambda _: False)


@pytest.fixture(scope="session")
def sinus_clip() -> Path:
    """The published sinus sequence: 35 real frames with their structure from motion."""
    data = Path(os.environ.get("DEPTHSCOPE_DATA", ROOT.parent / "shared" / "data"))
    if not (data / SINUS / "motion.yaml").is_file():
        pytest.skip(f"the published sinus clip is not at {data / SINUS}; set DEPTHSCOPE_DATA to the folder of sinus/")
    return data / SINUS
