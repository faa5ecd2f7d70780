"""How near a fisheye comes to an omnidirectional lens, for `reconstruct`: ``python benchmarks/omnidirectional.py``.

The published lens of C3VD v1, and the same polynomial with the radius stretched, so that the frame's corner sees a
wider angle. Prints Markdown.
"""

import math

import torch

from depthscope.errors import BadInputError
from depthscope.formats.c3vd import V1_NUMBERS, V1_SIZE
from depthscope.geometry import Camera, Scaramuzza
from depthscope.reconstruction.omnidirectional import fisheye_of

STRETCHES = (1.0, 1.1, 1.2, 1.3)


def camera(stretch: float) -> Camera:
    """C3VD's camera with a shorter a0 by this factor, which sees more."""
    n = V1_NUMBERS
    lens = Scaramuzza.from_pixels(n["a0"] / stretch, n["a2"], n["a3"], n["a4"], n["c"], n["d"], n["e"])
    focal = n["a0"] / stretch
    return Camera(V1_SIZE, (focal, focal), (n["cx"] + 0.5, n["cy"] + 0.5), lens)


def main() -> None:
    """Prints the table."""
    print("| a0 of C3VD over | largest angle | off, root mean square | at most |\n|---|---|---|---|")
    for stretch in STRETCHES:
        one = camera(stretch)
        corner = one.unproject(torch.tensor([[0.5, 0.5]], dtype=torch.float64))
        angle = math.degrees(math.atan(float(corner[0, :2].norm())))
        seen = f"{angle:.0f} degrees" if math.isfinite(angle) else "beyond 90 degrees in the corners"
        try:
            fit = fisheye_of(one)
        except BadInputError as error:
            print(f"| {stretch} | {seen} | {error} | |")
            continue
        print(f"| {stretch} | {seen} | {fit.rms_px:.2f} px | {fit.largest_px:.2f} px |")


if __name__ == "__main__":
    main()
