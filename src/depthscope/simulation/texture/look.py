"""What a patient's tissue is drawn with, and what every texture can be asked."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from depthscope.errors import BadInputError
from depthscope.simulation.texture.vessels import TILE_MM

Places = Float[Tensor, "points 3"]


@dataclass(frozen=True)
class Look:
    """How one patient's tissue looks.

    Attributes:
        contrast: Dial of everything that a feature detector can hold on to: 0 is plain, 1 typical, 2 rich.
        blood: Mean blood of the lining; 0.4 is pale, 1.2 inflamed.
        blotches: Spread of the blood between one place and another, before the contrast.
        vessels: How strongly vessels show, before the contrast.
        grain: Spread of the finest mottling, before the contrast.
        tile_mm: Size of the vessels' tile; smaller is denser and thinner.
        wetness: 0 is dry and dull, 1 wet with small sharp glints.
        bumps: Tilt of the film's bumps in radians, the standard deviation.
        hue: Shift of the pale tissue's green against its red.
        tint: What the pale tissue's red, green and blue are multiplied by.
        scale: Size of blotches, mottling and bumps against those of a nose; larger organs have larger ones.
        regional: How far the regions differ in blood: an exponent of their share of it, 1 typical, 2 a red turbinate
            beside a pale septum.
        bleeding: Blood that pools on the tissue here and there, as a further share of the lining's own.
        cover: Linear RGB of what lies on the tissue: mucus, bile, stool.
        cover_share: Share of the tissue that it covers.
        cover_opacity: How far it hides the tissue.
    """

    contrast: float = 1.0
    blood: float = 0.7
    blotches: float = 0.30
    vessels: float = 1.0
    grain: float = 0.06
    tile_mm: float = TILE_MM
    wetness: float = 0.6
    bumps: float = 0.07
    hue: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    scale: float = 1.0
    regional: float = 1.0
    bleeding: float = 0.0
    cover: tuple[float, float, float] = (0.7, 0.66, 0.5)
    cover_share: float = 0.0
    cover_opacity: float = 0.6

    def __post_init__(self) -> None:
        for name in ("contrast", "blood", "blotches", "vessels", "grain", "wetness", "bumps"):
            if not 0 <= getattr(self, name) <= 4:
                raise BadInputError(f"tissue with {name} {getattr(self, name):g}", "0 to 4")
        if not 2 <= self.tile_mm <= 200:
            raise BadInputError(f"a vessel tile of {self.tile_mm:g} mm", "2 to 200 mm")
        if not all(0.1 <= factor <= 3 for factor in (*self.tint, self.scale)):
            raise BadInputError(f"tissue with the tint {self.tint} and scale {self.scale:g}", "0.1 to 3")
        if not (0 <= self.regional <= 5 and 0 <= self.bleeding <= 5):
            raise BadInputError(f"regions {self.regional:g} apart and bleeding of {self.bleeding:g}", "0 to 5")
        if not all(0 <= x <= 1 for x in (*self.cover, self.cover_share, self.cover_opacity)):
            raise BadInputError(f"a cover of colour {self.cover} over {self.cover_share:g} of the tissue", "0 to 1")


@runtime_checkable
class Texture(Protocol):
    """What a surface looks like at its points."""

    def albedo(self, points: Places, normals: Places, tones: Tensor, cell_mm: Tensor) -> Places:
        """Linear RGB reflectance."""
        ...

    def film(self, points: Places, normals: Places) -> tuple[Places, Float[Tensor, " points"]]:
        """Unit normals and roughness of the film."""
        ...
