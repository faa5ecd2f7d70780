"""Report and viewer in a headless Chromium: a quiet console, nothing that axe finds, and they do what they say.

Asked for with DEPTHSCOPE_BROWSER=1, since headless browsers may hang; needs `playwright`, `axe-playwright-python` and a
Chromium on the PATH.
"""

import os
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import nibabel
import numpy as np
import pytest
import torch
import yaml

from depthscope.cli import main
from depthscope.report import open_case, page
from depthscope.report.pdf import write_pdf
from depthscope.viewer import serving
from depthscope.viewer.server import Drawn
from test_report import add_prediction, add_registration, add_run, add_sequence, add_surface, add_truth, result

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("DEPTHSCOPE_BROWSER" not in os.environ, reason="headless browsers may hang: ask for it"),
]

PHONE, DESKTOP = (390, 844), (1440, 900)

AXE = """axe.run({resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(
    v => [v.id, v.nodes.map(n => n.target.join(" "))])))"""


def add_ct(case):
    """A CT about the registered surface of `add_registration`, told in the provenance of the registration."""
    affine = np.diag([-0.8, -0.8, 0.8, 1.0])
    affine[:3, 3] = 20, 20, 15
    values = np.full((50, 50, 45), 40, np.int16)
    values[10:40, 10:40, :30] = -1000
    nibabel.save(nibabel.Nifti1Image(values, affine), case / "ct.nii.gz")
    inputs = {str(case / "surface"): "a", str(case / "ct.nii.gz"): "b"}
    (case / "registration" / "provenance.yaml").write_text(yaml.safe_dump({"inputs": inputs}))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    place = tmp_path_factory.mktemp("browser") / "case"
    add_sequence(place / "sequence")
    add_prediction(place / "prediction", [path.stem for path in sorted((place / "sequence" / "images").iterdir())])
    add_surface(place / "surface")
    add_registration(place / "registration")
    add_ct(place)
    add_run(place / "run")
    add_truth(place)
    return place


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium to look with")
    options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=program, args=options)


