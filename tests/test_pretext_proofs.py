"""What a probe reads from the encoders on displaced digits: the gates of the benchmarks, one seed each."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_exemplars_teach_more_than_random_weights_and_than_their_own_patches_by_heart():
    import pretext_exemplar as bench
    from displaced_digits import displaced_digits

    digits, options = displaced_digits(), bench.options(0, 600)
    learned = bench.learned(digits, options)
    by_heart = bench.learned(
        digits,
        replace(options, transformations=bench.Transformations.none(), training=replace(options.training, steps=200)),
    )
    random = bench.probed_random(lambda: bench.AdaptedEncoder(bench.ENCODER.build(), bench.Colour()), digits, 3)
    assert learned["ten"] >= 0.75
    assert learned["ten"] >= max(row["ten"] for row in random) + 0.4
    assert by_heart["ten"] < learned["ten"] - 0.3


def test_deep_clusters_teach_and_an_old_head_does_not():
    import pretext_deepcluster as bench
    from displaced_digits import displaced_digits

    digits, options = displaced_digits(), bench.options(0, 30)
    learned = bench.learned(digits, options)
    stale = bench.learned(digits, replace(options, fresh_head=False))
    random = bench.probed_random(lambda: bench.AdaptedEncoder(bench.ENCODER.build(), bench.Sobel()), digits, 3)
    assert learned["ten"] >= 0.63
    assert learned["ten"] >= max(row["ten"] for row in random) + 0.3
    assert stale["ten"] < learned["ten"]


def test_puzzles_without_guards_are_solved_as_well_and_teach_less():
    import pretext_jigsaw as bench
    from displaced_digits import displaced_digits

    digits = displaced_digits(digit_px=51, field_px=63)
    guarded, unguarded = (
        bench.learned(digits, 27, tiles, seed=0, steps=300) for tiles in (bench.GUARDED, bench.UNGUARDED)
    )
    assert unguarded["puzzles"] > 0.9 and guarded["puzzles"] > 0.9
    assert guarded["ten"] >= unguarded["ten"] + 0.08
