"""Robust bundle adjustment of a model, and the filters of mapping."""

import pycolmap

from depthscope.reconstruction.job import Job

FILTER_PX, FILTER_DEG = 4.0, 1.5


def adjust(
    job: Job,
    model: pycolmap.Reconstruction,
    *,
    robust_px: float,
    free_lens: bool,
    free_poses: bool = True,
    steps: int = 100,
) -> None:
    """Bundle adjustment with Cauchy weights, in place.

    Args:
        job: The clip.
        model: In working pixels.
        robust_px: Residual from which an observation loses weight.
        free_lens: Whether focal length and distortion may change.
        free_poses: Whether the cameras may move.
        steps: At most.
    """
    options = pycolmap.BundleAdjustmentOptions(
        refine_focal_length=free_lens,
        refine_extra_params=free_lens,
        refine_rig_from_world=free_poses,
        print_summary=False,
    )
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = robust_px
    options.ceres.solver_options.num_threads = job.threads
    options.ceres.solver_options.max_num_iterations = steps
    config = pycolmap.BundleAdjustmentConfig()
    for number in model.reg_image_ids():
        config.add_image(number)
    if free_poses:
        config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()


def filtered(model: pycolmap.Reconstruction) -> None:
    """Drops what mapping would drop, in place."""
    observations = pycolmap.ObservationManager(model)
    observations.filter_observations_with_negative_depth()
    observations.filter_all_points3D(FILTER_PX, FILTER_DEG)
