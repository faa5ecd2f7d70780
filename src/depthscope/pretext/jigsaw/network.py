"""The network of the puzzle: an encoder for each tile, and a head that sees the nine together."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from depthscope.networks.adapters import AdaptedEncoder
from depthscope.pretext.jigsaw.permutations import TILES, Permutations
from depthscope.pretext.jigsaw.puzzles import Tile

LIGHT_PX = 3
"""Side to which tiles are blurred for the solver that sees light only."""


class JigsawNetwork(nn.Module):
    """Which permutation nine tiles are in; no column of the encoder sees another's tile.

    Attributes:
        encoder: Of each tile.
        permutations: The orders that are told apart.
        light: A second solver, of tiles blurred to 3 x 3 pixels, that shares nothing with the first: as many puzzles as
            it solves need no more than the fall-off of light.
    """

    permutations: Permutations

    def __init__(self, encoder: AdaptedEncoder, orders: Permutations, tile_px: int, width: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        cells = max(1, tile_px // encoder.strides[-1]) ** 2
        self.tile = nn.Sequential(nn.Linear(encoder.channels[-1] * cells, width), nn.ReLU())
        self.order = _solver(TILES * width, len(orders))
        self.light_tile = nn.Sequential(nn.Linear(3 * LIGHT_PX**2, 64), nn.ReLU())
        self.light = _solver(TILES * 64, len(orders))
        self.register_buffer("permutations", orders)

    def forward(self, tiles: Tile) -> tuple[Float[Tensor, "batch orders"], Float[Tensor, "batch orders"]]:
        """Logits of the permutations, from the tiles and from their light alone."""
        deepest = self.encoder(tiles.flatten(0, 1))[-1]
        columns = self.tile(deepest.flatten(1)).unflatten(0, (-1, TILES))
        blurred = functional.adaptive_avg_pool2d(tiles.flatten(0, 1), LIGHT_PX)
        light = self.light_tile((blurred.flatten(1) - 0.5) * 4).unflatten(0, (-1, TILES))
        return self.order(columns.flatten(1)), self.light(light.flatten(1))


def _solver(inputs: int, orders: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, orders))


def solved(logits: Float[Tensor, "batch orders"], order: Tensor) -> Tensor:
    """Share of puzzles whose permutation is the most likely one."""
    return (logits.argmax(-1) == order).float().mean()


def puzzle_losses(logits: Tensor, light: Tensor, order: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of both solvers: their sum is minimised, which trains each as if it were alone."""
    puzzle, by_light = functional.cross_entropy(logits, order), functional.cross_entropy(light, order)
    return {
        "loss": puzzle + by_light,
        "puzzle": puzzle.detach(),
        "solved": solved(logits.detach(), order),
        "solved_by_light": solved(light.detach(), order),
    }
