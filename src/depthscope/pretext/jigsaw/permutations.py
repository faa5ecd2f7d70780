"""Orders of nine tiles that differ in as many places as possible, in closed form where there is one.

The 72 maps x -> a x + b of the field of nine elements differ pairwise in at least 8 places (two of them agree at one
point at most), the 504 fractional linear maps of the projective line over the field of eight elements in at least 7:
no set with such a distance is larger (Blake, Cohen, Deza 1979). Both fall into blocks of nine in which every tile
comes to every place exactly once, so that a place says nothing about a tile.
"""

import itertools
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from depthscope.errors import BadInputError

TILES = 9

Rule = Literal["balanced", "published"]

Permutations = Int64[Tensor, "permutations 9"]


def permutations(count: int, rule: Rule = "balanced") -> Permutations:
    """Orders of nine tiles: place i of order p shows tile p[i].

    Args:
        count: How many. Balanced orders come in blocks of nine: up to 72 at distance 8, up to 504 at 7, then greedily.
        rule: "balanced", or "published" for the greedy rule of the paper, which grows the mean distance.

    Raises:
        BadInputError: There are not so many, or they cannot be balanced.
    """
    if not 2 <= count <= 10_000:
        raise BadInputError(f"{count} permutations", "2 to 10000")
    if rule == "published":
        return _greedy(torch.zeros(0, TILES, dtype=torch.int64), count, "mean")
    if count % TILES and count <= 504:
        raise BadInputError(
            f"{count} permutations", "a multiple of 9, in which every tile is as often in every place", "take 27"
        )
    if count <= 72:
        return affine_maps()[:count]
    return fractional_maps()[:count] if count <= 504 else _greedy(fractional_maps(), count, "least")


def affine_maps() -> Permutations:
    """The 72 maps x -> a x + b over GF(9), the nine shifts b of each factor a in a row."""
    return torch.tensor(
        [[_sum9(_product9(a, x), b) for x in range(9)] for a in range(1, 9) for b in range(9)], dtype=torch.int64
    )


def _sum9(x: int, y: int) -> int:
    """Sums by component: u + 3 v stands for the element u + v i, where i * i = -1, and u, v count modulo 3."""
    return (x % 3 + y % 3) % 3 + 3 * ((x // 3 + y // 3) % 3)


def _product9(x: int, y: int) -> int:
    (a, b), (c, d) = (x % 3, x // 3), (y % 3, y // 3)
    return (a * c - b * d) % 3 + 3 * ((a * d + b * c) % 3)


def fractional_maps() -> Permutations:
    """The 504 maps x -> (a x + b) / (c x + d) of the projective line over GF(8), in blocks of nine.

    A block is a coset of the cyclic group of order nine, which takes every point to every other exactly once.
    """
    shifts = [(a, b, 0, 1) for a, b in itertools.product(range(1, 8), range(8))]  # of each family of multiples, one
    others = [(a, b, 1, d) for a, b, d in itertools.product(range(8), repeat=3) if _product8(a, d) != b]
    maps = {tuple(_fraction(*factors, x) for x in range(9)) for factors in shifts + others}
    turn = next(one for one in sorted(maps) if _order(one) == TILES)
    blocks, left = [], set(maps)
    for first in sorted(maps):
        if first in left:
            block = list(itertools.accumulate(range(TILES - 1), lambda p, _: _after(turn, p), initial=first))
            blocks += block
            left -= set(block)
    return torch.tensor(blocks, dtype=torch.int64)


def _product8(x: int, y: int) -> int:
    """Polynomials over the integers modulo 2, as bits, modulo t^3 + t + 1."""
    result = 0
    for bit in range(3):
        if y >> bit & 1:
            result ^= x << bit
    for bit in (4, 3):
        if result >> bit & 1:
            result ^= 0b1011 << (bit - 3)
    return result


def _fraction(a: int, b: int, c: int, d: int, x: int) -> int:
    """The image of a point; 8 is the point at infinity."""
    over, under = (a, c) if x == 8 else (_product8(a, x) ^ b, _product8(c, x) ^ d)
    if under == 0:
        return 8
    return next(quotient for quotient in range(8) if _product8(under, quotient) == over)


def _after(second: tuple[int, ...], first: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(second[place] for place in first)


def _order(one: tuple[int, ...]) -> int:
    identity, power, times = tuple(range(TILES)), one, 1
    while power != identity:
        power, times = _after(one, power), times + 1
    return times


def _greedy(start: Int64[Tensor, "_ 9"], count: int, aim: Literal["least", "mean"]) -> Permutations:
    """Adds the order that is farthest from those before it, by its least or its mean distance, until there are enough.

    Noroozi and Favaro (2016) take the mean, which leaves pairs that differ in two places only.
    """
    candidates = np.array(list(itertools.permutations(range(TILES))), dtype=np.uint8)
    chosen = [*start.numpy().astype(np.uint8)]
    near = np.full(len(candidates), TILES, dtype=np.int64) if aim == "least" else np.zeros(len(candidates), np.int64)
    for one in chosen:
        near = _nearer(near, candidates, one, aim)
    while len(chosen) < count:
        one = candidates[near.argmax()]
        chosen.append(one)
        near = _nearer(near, candidates, one, aim)
        near[(candidates == one).all(1)] = -1
    return torch.from_numpy(np.stack(chosen).astype(np.int64))


def _nearer(near: np.ndarray, candidates: np.ndarray, one: np.ndarray, aim: str) -> np.ndarray:
    distance = (candidates != one).sum(1)
    return np.minimum(near, distance) if aim == "least" else np.where(near < 0, near, near + distance)


def least_distance(orders: Permutations) -> int:
    """In how many places the two most similar orders differ."""
    apart = (orders[:, None] != orders).sum(-1)
    return int(apart[~torch.eye(len(orders), dtype=torch.bool)].min())
