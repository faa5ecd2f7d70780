"""The report's page: well formed, whole in itself, every number as in its file, nothing of a file as markup."""

import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import yaml

from depthscope.cli import main
from depthscope.formats import colmap, depth_maps, ply
from depthscope.geometry import RigidMotion, Similarity, Surface
from depthscope.report import open_case, page
from depthscope.report.charts import Line, histogram, line_chart, path_plot
from depthscope.report.clip_view import clip_view, sequence_of
from depthscope.report.downloads import as_gltf, numbers, write_label_map, write_mesh
from depthscope.report.markup import joined, phrase, plain, significant, spoken_amount, spoken_share
from depthscope.report.mesh import decimated, path, viewpoint
from depthscope.report.space import distance_to, moved_cameras, space_of
from depthscope.report.verdict import RESEARCH_USE, SMALL_MM, verdict
from depthscope.simulation import simulate
from depthscope.video import write_image
from tiny_runs import TUBE

VOID = {"img", "input", "br", "meta", "link", "hr", "col"}
"""Elements without an end."""

HOSTILE = '<img src=x onerror="alert(1)">&</script>'

CHECK = {"value": 0.8125, "gate": 0.5, "direction": "at least", "passed": True, "null": 0.1234, "hint": ""}


def result(place, **content):
    place.mkdir(parents=True, exist_ok=True)
    (place / "result.json").write_text(json.dumps(content))


def add_sequence(place, **changes):
    place.mkdir(parents=True)
    colmap.write(simulate(TUBE, place), place)
    said = {"accepted": True, "outcome": "accepted", "reasons": [], "frames": 9, "registered": 8, "points": 200}
    expected = {"median": 0.0312, "low": 0.0123, "high": 0.0876, "coverage": 0.9}
    said |= {"expected_error": {"path": None, "depth": expected}}
    said |= {"mean_track_length": 4.3214, "mean_reprojection_px": 0.7531, "unit": "sfm", "camera_source": "given"}
    checks = {"registered_share": {**CHECK, "sentence": "8 of 9 frames were placed"}}
    result(place, **(said | {"checks": checks} | changes))


def add_prediction(place, names, std=True):
    (place / "depth").mkdir(parents=True)
    (place / "std").mkdir()
    (place / "preview").mkdir()
    for number, name in enumerate(names):
        depth = torch.linspace(1, 3, 40).expand(30, 40) + 0.1 * number
        depth_maps.write(place / "depth" / f"{name}.tiff", depth.contiguous())
        if std:
            depth_maps.write(place / "std" / f"{name}.tiff", (0.05 * depth).contiguous())
        write_image(place / "preview" / f"{name}.png", torch.full((30, 84, 3), 120, dtype=torch.uint8))
    result(place, frames=len(names), seconds=1.0, unit="sfm")


def sheet(side=24):
    u, v = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    points = torch.stack([u, v, 3 + 0.3 * u * u], -1).reshape(-1, 3)
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).flatten()
    a, b, c, d = corner, corner + 1, corner + side, corner + side + 1
    faces = torch.cat([torch.stack([a, c, b], 1), torch.stack([b, c, d], 1)])
    colours = torch.full((len(points), 3), 150, dtype=torch.uint8)
    return Surface(points, None, colours, faces)


def add_surface(place):
    place.mkdir(parents=True)
    ply.write(sheet(), place / "surface.ply")
    (place / "scales.csv").write_text("frame,factor,measured\na,1.01,1.02\nb,0.99,nan\nc,1,0.98\n")
    result(place, vertices=576, faces=1058, unit="sfm", area=4.8765, voxel=0.0123, frames=8, scale_drift=0.01357)


def add_registration(place, **changes):
    place.mkdir(parents=True)
    target = sheet()
    ply.write(Surface(target.points * 10 + 0.4, None, None, target.faces, "mm"), place / "target.ply")
    matrix = torch.diag(torch.tensor([10.0, 10, 10, 1])).tolist()
    residual = {"mean": 0.4321, "std": 0.1234, "median": 0.3333, "inlier_share": 0.9111}
    said = {"target_from_source": matrix, "scale": 10.0, "scale_sd": 0.0707, "residual_mm": residual}
    said |= {"confidence": 0.8765, "ambiguous": False, "reasons": [], "predicted_tre_mm": 0.7654, "coverage": 0.4545}
    result(place, **(said | changes))


