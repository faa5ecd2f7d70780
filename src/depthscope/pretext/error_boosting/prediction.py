"""A trained segmenter on frames of any video."""

from collections.abc import Iterator
from itertools import batched
from pathlib import Path