@pytest.fixture(scope="module")
def report(case, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(open_case(case)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def viewer(case):
    with serving(Drawn(case), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


def opened(browser, address, size=DESKTOP, scheme="light"):
    """The page and the list that its messages go to."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    shown, messages = context.new_page(), []
    shown.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    shown.on("pageerror", lambda error: messages.append(str(error)))
    shown.goto(address)
    shown.wait_for_selector(".surface.live", timeout=60_000)
    shown.wait_for_timeout(500)
    return shown, messages


def violations(shown):
    """What axe finds; it is run by the debugger, since the page's policy lets no other script in."""
    axe = pytest.importorskip("axe_playwright_python")
    code = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    asked = {"expression": f"{code};{AXE}", "awaitPromise": True, "returnByValue": True}
    return shown.context.new_cdp_session(shown).send("Runtime.evaluate", asked)["result"]["value"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("which", ["report", "viewer"])
def test_pages_are_accessible_and_quiet(browser, request, which, size, scheme):
    shown, messages = opened(browser, request.getfixturevalue(which), size, scheme)
    assert violations(shown) == "[]"
    assert messages == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_the_report_is_printed_on_at_most_six_pages(browser, report):
    shown, _ = opened(browser, report)
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", shown.pdf(prefer_css_page_size=True))) <= 6


def loaded(shown, selector):
    """Waits for pictures; by the debugger, since the page's policy forbids it to the page."""
    for _ in range(100):
        wide = shown.evaluate(f"[...document.querySelectorAll('{selector}')].every(i => i.naturalWidth > 50)")
        if wide:
            return True
        shown.wait_for_timeout(200)
    return False


def tones(shown):
    return shown.evaluate(
        """() => { const c = document.querySelector("canvas"), gl = c.getContext("webgl2");
        const p = new Uint8Array(4 * c.width * c.height), found = new Set();
        gl.readPixels(0, 0, c.width, c.height, gl.RGBA, gl.UNSIGNED_BYTE, p);
        for (let i = 0; i < p.length; i += 4) found.add(p[i] << 16 | p[i + 1] << 8 | p[i + 2]);
        return found.size; }"""
    )


def test_the_surface_is_drawn_and_measured_in_its_unit(browser, report, viewer):
    for address in (report, viewer):
        shown, messages = opened(browser, address)
        assert tones(shown) > 20
        shown.click('[data-act="measure"]')
        box = shown.locator(".surface canvas").bounding_box()
        shown.evaluate("document.querySelector('.surface canvas').focus()")
        shown.keyboard.press("Enter")  # the point under the cross, with the keyboard alone
        shown.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
        told = shown.inner_text(".measured")
        found = re.match(r"Distance ([0-9.]+) mm, in a straight line. The scale alone adds ± 0.71 %", told)
        # The sheet is 20 mm wide, seen from where it fills most of the view.
        assert found is not None and 1 < float(found[1]) < 15, told
        assert messages == []


def test_space_plays_and_presses_the_button_that_has_the_focus(browser, viewer):
    shown, _ = opened(browser, viewer)
    shown.focus(".time")
    shown.keyboard.press("Space")
    assert shown.inner_text(".play") == "Pause"
    shown.keyboard.press("Space")
    assert shown.inner_text(".play") == "Play"
    shown.focus('button[data-panel="deviation"]')
    shown.keyboard.press("Space")
    assert shown.inner_text(".play") == "Play"
    assert shown.get_attribute('button[data-panel="deviation"]', "aria-pressed") == "true"
    assert shown.evaluate("document.activeElement.dataset.panel") == "deviation"
    shown.keyboard.press("Home")
    shown.keyboard.press("ArrowRight")
    assert shown.input_value(".time") == "1"
    shown.wait_for_selector('.picture img[src*="frame/1.jpg"]')  # once the picture before it has come


def test_depth_is_in_the_unit_of_the_headline(browser, viewer):
    shown, _ = opened(browser, viewer)
    assert "mm" in shown.inner_text('[data-scale="depth"]') and "units" not in shown.inner_text('[data-scale="depth"]')
    assert shown.inner_text(".ruler").endswith("mm")


def test_slices_follow_the_camera_and_show_the_contour(browser, viewer):
    shown, messages = opened(browser, viewer)
    assert shown.locator(".plane").count() == 3
    assert loaded(shown, ".slice img")
    yellow = """() => { const c = document.querySelector("[data-plane=coronal] canvas"), d = c.getContext("2d")
        .getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 0; i < d.length; i += 4) n += d[i] > 200 && d[i + 1] > 150 && d[i + 2] < 120 && d[i + 3] > 100;
        return n; }"""
    shown.fill("#coronal", shown.evaluate("String(Math.round(document.querySelector('#coronal').max / 2))"))
    assert shown.get_attribute(".tracked", "aria-pressed") == "false"
    assert shown.evaluate(yellow) > 20
    assert messages == []


def test_the_theme_is_chosen(browser, viewer):
    shown, _ = opened(browser, viewer)
    light = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    shown.click(".theme")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") != light


def test_a_folder_of_files_needs_no_server(browser, case, tmp_path):
    assert main(["view", str(case), "--out", str(tmp_path / "out")]) == 0
    shown, messages = opened(browser, (tmp_path / "out" / "index.html").as_uri())
    shown.wait_for_function(
        "[...document.querySelectorAll('.picture img, .slice img')].every(i => i.naturalWidth > 50)"
    )
    assert tones(shown) > 20 and messages == []


def test_clips_of_one_ct_are_in_one_world(browser, tmp_path):
    for name in ("clip_000", "clip_001"):
        add_sequence(tmp_path / "sequence" / name)
        add_surface(tmp_path / "surface" / name)
        add_registration(tmp_path / "registration" / name, target="CT one")
    rows = [{"name": name, "accepted": True, "registered": 8} for name in ("clip_000", "clip_001")]
    result(tmp_path / "sequence", accepted=True, clips=rows, frames=18, registered=16, points=400, reasons=[])
    matrix = torch.diag(torch.tensor([10.0, 10, 10, 1]))
    matrix[0, 3] = 25
    found = {"target_from_source": matrix.tolist(), "scale": 10.0, "ambiguous": False, "target": "CT one"}
    result(tmp_path / "registration" / "clip_001", **found)
    assert main(["view", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    shown, messages = opened(browser, (tmp_path / "out" / "index.html").as_uri())
    button = shown.locator('[data-act="others"]')
    assert button.is_visible() and button.get_attribute("aria-pressed") == "true"
    assert "In the same CT: clip_001." in shown.inner_text(".space .note") and messages == []


def test_the_report_is_at_most_six_sheets(report, tmp_path):
    page = Path(url2pathname(urlparse(report).path))
    assert 1 <= write_pdf(page, tmp_path / "report.pdf") <= 6