def add_truth(case):
    both = {"abs_rel": 0.0512, "sq_rel": 0.1, "rmse": 1.2345, "rmse_log": 0.0876, "delta1": 0.9753}
    other = both | {"abs_rel": 0.0634, "delta1": 0.9531}
    alignment = {"per_frame_median": both, "per_sequence": other}
    result(case / "depth_error", alignment=alignment, scale_drift=0.02468, protocol="dense-1", frames=8)


def add_run(place):
    result(place, recipe="tiny", steps=60, best={"abs_rel": 0.0712, "median": 0.0345, "scale_drift": 0.0021})
    (place / "log.csv").write_text("step,loss,sparse\n20,0.5,0.2\n40,0.3,0.1\n60,0.2,nan\n")
    (place / "validation.csv").write_text("step,abs_rel,median\n30,0.09,0.05\n60,0.07,0.03\n")
    record = {"command": ["depthscope", "train", "a b"], "inputs": {"clip": "ab12"}, "versions": {"torch": "2.5"}}
    (place / "provenance.yaml").write_text(yaml.safe_dump(record | {"seconds": 12.5}))


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    place = tmp_path_factory.mktemp("report") / "case"
    add_sequence(place / "sequence")
    names = [path.stem for path in sorted((place / "sequence" / "images").iterdir())]
    add_prediction(place / "prediction", names)
    add_surface(place / "surface")
    add_registration(place / "registration")
    add_run(place / "run")
    add_truth(place)
    return place


@pytest.fixture(scope="module")
def text(case):
    return page(open_case(case))


