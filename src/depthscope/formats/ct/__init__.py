"""CT volumes: files in and out, and the surface between air and tissue.

Places are in LPS mm, as DICOM and ITK have them (x to the patient's left, y to the back, z to the head). NIfTI stores
RAS; it is converted.
"""

from depthscope.formats.ct.air import Region, extracted_surface
from depthscope.formats.ct.reading import read_ct
from depthscope.formats.ct.volume import AIR_BELOW, COARSE_VOXEL_MM, CT, MUCOSA
from depthscope.formats.ct.writing import write_dicom_series, write_nifti

__all__ = [
    "AIR_BELOW",
    "COARSE_VOXEL_MM",
    "CT",
    "MUCOSA",
    "Region",
    "extracted_surface",
    "read_ct",
    "write_dicom_series",
    "write_nifti",
]
