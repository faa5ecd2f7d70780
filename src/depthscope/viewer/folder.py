"""The viewer as a folder of files that any browser opens, without a server."""

from collections.abc import Callable
from pathlib import Path

from depthscope.report.folder import CaseFolder
from depthscope.report.images import jpeg
from depthscope.report.policy import BESIDE, sealed
from depthscope.viewer.page import page_name, picture_name, viewer_page
from depthscope.viewer.scene import ViewerScene, open_scene
from depthscope.viewer.slices import PLANES


def write_viewer(case: CaseFolder, folder: Path, told: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Writes the pages and the pictures of every frame, one at a time; returns how many pictures there are.

    Args:
        case: The case.
        folder: Where to; it is there.
        told: Is given how many frames are done, and of how many, clip by clip.

    Raises:
        BadInputError: A clip has nothing to show.
    """
    count = 0
    for number in range(len(case.clips)):
        scene = open_scene(case, number)
        page = sealed(viewer_page(case, scene, number, BESIDE))
        (folder / page_name(number)).write_text(page, encoding="utf-8")
        count += write_slices(scene, folder, number)
        view, panels = scene.view, scene.panels
        if view is None:
            continue
        for frame, name in enumerate(view.names):
            for panel in panels:
                picture = view.picture(name, panel)
                if picture is None:
                    continue
                place = folder / picture_name(number, panel, frame)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(jpeg(picture))
                count += 1
            told(frame + 1, len(view.names))
    return count


def write_slices(scene: ViewerScene, folder: Path, number: int) -> int:
    """Writes every slice of the CT; returns how many."""
    if scene.slices is None:
        return 0
    count = 0
    for plane in PLANES:
        place = (folder / picture_name(number, plane, 0)).parent
        place.mkdir(parents=True, exist_ok=True)
        for slice_number in range(scene.slices.count(plane)):
            picture = scene.slices.picture(plane, slice_number)
            assert picture is not None
            (folder / picture_name(number, plane, slice_number)).write_bytes(jpeg(picture))
            count += 1
    return count