class Reader(HTMLParser):
    """Checks that elements close in order; keeps what the tests ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.problems, self.seen, self.words, self.data = [], [], [], [], []
        self.feed(text)
        self.close()
        self.problems += [f"{name} is never closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))  # the parts of a drawing

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.words.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.seen if name == tag]


def sound(text):
    """Well formed, nothing from outside, ids once, a text for every picture."""
    reader = Reader(text)
    assert reader.problems == []
    ids = [a["id"] for _, a in reader.seen if "id" in a]
    assert len(ids) == len(set(ids))
    pointed = [a["href"][1:] for a in reader.of("a")] + [a["for"] for a in reader.of("label")]
    assert set(pointed) <= set(ids)
    assert all(a.get("alt") and a.get("width") and a.get("height") for a in reader.of("img"))
    addresses = [a[key] for _, a in reader.seen for key in ("src", "href") if key in a]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not re.search(r"https?://", re.sub(r"data:[^\"]*", "", text))
    assert len(reader.of("h1")) == 1
    assert all(a.get("aria-label") for a in reader.of("svg") if a.get("role") == "img")
    return reader


def test_a_whole_case_is_one_sound_page(text):
    reader = sound(text)
    words = "".join(reader.words)
    assert (
        "Usable within limits, registered to the CT: expect an error of 0.77\N{NO-BREAK SPACE}mm at a landmark" in words
    )
    assert len(reader.of("canvas")) == 1 and len(reader.of("input")) == 1
    for heading in ("Key figures", "Video and depth", "Surface", "Distances", "Measured errors", "Training"):
        assert heading in words
    moments = [a for _, a in reader.seen if "moment" in a.get("class", "").split()]
    assert len(moments) == 8
    assert sum("Frame" in a["alt"] for a in reader.of("img")) >= 3 * len(moments)


def test_every_number_is_the_one_of_its_file(case, text):
    found = Reader(text).of("data")
    assert len(found) > 40
    for number in found:
        file, _, path = number["data-from"].partition("#")
        content = (
            json.loads((case / file).read_text("utf-8"))
            if file.endswith("json")
            else yaml.safe_load((case / file).read_text("utf-8"))
        )
        for key in path.split("/"):
            content = content[key]
        assert float(number["value"]) == content
    told = {number["data-from"] for number in found}
    assert "depth_error/result.json#alignment/per_frame_median/abs_rel" in told
    assert "depth_error/result.json#alignment/per_sequence/abs_rel" in told
    assert "depth_error/result.json#scale_drift" in told


def test_what_is_shown_is_the_number_rounded(text):
    shown = dict(re.findall(r'data-from="([^"]+)" title="[^"]+">([^<]+)</data>', text))
    assert shown["depth_error/result.json#alignment/per_sequence/abs_rel"] == "6.34\N{NO-BREAK SPACE}%"
    assert shown["registration/result.json#residual_mm/mean"].startswith("0.432")
    assert [significant(v) for v in (0.0, 0.012345, 1.0, 99.96, 1234.0, 1e-9)] == [
        "0", "0.0123", "1.00", "100.0", "1234", "1.00e-09",
    ]  # fmt: skip


SUBSETS = {
    "sequence": "depth has not been computed",
    "sequence prediction": "not been fused",
    "sequence prediction surface": "Usable for shape, not for lengths",
    "prediction": "No verdict",
    "run": "No verdict",
    "surface": "No verdict",
    "sequence surface depth_error": "not for lengths",
}


@pytest.mark.parametrize("kept, told", SUBSETS.items())
def test_any_subset_makes_a_page_that_names_what_is_missing(case, tmp_path, kept, told):
    for name in kept.split():
        shutil.copytree(case / name, tmp_path / "case" / name)
    reader = sound(page(open_case(tmp_path / "case")))
    words = "".join(reader.words)
    assert told in words
    for name in {"sequence", "run", "prediction", "surface", "registration"} - set(kept.split()):
        assert name in open_case(tmp_path / "case").missing
    assert "What is missing" in words


def test_nothing_is_said_in_mm_without_a_source(case, tmp_path):
    for name in ("sequence", "prediction", "surface"):
        shutil.copytree(case / name, tmp_path / "case" / name)
    words = "".join(Reader(page(open_case(tmp_path / "case"))).words)
    shown = re.sub(r"<(style|script).*?</\1>", "", page(open_case(tmp_path / "case")), flags=re.S)
    assert not re.search(r"\d\N{NO-BREAK SPACE}mm", shown)
    assert "not with a ruler" in words


def test_depth_and_area_are_in_mm_where_a_registration_tells_them(case, text, tmp_path):
    words = "".join(Reader(text).words).replace("\N{NO-BREAK SPACE}", " ")
    assert "depth, at the scale of the registration" in words
    assert "4.88 units\N{SUPERSCRIPT TWO}" in words and "488 mm\N{SUPERSCRIPT TWO}" in words  # 10 mm to a unit
    copy = tmp_path / "refused"
    shutil.copytree(case, copy)
    shutil.rmtree(copy / "registration")
    add_registration(copy / "registration", ambiguous=True, reasons=["two places"])
    words = "".join(Reader(page(open_case(copy))).words)
    assert "at the scale of the registration" not in words


def test_a_refusal_comes_first_with_its_reasons(tmp_path):
    check = {**CHECK, "passed": False, "sentence": "they disagree", "hint": "move slowly"}
    reasons = ["poses and flow disagree: move slowly"]
    add_sequence(
        tmp_path / "sequence", accepted=False, outcome="refused", reasons=reasons, checks={"retracking": check}
    )
    reader = sound(page(open_case(tmp_path)))
    words = "".join(reader.words)
    assert "Not usable: structure from motion was refused." in words and reasons[0] in words
    assert any("unusable" in a.get("class", "") for _, a in reader.seen)


def test_the_expected_error_of_the_reconstruction_stands_with_its_interval(case, tmp_path):
    lines = [line for sentence in verdict(open_case(case)).sentences for line in [plain(sentence)]]
    said = next(line for line in lines if line.startswith("Expected error"))
    assert "depth by 3.12" in said and "1.23" in said and "8.76" in said and "path" not in said
    add_sequence(tmp_path / "old" / "sequence", expected_error=None)  # of a version without it
    assert not any("Expected error" in plain(s) for s in verdict(open_case(tmp_path / "old")).sentences)


def test_a_truth_that_contradicts_is_said_though_the_checks_passed(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    content = json.loads((case / "depth_error" / "result.json").read_text("utf-8"))
    content["alignment"]["per_sequence"]["abs_rel"] = 0.5
    result(tmp_path / "case" / "depth_error", **content)
    assert "the ground truth of this phantom contradicts it" in page(open_case(tmp_path / "case"))


def test_an_ambiguous_registration_is_no_success(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    shutil.rmtree(tmp_path / "case" / "registration")
    add_registration(tmp_path / "case" / "registration", ambiguous=True, reasons=["two places fit"])
    words = "".join(Reader(page(open_case(tmp_path / "case"))).words)
    assert "are not known" in words and "two places fit" in words


def add_phantom(case, off=32.5, **registration):
    place = case / "patient" / "patient_1" / "clip_00"
    place.mkdir(parents=True)
    (case / "patient" / "video").symlink_to(place.relative_to(case / "patient"))
    mesh = sheet()
    ply.write(Surface(mesh.points * 20, None, None, mesh.faces, "mm"), place.parent / "anatomy.ply")
    accuracy = {"mean": 0.2, "median": 0.1, "p95": 0.6, "std": 0.2}
    true = {"target_error_mm": {"median": off}, **registration}
    result(
        case / "surface_error",
        true_from_sfm=torch.diag(torch.tensor([20.0, 20, 20, 1])).tolist(),
        scale_source="the true depth of the phantom",
        surface={"accuracy": accuracy, "completeness": accuracy},
        registration=true,
    )


def test_a_refused_registration_tells_no_millimetres_where_the_truth_does(case, tmp_path):
    for ambiguous in (False, True):
        place = tmp_path / str(ambiguous)
        shutil.copytree(case, place)
        shutil.rmtree(place / "registration")
        add_registration(place / "registration", ambiguous=ambiguous, reasons=["two places fit"])
        add_phantom(place)
        found = open_case(place)
        space = space_of(found, found.clips[0], None, 60_000)
        assert space.surface is not None and space.unit == "mm"
        extent = float(
            space.surface.points[:, 0].max()
        )  # the sheet reaches to 1 unit: 10 mm by the one, 20 by the other
        assert extent == pytest.approx(20 if ambiguous else 10)
        assert [d.against for d in space.distances][0].startswith("the true" if ambiguous else "the CT's")
        words = "".join(Reader(page(found)).words)
        assert ("it gives no millimetres" in words) == ambiguous
        assert ("Millimetres come from registration" in words) == (not ambiguous)


def test_a_registration_that_was_believed_and_is_wrong_is_no_success(case, tmp_path):
    for off, ambiguous in ((32.5, False), (0.8, False), (32.5, True)):
        place = tmp_path / f"{off}{ambiguous}"
        shutil.copytree(case, place)
        shutil.rmtree(place / "registration")
        add_registration(place / "registration", ambiguous=ambiguous, reasons=["two places fit"] * ambiguous)
        add_phantom(place, off)
        words = "".join(Reader(page(open_case(place))).words)
        assert ("the ground truth of this phantom contradicts it" in words) == (off > 3 and not ambiguous)


def test_the_true_error_of_a_registration_stands_beside_its_residual(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    add_phantom(tmp_path / "case", off=32.5)
    text = page(open_case(tmp_path / "case"))
    assert "In truth it is" in text
    shown = re.findall(r'data-from="surface_error/result.json#registration/target_error_mm/median"[^>]*>([^<]+)<', text)
    assert shown == ["32.5\N{NO-BREAK SPACE}mm"] * 2  # in the verdict and in the table of registrations


def test_what_is_too_small_to_matter_has_no_power_of_ten():
    assert spoken_amount(2.3e-15, "mm") == "under 0.0001\N{NO-BREAK SPACE}mm"
    assert spoken_amount(0.0, "mm") == "0\N{NO-BREAK SPACE}mm" and spoken_amount(0.002, "mm").startswith("0.00200")
    assert spoken_share(1.98e-5) == "under 0.01\N{NO-BREAK SPACE}%" and spoken_share(0.0316).startswith("3.16")
    assert significant(29_578.3) == "29\N{NARROW NO-BREAK SPACE}578"


@pytest.mark.parametrize("ends", [((-1.0, 0.0), (1.0, 0.1)), ((1.0, 0.0), (-1.0, 0.1)), ((0.1, -1.0), (0.2, 1.0))])
def test_names_of_a_paths_ends_stay_within_its_frame(ends):
    names = ("frame_000000", "frame_000039")
    chart = path_plot([("right", "down", list(ends))], title="t", unit="mm", names=names)
    assert chart is not None
    labels = re.findall(r'<text text-anchor="(start|end)" class="tick" x="([\d.]+)"[^>]*>([^<]+)<', chart)
    assert len(labels) == 2
    for anchor, x, text in labels:
        reach = 5.5 * len(text) * (1 if anchor == "start" else -1)
        assert 0 <= float(x) + reach <= 300


def test_the_view_is_filled_by_the_surface():
    for flat in (1.0, 0.05):  # also one that is seen on its edge
        points = sheet().points * torch.tensor([1.0, flat, 1.0])
        surface = Surface(points, None, None, sheet().faces)
        camera, motion = viewpoint(surface, None).camera((160, 100))
        pixels = camera.project(motion.apply(points.double())) / torch.tensor([160.0, 100.0])
        assert float((pixels.amax(0) - pixels.amin(0)).max()) > 0.55


def test_a_clip_view_makes_the_picture_that_is_asked_for(case):
    found = open_case(case)
    view = clip_view(found.clips[0], sequence_of(found.clips[0]), 120)
    assert view is not None and len(view.names) == 8
    for panel in ("frame", "depth", "deviation", "points"):
        picture = view.picture(view.names[2], panel)
        assert picture is not None and picture.shape[0] == 120
        assert torch.equal(picture, getattr(view.moment(view.names[2]), panel))
    with pytest.raises(KeyError):
        view.picture(view.names[2], "secret")
    assert view.number(view.names[2]) == 2 and view.number("other") is None


def test_clips_are_sections(tmp_path):
    for name in ("clip_000", "clip_001"):
        add_sequence(tmp_path / "sequence" / name, accepted=name == "clip_000")
        add_surface(tmp_path / "surface" / name)
    rows = [{"name": name, "accepted": True, "registered": 8} for name in ("clip_000", "clip_001")]
    result(tmp_path / "sequence", accepted=True, clips=rows, frames=18, registered=16, points=400, reasons=[])
    reader = sound(page(open_case(tmp_path)))
    assert [a["href"] for a in reader.of("a")] == ["#clip-0", "#clip-1"]
    assert len(reader.of("canvas")) == 2


def test_what_files_say_is_never_markup(case, tmp_path):
    place = tmp_path / "<b>&case"
    shutil.copytree(case, place)
    check = {**CHECK, "sentence": HOSTILE, "hint": HOSTILE, "passed": False}
    content = json.loads((case / "sequence" / "result.json").read_text("utf-8"))
    content |= {"checks": {HOSTILE: check}, "accepted": False, "reasons": [HOSTILE], "outcome": HOSTILE}
    result(place / "sequence", **content)
    found = json.loads((case / "registration" / "result.json").read_text("utf-8"))
    result(place / "registration", **(found | {"reasons": [HOSTILE], "scale_source": HOSTILE}))
    (place / "run" / "provenance.yaml").write_text(yaml.safe_dump({"command": [HOSTILE], "inputs": {HOSTILE: HOSTILE}}))
    reader = sound(page(open_case(place)))
    assert not any("onerror" in attributes for _, attributes in reader.seen)
    assert "".join(reader.words).count(HOSTILE) >= 5


def test_a_name_of_a_clip_is_no_way_out_of_the_case(tmp_path):
    result(tmp_path / "secret", accepted=True)
    result(tmp_path / "case" / "sequence", accepted=True, clips=[{"name": "../../secret"}])
    assert [clip.name for clip in open_case(tmp_path / "case").clips] == [""]


def test_damaged_files_are_named_and_the_rest_is_shown(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    (tmp_path / "case" / "run" / "result.json").write_text("{")
    (tmp_path / "case" / "surface" / "surface.ply").write_bytes(b"ply\nrubbish")
    next((tmp_path / "case" / "prediction" / "depth").iterdir()).write_bytes(b"no tiff")
    words = "".join(sound(page(open_case(tmp_path / "case"))).words)
    assert "run/result.json is damaged" in words and "Video and depth" in words


def test_a_page_too_large_shows_less(case):
    told = []
    full = page(open_case(case))
    small = page(open_case(case), told.append, most_bytes=len(full) - 1)
    assert len(small) < len(full) and told
    sound(small)


def test_the_command_writes_its_folder_or_one_file(case, tmp_path, capsys):
    shutil.copytree(case, tmp_path / "case")
    assert main(["report", str(tmp_path / "case")]) == 0
    written = tmp_path / "case" / "report" / "index.html"
    assert str(written) in capsys.readouterr().out
    said = json.loads((written.parent / "result.json").read_text("utf-8"))
    assert said["bytes"] == written.stat().st_size and "registration" in said["stages"]
    assert main(["report", str(tmp_path / "case"), "--out", str(tmp_path / "one.html")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case", "one.html"]


@pytest.mark.parametrize(
    "arguments, told",
    [(["nowhere"], "is no folder"), (["empty"], "holds no results"), (["empty", "--out", "a.pdf"], "ends in .html")],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_sentences_escape_and_leave_out():
    assert phrase("<b>{}</b>{}", "<&>", None) == "<b>&lt;&amp;&gt;</b>"
    assert joined("<", None, phrase("<br>"), by=" ") == "&lt; <br>"


def test_a_decimated_sheet_is_small_and_stays_where_it_was():
    fine = sheet(120)
    coarse = decimated(fine, 2000)
    assert coarse.faces is not None and 500 < len(coarse.faces) <= 2000
    assert float(distance_to(fine, coarse.points).max()) < 0.01
    assert bool((coarse.face_normals[:, 2] * fine.face_normals[0, 2] > 0).all())


def test_moved_cameras_see_the_same_pixels():
    turn = RigidMotion.from_quaternion(
        torch.tensor([0.8, 0.2, -0.5, 0.1], dtype=torch.float64), torch.randn(3).double()
    )
    there_from_here = Similarity(torch.tensor(2.5, dtype=torch.float64), turn)
    cameras = RigidMotion.identity(2)
    points = torch.randn(7, 3).double() + torch.tensor([0, 0, 5.0])
    seen = moved_cameras(cameras, there_from_here)[0].apply(there_from_here.apply(points))
    assert torch.allclose(seen[:, :2] / seen[:, 2:], points[:, :2] / points[:, 2:])


def test_the_viewpoint_looks_at_the_surface():
    surface = sheet()
    camera, motion = viewpoint(surface, None).camera((160, 100))
    pixels = camera.project(motion.apply(surface.points.double()))
    assert bool(((pixels > 0) & (pixels < torch.tensor([160.0, 100.0]))).all())


def test_charts_leave_out_what_is_not_finite():
    chart = line_chart([Line("a", (1.0, 2.0, 3.0), (1.0, float("nan"), 2.0))], title="t", across="x", up="y")
    assert chart is not None and "nan" not in chart
    assert line_chart([Line("a", (1.0,), (float("nan"),))], title="t", across="x", up="y") is None
    bars = histogram([0.1, 0.2, 9.0], title="t", across="x", up="y", most=1.0, colours=["#000"] * 10)
    assert bars is not None and bars.count("<rect") == 10


def test_only_the_scripts_of_the_page_may_run(case):
    made = page(open_case(case))
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)[0].replace("&#x27;", "'")
    nonce = re.findall("script-src 'nonce-([0-9a-f]{32})'", policy)[0]
    assert "base-uri 'none'" in policy and "form-action 'none'" in policy and "script-src 'unsafe" not in policy
    scripts = re.findall(r"<script([^>]*)>", made)
    assert scripts.count(f' nonce="{nonce}"') == 3
    assert all("nonce" in one or "application/json" in one for one in scripts)
    assert made == page(open_case(case))  # the same case makes the same file


def headline(place, **stages):
    """The verdict on an accepted reconstruction with a surface and what else is given."""
    result(place / "sequence", accepted=True, frames=9, registered=8, points=200)
    result(place / "surface", area=1.0, unit="sfm")
    for name, content in stages.items():
        result(place / name, **content)
    return verdict(open_case(place))


def registered(expected=0.7, apart=0.9, sure=0.97, **changes):
    found = {"residual_mm": {"mean": 0.4}, "predicted_tre_mm": expected, "residual_all_vertices_mm": apart}
    return found | {"confidence": sure, "ambiguous": False, "scale": 2.0} | changes


def measured(p95, off=None):
    accuracy = {"median": p95 / 4, "mean": p95 / 3, "p95": p95}
    registration = {} if off is None else {"target_error_mm": {"median": off / 3, "p95": off}}
    return {"surface": {"accuracy": accuracy}, "registration": registration}


WORDS = [
    ({}, "limited", "Usable for shape, not for lengths: nothing here gives a scale in millimetres."),
    ({"surface_error": measured(7.9)}, "limited", "Usable for shape: 5 % of the wall is more than 7.9 mm off."),
    (
        {"surface_error": measured(1.2)},
        "usable",
        "Usable for shape: 95 % of the wall is within 1.2 mm of the true one.",
    ),
    (
        {"registration": registered(), "surface_error": measured(0.9, 1.5)},
        "usable",
        "Usable in millimetres: 95 % of the wall is within 1.5 mm of its true place.",
    ),
    (
        {"registration": registered(), "surface_error": measured(0.9, 7.9)},
        "limited",
        "Usable for shape: 5 % of the wall is more than 7.9 mm off.",
    ),
    (
        {"registration": registered()},
        "usable",
        "Usable in millimetres by registration to the CT: expect an error of 0.70 mm at a landmark; on average the "
        "surface lies 0.90 mm from the CT's wall.",
    ),
    (
        {"registration": registered(expected=3.5, sure=0.6)},
        "limited",
        "Usable within limits, registered to the CT: expect an error of 3.5 mm at a landmark; on average the surface "
        "lies 0.90 mm from the CT's wall; the registration is right with a probability of only 60.0 %.",
    ),
    (
        {"registration": registered(ambiguous=True), "surface_error": measured(7.9)},
        "limited",
        "Usable for shape: 5 % of the wall is more than 7.9 mm off, and its place in the CT is not known.",
    ),
    (
        {"registration": registered(ambiguous=True)},
        "limited",
        "Usable for shape only: its place and its size in the CT are not known.",
    ),
]


@pytest.mark.parametrize("stages, standing, words", WORDS)
def test_the_headline_says_the_limit(tmp_path, stages, standing, words):
    found = headline(tmp_path, **stages)
    assert found.standing == standing and found.text.replace("\N{NO-BREAK SPACE}", " ") == words


@pytest.mark.parametrize("stage", ["expected", "apart", "truth", "off"])
@pytest.mark.parametrize("millimetres", [0.3, 1.9, 2.1, 7.9, 60.0])
def test_nothing_with_a_large_error_is_plainly_usable(tmp_path, stage, millimetres):
    if stage in ("expected", "apart"):
        found = headline(tmp_path, registration=registered(**{stage: millimetres}))
    else:
        truth = measured(millimetres) if stage == "truth" else measured(0.2, millimetres)
        found = headline(tmp_path, registration=registered(), surface_error=truth)
    assert (found.standing == "usable") == (millimetres <= SMALL_MM)
    assert found.standing == "usable" or found.label != "Usable"


def test_the_first_screen_holds_picture_verdict_research_use_and_metadata(text):
    first = text[text.index("<header>") : text.index("</header>")]
    reader = Reader(first)
    assert len(reader.of("img")) == 3 and RESEARCH_USE in first and reader.of("h1")
    words = " ".join(" ".join(reader.words).split())
    assert "Frames 8 of 9 placed" in words and "Camera" in words and "Case case" in words


def test_no_row_is_of_another_patient_and_every_column_has_a_name(text):
    assert "Liu et al" not in text and "patient 1" not in text
    reader = Reader(text)
    heads = re.findall(r'<th scope="col">([^<]*)</th>', text)
    assert len(heads) > 10 and all(heads) and len(reader.of("caption")) == len(reader.of("table"))


def test_downloads_are_the_registered_surface(case, tmp_path):
    import nibabel
    import trimesh

    shutil.copytree(case, tmp_path / "case")
    assert main(["report", str(tmp_path / "case")]) == 0
    folder = tmp_path / "case" / "report"
    links = [a["href"] for a in Reader((folder / "index.html").read_text("utf-8")).of("a") if "download" in a]
    names = {"surface.ply", "surface.stl", "surface.glb", "surface.nii.gz", "camera_path.csv", "figures.csv"}
    assert set(links) == {f"downloads/{name}" for name in names} and all((folder / link).is_file() for link in links)
    expected = sheet().points * 10  # the registration brings one unit to 10 mm
    saved = ply.read(folder / "downloads" / "surface.ply")
    assert torch.allclose(saved.points.float(), expected, atol=1e-3) and saved.unit == "mm"
    stl = trimesh.load(folder / "downloads" / "surface.stl")
    assert stl.bounds.ravel().tolist() == pytest.approx(
        [*expected.amin(0).tolist(), *expected.amax(0).tolist()], abs=1e-3
    )
    glb = trimesh.load(folder / "downloads" / "surface.glb", force="mesh")
    x, _, z = (expected / 1000).amax(0).tolist()
    assert glb.bounds[1].tolist() == pytest.approx([x, z, -float((expected / 1000).amin(0)[1])], abs=1e-6)
    image = nibabel.load(folder / "downloads" / "surface.nii.gz")
    inside = nibabel.affines.apply_affine(image.affine, np.argwhere(image.get_fdata() > 0))
    lps = torch.from_numpy(inside * [-1, -1, 1])
    assert float(distance_to(Surface(expected, None, None, sheet().faces), lps.float()).max()) < 0.5
    assert len(lps) > 1200  # a sheet of 20 x 20 mm in voxels of 0.5 mm
    rows = (folder / "downloads" / "camera_path.csv").read_text("utf-8").splitlines()
    assert rows[0].startswith("frame,x_mm") and len(rows) == 9
    figures = (folder / "downloads" / "figures.csv").read_text("utf-8")
    assert "registration/result.json,residual_mm/mean,0.4321" in figures


def test_a_label_map_takes_the_grid_of_the_ct(tmp_path):
    import nibabel

    affine = np.array([[-0.7, 0, 0, 12], [0, -0.7, 0, 14], [0, 0, 1.2, 20], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.zeros((40, 42, 30), np.int16), affine), tmp_path / "ct.nii.gz")
    surface = Surface(sheet().points * 10, None, None, sheet().faces, "mm")
    write_label_map(surface, tmp_path / "label.nii.gz", tmp_path / "ct.nii.gz")
    image = nibabel.load(tmp_path / "label.nii.gz")
    assert image.shape == (40, 42, 30) and np.allclose(image.affine, affine)
    (tmp_path / "ct.nii.gz").write_bytes(b"none")
    write_label_map(surface, tmp_path / "label.nii.gz", tmp_path / "ct.nii.gz")
    assert np.allclose(np.abs(np.diag(nibabel.load(tmp_path / "label.nii.gz").affine)[:3]), 0.5)


def test_numbers_of_a_result_are_found_by_their_keys():
    content = {"a": {"b": 1.5}, "rows": [1, 2], "long": list(range(99)), "yes": True, "word": "x"}
    assert dict(numbers(content)) == {"a/b": 1.5, "rows/0": 1, "rows/1": 2}


def test_a_mesh_in_free_units_keeps_its_size_in_gltf(tmp_path):
    import trimesh

    write_mesh(as_gltf(sheet(), False), tmp_path / "a.glb")
    found = trimesh.load(tmp_path / "a.glb", force="mesh")
    assert found.extents.max() == pytest.approx(2, abs=1e-5) and found.bounds[0][2] < -3  # forward is -z


def test_loose_triangles_are_decimated_too():
    points = torch.rand(9000, 3)
    small = decimated(Surface(points, None, None, torch.arange(9000).reshape(-1, 3)), 500)
    assert small.faces is not None and len(small.faces) <= 500


def test_the_path_of_the_camera_is_not_drawn_across_a_jump():
    """Two clips joined into one map: no line from the end of one to the start of the other."""
    along = torch.tensor([0.0, 1, 2, 3, 4, 50, 51, 52, 53])
    cameras = RigidMotion(torch.eye(3).expand(9, 3, 3), -torch.stack([along, 0 * along, 0 * along], -1))
    assert path(cameras)["jumps"] == [5]
    assert path(RigidMotion.identity(3))["jumps"] == [] and path(RigidMotion.identity(1))["jumps"] == []
