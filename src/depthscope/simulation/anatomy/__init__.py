"""Anatomy by seed: nasal cavities, colons, airways and abdomens as fields, surfaces and landmarks."""

from depthscope.simulation.anatomy.anatomy import SPLITS, Anatomy, Kind, Split, patient, split_of

__all__ = ["SPLITS", "Anatomy", "Kind", "Split", "patient", "split_of"]
