"""The viewer: served to this machine alone, pictures when they are asked for, and honest about what is not there."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.client import HTTPConnection

import av
import cv2
import nibabel
import numpy as np
import pytest
import torch
import yaml

from depthscope.cli import main
from depthscope.errors import BadInputError
from depthscope.formats import colmap, ply
from depthscope.geometry import Camera, RigidMotion, Surface
from depthscope.report import open_case
from depthscope.viewer import fly_through, open_scene, serving, smoothed
from depthscope.viewer.scene import about
from depthscope.viewer.server import HOST, KEPT, PORT, Drawn
from depthscope.viewer.slices import Slices
from test_report import Reader, add_prediction, add_registration, add_sequence, add_surface, result, sheet


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewer") / "case"
    add_sequence(place / "sequence")
    add_prediction(place / "prediction", [path.stem for path in sorted((place / "sequence" / "images").iterdir())])
    add_surface(place / "surface")
    add_registration(place / "registration")
    return place


@pytest.fixture(scope="module")
def drawn(case):
    return Drawn(case)


@pytest.fixture
def server(drawn):
    with serving(drawn, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetched(server, path, host=None):
    port = server.server_address[1]
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.request("GET", path, headers={"Host": host or f"{HOST}:{port}"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def data_of(text, number=0):
    """What the page tells its scripts: the surface, and the frames."""
    blocks = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    return json.loads(blocks[number])


def test_the_page_shows_what_there_is_and_may_load_nothing_from_elsewhere(server):
    status, headers, body = fetched(server, "/")
    text = body.decode()
    reader = Reader(text)
    assert status == 200 and reader.problems == [] and headers["Cache-Control"] == "no-store"
    policy = next(a["content"] for a in reader.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "connect-src" not in policy
    assert headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    nonces = set(re.findall("'nonce-([0-9a-f]{32})'", policy))
    scripts = [a for a in reader.of("script") if a.get("type") != "application/json"]
    assert len(nonces) == 1 and len(scripts) == 4 and {a.get("nonce") for a in scripts} == nonces
    assert "base-uri 'none'" in policy and "form-action 'none'" in policy and "script-src 'unsafe" not in policy
    assert nonces.isdisjoint(re.findall("nonce-([0-9a-f]+)", fetched(server, "/")[2].decode()))  # one for each answer
    assert not re.search(r"https?://", re.sub(r"data:[^\"]*", "", text))
    acts = {a.get("data-act") or a.get("data-look") or a.get("data-panel") for a in reader.of("button")}
    assert {"around", "path", "follow", "distance", "depth", "deviation", "points"} <= acts
    surface, frames = data_of(text), data_of(text, 1)
    assert surface["most"] > 0 and surface["unit"] == "mm" and "around" in surface
    assert len(surface["turns"]) == 3 * len(surface["centres"]) == 9 * 8
    assert frames["frames"] == list(range(8)) and len(frames["names"]) == 8


def test_pictures_are_those_of_the_frame(server, drawn):
    names = open_scene(open_case(drawn.place), 0).view.names
    for panel in ("frame", "depth", "deviation", "points"):
        status, headers, body = fetched(server, f"/clip-0/{panel}/3.jpg")
        picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert status == 200 and headers["Content-Type"] == "image/jpeg" and picture.shape[0] == 480
    stored = cv2.imread(str(drawn.place / "sequence" / "images" / f"{names[3]}.png"))
    shown = cv2.imdecode(np.frombuffer(fetched(server, "/clip-0/frame/3.jpg")[2], np.uint8), cv2.IMREAD_COLOR)
    small = cv2.resize(shown, stored.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - stored).mean() < 6
    assert fetched(server, "/clip-0/depth/3.jpg")[2] != fetched(server, "/clip-0/depth/7.jpg")[2]


@pytest.mark.parametrize(
    "path",
    [
        "/clip-0/frame/8.jpg",
        "/clip-1/frame/0.jpg",
        "/clip-0/secret/0.jpg",
        "/clip-0/frame/../../case.json",
        "/../../../../etc/passwd",
        "/%2e%2e/case.json",
        "/clip-1.html",
        "/sequence/result.json",
        "/clip-0/frame/99999999999.jpg",
    ],
)
def test_nothing_else_is_served(server, path):
    assert fetched(server, path)[0] == 404


def test_other_names_for_this_machine_are_refused(server):
    for host in ("evil.example", f"evil.example:{server.server_address[1]}", "127.0.0.1:1"):
        assert fetched(server, "/", host)[0] == 403
    assert fetched(server, "/clip-0/frame/0.jpg", f"localhost:{server.server_address[1]}")[0] == 200


def test_only_this_machine_can_reach_it(server):
    assert server.server_address[0] == "127.0.0.1"


def test_pictures_are_kept_within_bounds(drawn):
    kept = drawn._picture.cache_info().maxsize
    assert kept == KEPT and drawn._scene.cache_info().maxsize == 2


def test_a_frame_that_was_cut_short_is_missing_and_the_others_are_not(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    cut = sorted((tmp_path / "case" / "prediction" / "depth").iterdir())[2]
    cut.write_bytes(cut.read_bytes()[:50])
    drawn = Drawn(tmp_path / "case")
    assert drawn.answer("/") is not None
    assert drawn.answer("/clip-0/depth/2.jpg") is None and drawn.answer("/clip-0/depth/3.jpg") is not None


def without(case, place, *names):
    shutil.copytree(case, place)
    for name in names:
        shutil.rmtree(place / name)
    return Drawn(place)


def page_of(drawn):
    found = drawn.answer("/")
    assert found is not None
    return found[1].decode()


def test_a_case_without_a_surface_shows_the_video_and_says_how_to_get_one(case, tmp_path):
    text = page_of(without(case, tmp_path / "case", "surface", "registration"))
    assert "No surface here yet" in text and "depthscope fuse" in text and "<canvas" not in text
    assert data_of(text)["names"]


def test_a_case_without_a_registration_has_no_ct_and_no_millimetres(case, tmp_path):
    text = page_of(without(case, tmp_path / "case", "registration"))
    surface = data_of(text)
    assert "around" not in surface and "errors" not in surface and surface["unit"] == "units"
    assert "No registration" in text and "Lengths are in free units." in text


def test_a_refused_registration_is_named(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    shutil.rmtree(tmp_path / "case" / "registration")
    add_registration(tmp_path / "case" / "registration", ambiguous=True, reasons=["two places fit"])
    text = page_of(Drawn(tmp_path / "case"))
    assert "The registration was refused" in text and "a refused registration" in text


def test_a_half_written_case_shows_what_is_there(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    (tmp_path / "case" / "surface" / "surface.ply").write_bytes(b"ply\nformat binary_little_endian 1.0\nelement ver")
    (tmp_path / "case" / "registration" / "result.json").write_text('{"target_from_source": [[1, 0')
    (tmp_path / "case" / "prediction" / "result.json").unlink()
    assert "No surface here yet" in page_of(Drawn(tmp_path / "case"))


def test_frames_without_a_sequence_come_from_the_previews(case, tmp_path):
    drawn = without(case, tmp_path / "case", "sequence", "surface", "registration")
    text = page_of(drawn)
    assert drawn.answer("/clip-0/frame/0.jpg") is not None and data_of(text)["frames"] == [-1] * 8


def test_a_page_is_made_anew_when_the_case_has_changed(case, tmp_path):
    drawn = without(case, tmp_path / "case", "registration")
    assert "No registration" in page_of(drawn)
    add_registration(tmp_path / "case" / "registration")
    assert "No registration" not in page_of(drawn)


def test_clips_have_pages_of_their_own(tmp_path):
    for name in ("clip_000", "clip_001"):
        add_sequence(tmp_path / "sequence" / name)
        add_surface(tmp_path / "surface" / name)
    rows = [{"name": name, "accepted": True, "registered": 8} for name in ("clip_000", "clip_001")]
    result(tmp_path / "sequence", accepted=True, clips=rows, frames=18, registered=16, points=400, reasons=[])
    drawn = Drawn(tmp_path)
    text = page_of(drawn)
    assert [a["href"] for a in Reader(text).of("a")] == ["index.html", "clip-1.html"]
    found = drawn.answer("/clip-1.html")
    assert found is not None and data_of(found[1].decode(), 1)["place"] == "clip-1"


def test_what_files_say_is_never_markup(case, tmp_path):
    place = tmp_path / "<b>&case"
    shutil.copytree(case, place)
    assert "<b>" not in page_of(Drawn(place))


def test_nothing_to_show_is_one_line(tmp_path, capsys):
    result(tmp_path / "case" / "run", steps=3)
    assert main(["view", str(tmp_path / "case"), "--no-browser"]) == 2
    assert main(["view", str(tmp_path / "nowhere")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "neither frames nor a surface" in told[0] and "is no folder" in told[1]


def test_a_port_that_is_taken_is_told_or_stepped_over(case, drawn, capsys):
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        taken = other.getsockname()[1]
        assert main(["view", str(case), "--no-browser", "--port", str(taken)]) == 2
        assert f"port {taken} cannot be used" in capsys.readouterr().err
        with pytest.raises(BadInputError, match="0 to 65535"):
            serving(drawn, 70_000)
    with serving(drawn) as first, serving(drawn) as second:
        ports = first.server_address[1], second.server_address[1]
        assert ports[0] != ports[1] and all(PORT <= port < PORT + 20 for port in ports)


def test_the_command_serves_until_it_is_interrupted(case):
    code = "import sys; from depthscope.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-u", "-c", code, "view", str(case), "--no-browser", "--port", "0"]
    # A shell that started the tests in the background has them ignore interrupts, and what is ignored is inherited.
    heeded = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeded)
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found is not None, (line, child.stderr.read() if child.poll() is not None and child.stderr else "")
        connection = HTTPConnection(HOST, int(found[1]), timeout=60)
        connection.request("GET", "/clip-0/depth/0.jpg")
        assert connection.getresponse().status == 200
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 0 and "viewer ended" in child.stdout.read()
    finally:
        child.kill()


def test_a_folder_of_files_holds_every_picture_of_the_page(case, tmp_path):
    out = tmp_path / "out"
    assert main(["view", str(case), "--out", str(out)]) == 0
    text = (out / "index.html").read_text(encoding="utf-8")
    frames = data_of(text, 1)
    panels = {a["data-panel"] for a in Reader(text).of("button") if "data-panel" in a} | {"frame"}
    for panel in panels:
        assert len(list((out / "clip-0" / panel).glob("*.jpg"))) == len(frames["names"]) == 8
    written = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert written["pictures"] == 8 * len(panels) and (out / "provenance.yaml").is_file()
    assert main(["view", str(case), "--out", str(case)]) == 2


def test_the_ct_is_cut_to_what_lies_about_the_surface():
    far = sheet()
    far = Surface(torch.cat([far.points, far.points + 100]), None, None, torch.cat([far.faces, far.faces + 576]))
    kept = about(far, sheet())
    assert kept is not None and len(kept.points) == 576 and float(kept.points.max()) < 10
    assert about(Surface(sheet().points + 100, None, None, sheet().faces), sheet()) is None


def straight(count, jitter=0.0):
    generator = torch.Generator().manual_seed(0)
    places = torch.zeros(count, 3, dtype=torch.float64)
    places[:, 2] = torch.linspace(0, 1, count, dtype=torch.float64)
    places += jitter * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return RigidMotion(torch.eye(3, dtype=torch.float64).expand(count, 3, 3), -places)


def test_a_smoothed_path_is_quieter_and_goes_the_same_way():
    path = smoothed(straight(60, 0.02), 120)
    steps = path.origin.diff(dim=0)
    assert path.defects() == [""] * 120
    assert float(steps.diff(dim=0).norm(dim=-1).max()) < 0.1 * 0.02
    assert float((path.origin[:, 2] - torch.linspace(0, 1, 120)).abs().max()) < 0.06
    same = smoothed(straight(7), 7, smoothing=0.0)
    assert torch.allclose(same.origin, straight(7).origin)


def test_a_quaternion_and_its_negative_do_not_cancel():
    half = torch.linspace(0, 3.6, 50, dtype=torch.float64)  # past a turn of pi, where w changes its sign
    zero = torch.zeros_like(half)
    turns = RigidMotion.from_quaternion(
        torch.stack([half.cos(), zero, half.sin(), zero], 1), torch.zeros(50, 3).double()
    )
    path = smoothed(turns, 50, smoothing=0.02)
    angle = (path[1:] @ path[:-1].inverse()).angle_rad
    assert float(angle[5:-5].min()) > 0.5 * float(angle[5:-5].max()) > 0


def test_one_camera_is_a_flight_that_stands_still():
    path = smoothed(straight(1), 5)
    assert torch.allclose(path.origin, torch.zeros(5, 3).double())
    with pytest.raises(BadInputError, match="0 cameras"):
        smoothed(straight(1)[:0], 5)


def test_the_flight_sees_the_surface_brighter_where_it_faces_the_light():
    camera = Camera((40, 30), (40.0, 40.0), (20.0, 15.0))
    wall = Surface(
        torch.tensor([[-9.0, -9, 3], [9, -9, 3], [9, 9, 3], [-9, 9, 3]]),
        None,
        torch.full((4, 3), 100, dtype=torch.uint8),
        torch.tensor([[0, 2, 1], [0, 3, 2]]),
    )
    picture = next(fly_through(wall, camera, straight(1)))
    assert picture.shape == (30, 40, 3) and picture.dtype == torch.uint8
    assert int(picture[15, 20, 0]) == pytest.approx(100, abs=2)  # at the distance of the middle, seen straight
    assert int(picture[0, 0, 0]) < int(picture[15, 20, 0])
    away = RigidMotion(torch.diag(torch.tensor([-1.0, 1, -1])).double()[None], torch.zeros(1, 3).double())
    assert bool((next(fly_through(wall, camera, away)) == 24).all())


def test_a_flight_is_a_video_of_the_wanted_size(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    cameras = colmap.read(tmp_path / "case" / "sequence").camera_from_world
    ahead = cameras[4].inverse().apply(sheet().points.double())  # where the cameras look
    shades = (torch.rand(len(ahead), 3, generator=torch.Generator().manual_seed(1)) * 255).byte()
    ply.write(Surface(ahead.float(), None, shades, sheet().faces), tmp_path / "case" / "surface" / "surface.ply")
    start = time.perf_counter()
    out = tmp_path / "new" / "flight.mp4"
    assert main(["view", str(tmp_path / "case"), "--fly-through", str(out), "--frames", "40", "--width", "320"]) == 0
    assert time.perf_counter() - start < 60
    with av.open(str(out)) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 40 and frames[0].shape[1] == 320
    assert len(np.unique(frames[20].reshape(-1, 3), axis=0)) > 20
    assert [path.name for path in out.parent.iterdir()] == ["flight.mp4"]


@pytest.mark.parametrize(
    "removed, given, told",
    [
        (("surface",), ["flight.mp4"], "no surface to fly through"),
        (("sequence",), ["flight.mp4"], "cannot be read"),
        ((), ["flight.avi"], "ends in .mp4"),
        ((), ["flight.mp4", "--frames", "0"], "--frames 0"),
        ((), ["flight.mp4", "--clip", "other"], "no clip 'other'"),
    ],
)
def test_what_a_flight_needs(case, tmp_path, capsys, removed, given, told):
    without(case, tmp_path / "case", *removed)
    words = ["view", str(tmp_path / "case"), "--fly-through", str(tmp_path / given[0]), *given[1:]]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["case"]


def test_a_surface_without_colours_flies_as_clay(tmp_path):
    ply.write(Surface(sheet().points, None, None, sheet().faces), tmp_path / "plain.ply")
    camera = Camera((40, 30), (40.0, 40.0), (20.0, 15.0))
    picture = next(fly_through(ply.read(tmp_path / "plain.ply"), camera, straight(1)))
    assert len(picture.reshape(-1, 3).unique(dim=0)) > 5


@pytest.fixture
def guarded(drawn):
    with serving(drawn, 0, HOST) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(server, path, **headers):
    connection = HTTPConnection(HOST, server.server_address[1], timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders())


def test_with_a_host_nothing_is_answered_without_the_token(guarded):
    assert len(guarded.token) >= 30 and guarded.address.endswith(f"/?token={guarded.token}")
    for path in ("/", "/clip-0/frame/0.jpg", "/?token=", "/?token=wrong", f"/?other={guarded.token}"):
        assert asked(guarded, path)[0] == 403
    assert asked(guarded, "/", Cookie="depthscope_token=wrong")[0] == 403
    assert asked(guarded, "/", Cookie=f"other={guarded.token}")[0] == 403


def test_the_token_goes_from_the_address_into_a_cookie(guarded):
    status, headers = asked(guarded, f"/clip-0/frame/0.jpg?token={guarded.token}", Host="far.example")
    assert status == 303 and headers["Location"] == "./0.jpg"
    kept = headers["Set-Cookie"]
    assert "HttpOnly" in kept and "SameSite=Strict" in kept
    for path in ("/", "/clip-0/frame/0.jpg"):
        assert asked(guarded, path, Cookie=f"a=b; {kept.partition(';')[0]}", Host="far.example")[0] == 200


def test_every_server_has_a_token_of_its_own(drawn):
    with serving(drawn, 0, HOST) as first, serving(drawn, 0, HOST) as second, serving(drawn, 0) as third:
        assert first.token != second.token and third.token == ""
    with pytest.raises(BadInputError, match="--host nowhere.invalid"):
        serving(drawn, 0, "nowhere.invalid")


def test_slices_lie_where_the_ct_says(tmp_path):
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])  # voxels of 1 x 1 x 2 mm; RAS, so that LPS is (i - 30, j - 30, 2 k)
    affine[:3, 3] = 30, 30, 0
    values = np.full((60, 60, 30), -1000, np.int16)
    values[40:, :, :] = 1200  # the patient's left is white from x = 9.5 on
    values[:, :, 20:] = 1200  # and the head from z = 39 on
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "ct.nii.gz")
    slices = Slices(tmp_path / "ct.nii.gz", (-20.0, -20.0, 10.0), 1.0, (41, 41, 41))
    axial, coronal = slices.picture("axial", 0), slices.picture("coronal", 20)
    assert axial is not None and coronal is not None and slices.picture("axial", 41) is None
    uneven = Slices(tmp_path / "ct.nii.gz", (-20.0, -20.0, 10.0), 1.0, (31, 21, 11))
    for plane, count, shape in (("axial", 11, (21, 31)), ("coronal", 21, (11, 31)), ("sagittal", 31, (11, 21))):
        last = uneven.picture(plane, count - 1)
        assert last is not None and uneven.picture(plane, count) is None and uneven.count(plane) == count
        assert last.shape[0] * shape[1] == last.shape[1] * shape[0]
    factor = axial.shape[0] // 41
    assert axial.shape == (41 * factor, 41 * factor, 3)
    row = axial[20 * factor, ::factor, 0].tolist()
    assert row[:29] == [0] * 29 and row[31:] == [255] * 10  # left is on the right, from x = 9.5
    column = coronal[::factor, 5 * factor, 0].tolist()
    assert column[:10] == [255] * 10 and column[14:] == [0] * 27  # the head is up


def test_the_ct_of_a_registration_is_found_in_its_provenance(case, tmp_path):
    shutil.copytree(case, tmp_path / "case")
    place = tmp_path / "case"
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.int16), np.eye(4)), place / "ct.nii.gz")
    inputs = {str(place / "surface"): "a", str(place / "ct.nii.gz"): "b", str(place / "sequence"): "c"}
    (place / "registration" / "provenance.yaml").write_text(yaml.safe_dump({"inputs": inputs}))
    scene = open_scene(open_case(place), 0)
    assert scene.slices is not None and scene.slices.ct == place / "ct.nii.gz"
    low, high = torch.tensor(scene.slices.low), scene.space.surface.points.amin(0).float()
    assert torch.allclose(high - low, torch.full((3,), 12.0), atol=1e-4)
    assert open_scene(open_case(case), 0).slices is None  # no CT to be found


def test_other_clips_of_the_same_ct_are_drawn_with_a_clip(tmp_path):
    for name, target, ambiguous in (("a", "CT", False), ("b", "CT", False), ("c", "CT", True), ("d", "other", False)):
        add_sequence(tmp_path / "sequence" / name)
        add_surface(tmp_path / "surface" / name)
        add_registration(tmp_path / "registration" / name, target=target, ambiguous=ambiguous)
    rows = [{"name": name, "accepted": True, "registered": 8} for name in "abcd"]
    result(tmp_path / "sequence", accepted=True, clips=rows, frames=36, registered=32, points=800, reasons=[])
    found = open_case(tmp_path)
    assert [name for name, _ in open_scene(found, 0).others] == ["b"]  # neither a refused one nor one of another CT
    assert open_scene(found, 2).others == ()
    (other,) = open_scene(found, 0).other_surfaces
    assert other["name"] == "b" and len(other["centres"]) == 3 * 8 and other["mesh"]["faces"]


def test_depth_is_in_millimetres_where_a_registration_gives_them(case, tmp_path):
    assert re.search(r"depth, at the scale of the registration: [0-9.]+ mm", page_of(Drawn(case)))
    text = page_of(without(case, tmp_path / "case", "registration"))
    assert re.search(r"depth: [0-9.]+ units", text)
