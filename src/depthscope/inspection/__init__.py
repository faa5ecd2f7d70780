"""The verdict on a sequence: is its structure from motion right, and if not, why not?"""

from depthscope.inspection.inspection import CHECKS, Check, Evidence, Verdict, inspect, largest_angles_deg

__all__ = ["CHECKS", "Check", "Evidence", "Verdict", "inspect", "largest_angles_deg"]
