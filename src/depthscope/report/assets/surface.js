// A surface to turn, zoom, shift and measure, drawn by three.js; its picture stays where WebGL is missing.
// The event "moment" with the number of a frame moves the camera that is drawn (-1: none).
// All lengths are scaled so that the surface is about 1 large; `extent` brings them back to the case's unit.
"use strict";
(() => {
  const T = THREE;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const vector = (values, at = 0) => new T.Vector3(values[at], values[at + 1], values[at + 2]);
  const CLAY = [232, 205, 190], PATH = 0xf28c28, OTHERS = [[122, 176, 232], [150, 205, 130], [214, 150, 220], [230, 200, 90]];

  // Light comes from the eye. The back of the wall is grey-blue; glass is seen best where one looks along it.
  const VERTEX = `
    attribute vec3 tone; varying vec3 base, turned, seen;
    void main() {
      vec4 at = modelViewMatrix * vec4(position, 1.0);
      base = tone; turned = normalMatrix * normal; seen = at.xyz;
      gl_Position = projectionMatrix * at;
    }`;
  const FRAGMENT = `
    uniform float shading, glass, twoSided; uniform vec3 back;
    varying vec3 base, turned, seen;
    void main() {
      float facing = dot(normalize(turned), -normalize(seen)), edge = 1.0 - abs(facing);
      float light = mix(1.0, 0.28 + 0.72 * abs(facing), shading);
      vec3 colour = facing < -0.05 && twoSided < 0.5 ? mix(base, back, 0.75) : base;
      gl_FragColor = vec4(colour * light, mix(1.0, 0.05 + 0.5 * edge * edge, glass));
    }`;
  function paint(options = {}) {
    const { shading = 0.3, glass = 0, twoSided = 0 } = options;
    return new T.ShaderMaterial({
      vertexShader: VERTEX, fragmentShader: FRAGMENT, side: T.DoubleSide, transparent: glass > 0, depthWrite: !glass,
      uniforms: { shading: { value: shading }, glass: { value: glass }, twoSided: { value: twoSided }, back: { value: new T.Vector3(0.36, 0.38, 0.42) } },
    });
  }

  function start(box) {
    const canvas = box.querySelector("canvas"), said = JSON.parse(box.querySelector("script").textContent);
    let renderer;
    try { renderer = new T.WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true }); } catch { return; }
    const alone = "alone" in box.dataset, scene = new T.Scene(), camera = new T.PerspectiveCamera(said.field_deg, 1, 0.002, 30);
    const middle = vector(said.middle), extent = said.extent;
    const toUnit = (point) => point.sub(middle).divideScalar(extent);

    // A mesh of the page: 16-bit places about their own middle.
    function meshOf(data, colour) {
      const raw = new Int16Array(bytes(data.points).buffer), places = new Float32Array(raw.length), own = vector(data.middle);
      for (let i = 0; i < raw.length; i += 3) {
        for (let k = 0; k < 3; k++) places[i + k] = (raw[i + k] / 32767 * data.extent + own.getComponent(k) - middle.getComponent(k)) / extent;
      }
      const made = new T.BufferGeometry();
      made.setAttribute("position", new T.BufferAttribute(places, 3));
      made.setIndex(new T.BufferAttribute(new Uint16Array(bytes(data.faces).buffer), 1));
      made.computeVertexNormals();
      made.setAttribute("tone", evenly(raw.length, colour));
      return made;
    }
    function evenly(length, colour) {
      const values = new Uint8Array(length);
      for (let i = 0; i < length; i++) values[i] = colour[i % 3];
      return new T.BufferAttribute(values, 3, true);
    }

    const geometry = meshOf(said, CLAY), length = geometry.attributes.position.array.length;
    const looks = { clay: [geometry.attributes.tone, 1] };
    if (said.colours) looks.colours = [new T.BufferAttribute(bytes(said.colours), 3, true), 0.15];
    if (said.errors) {
      const levels = bytes(said.errors), palette = bytes(box.dataset.palette), painted = new Uint8Array(length);
      for (let n = 0; n < length / 3; n++) for (let i = 0; i < 3; i++) painted[3 * n + i] = palette[3 * levels[n] + i];
      looks.distance = [new T.BufferAttribute(painted, 3, true), 0.35];
    }
    const wall = new T.Mesh(geometry, paint());
    scene.add(wall);
    let look = box.dataset.look in looks ? box.dataset.look : "clay";
    const wear = () => { geometry.setAttribute("tone", looks[look][0]); wall.material.uniforms.shading.value = looks[look][1]; };
    wear();

    const lines = (points, colour) => {
      const made = new T.LineSegments(new T.BufferGeometry().setFromPoints(points), new T.LineBasicMaterial({ color: colour, toneMapped: false }));
      scene.add(made);
      return made;
    };
    const home = { rotation: said.rotation, target: toUnit(vector(said.target)), distance: said.distance / extent };
    const ball = new T.SphereGeometry(0.0016 * home.distance, 10, 8);
    // The path of a camera as a line that is thick enough to be seen: beads on a thread.
    function pathOf(centres, jumps, colour) {
      const places = [];
      for (let i = 0; i < centres.length; i += 3) places.push(toUnit(vector(centres, i)));
      const thread = lines(places.slice(1).flatMap((place, i) => jumps.includes(i + 1) ? [] : [places[i], place]), colour);
      const beads = new T.InstancedMesh(ball, new T.MeshBasicMaterial({ color: colour, toneMapped: false }), places.length);
      places.forEach((place, i) => beads.setMatrixAt(i, new T.Matrix4().setPosition(place)));
      thread.add(beads);
      return thread;
    }
    const known = (said.centres || []).length / 3;
    const path = known > 1 ? pathOf(said.centres, said.jumps || [], PATH) : null;
    let around = null;
    if (said.around) {
      around = new T.Mesh(meshOf(said.around, [150, 190, 230]), paint({ shading: 0.3, glass: 1, twoSided: 1 }));
      around.renderOrder = 1;
      scene.add(around);
    }
    const others = (said.others || []).map((other, n) => {
      const mesh = new T.Mesh(meshOf(other.mesh, OTHERS[n % OTHERS.length]), paint({ shading: 0.8 }));
      if (other.centres.length > 3) mesh.add(pathOf(other.centres, other.jumps, PATH));
      scene.add(mesh);
      return mesh;
    });

    // The camera of the moment: a pyramid as wide as its view, its upper edge doubled.
    let frustum = null, shown = -1;
    const axes = (turns, at) => [0, 3, 6].map((row) => vector(turns, 9 * at + row));
    function drawCamera() {
      if (frustum) { scene.remove(frustum); frustum.geometry.dispose(); frustum = null; }
      if (shown < 0) return;
      const tip = toUnit(vector(said.centres, 3 * shown)), [right, down, ahead] = axes(said.turns, shown), size = 0.06 * home.distance;
      const wide = said.focal ? 1 / said.focal : 0.7;
      const corner = (x, y) => tip.clone().addScaledVector(right, size * wide * x).addScaledVector(down, size * wide * y).addScaledVector(ahead, size);
      const [a, b, c, d] = [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)], up = corner(0, -1.5);
      frustum = lines([tip, a, tip, b, tip, c, tip, d, a, b, b, c, c, d, d, a, a, up, up, b], 0xfafaf5);
      frustum.material.depthTest = false;
      frustum.renderOrder = 3;
    }

    const view = { rotation: null, target: null, distance: 1 };
    const on = { path: true, around: true, others: true, follow: false, measure: false };
    const setView = (rotation, target, distance) => {
      view.rotation = new T.Matrix3().fromArray(rotation);  // rows right, down, ahead, read as the columns of world_from_view
      view.target = target.clone();
      view.distance = distance;
    };
    const column = (k) => vector(view.rotation.elements, 3 * k);
    setView(home.rotation, home.target, home.distance);

    const ruler = box.querySelector(".ruler"), rulerText = ruler.querySelector("span");
    const cross = box.querySelector(".cross"), label = box.querySelector(".length"), told = box.querySelector(".measured");
    const stageColour = () => getComputedStyle(box.querySelector(".stage")).backgroundColor;
    let waiting = false;
    function draw() {
      waiting = false;
      const width = canvas.clientWidth, height = canvas.clientHeight;
      if (!width || !height) return;
      renderer.setPixelRatio(Math.min(2, window.devicePixelRatio || 1));
      renderer.setSize(width, height, false);
      renderer.setClearColor(stageColour());
      const aspect = width / height, inside = on.follow && shown >= 0;
      const focal = inside ? said.focal || 1.2 : Math.min(1, aspect / 1.3) / Math.tan(said.field_deg * Math.PI / 360);
      camera.fov = 2 * Math.atan(1 / focal) * 180 / Math.PI;
      camera.aspect = aspect;
      camera.near = inside ? 0.002 : Math.max(0.002, view.distance / 500);
      camera.far = view.distance + 12;
      const [right, down, ahead] = [0, 1, 2].map(column);
      camera.matrixAutoUpdate = false;
      camera.matrix.makeBasis(right, down.negate(), ahead.clone().negate());
      camera.matrix.setPosition(view.target.clone().addScaledVector(ahead, -view.distance));
      camera.updateMatrixWorld(true);
      camera.updateProjectionMatrix();
      if (path) path.visible = on.path && !inside;
      if (frustum) frustum.visible = !inside;
      if (around) around.visible = on.around;
      for (const other of others) other.visible = on.others;
      renderer.render(scene, camera);
      placeLabel(width, height);
      ruler.hidden = inside;
      const pixels = height * focal / 2 / (view.distance * extent), wanted = 110 / pixels, power = 10 ** Math.floor(Math.log10(wanted));
      const step = [5, 2, 1].map((m) => m * power).find((x) => x <= wanted) || power;
      ruler.style.width = `${(step * pixels).toFixed(1)}px`;
      rulerText.textContent = `${+step.toPrecision(2)} ${said.unit}`;
    }
    const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

    // Measuring: two points on the surface, the straight line between them.
    const ends = [], marks = [];
    let ray = null, span = null;
    function forget() {
      for (const mark of marks.splice(0)) scene.remove(mark);
      if (span) { scene.remove(span); span = null; }
      ends.length = 0;
      label.hidden = true;
    }
    function measureAt(x, y) {  // -1..1, upwards
      if (ends.length === 2) forget();
      ray = ray || new T.Raycaster();
      ray.setFromCamera(new T.Vector2(x, y), camera);
      const [hit] = ray.intersectObject(wall, false);
      if (!hit) { told.textContent = "No surface there."; return; }
      const mark = new T.Mesh(ball, new T.MeshBasicMaterial({ color: 0xff4fd8, depthTest: false, toneMapped: false }));
      mark.position.copy(hit.point);
      mark.renderOrder = 4;
      scene.add(mark);
      marks.push(mark);
      ends.push(hit.point.clone());
      told.textContent = "First point set. Choose the second.";
      if (ends.length === 2) {
        span = lines(ends, 0xff4fd8);
        span.material.depthTest = false;
        span.renderOrder = 4;
        const far = ends[0].distanceTo(ends[1]) * extent, text = `${+far.toPrecision(3)} ${said.unit}`;
        label.textContent = text;
        const scale = said.scale_error === undefined ? "" : ` The scale alone adds ± ${+(100 * said.scale_error).toPrecision(2)} %; errors of the surface come on top.`;
        told.textContent = said.unit === "mm" ? `Distance ${text}, in a straight line.${scale}` : `Distance ${text}: free units, to compare with each other only.`;
        box.dispatchEvent(new CustomEvent("measured", { detail: far }));
      }
      redraw();
    }
    function placeLabel(width, height) {
      label.hidden = ends.length < 2;
      if (label.hidden) return;
      const at = ends[0].clone().add(ends[1]).multiplyScalar(0.5).project(camera);
      label.style.left = `${((at.x + 1) / 2 * width).toFixed(1)}px`;
      label.style.top = `${((1 - at.y) / 2 * height).toFixed(1)}px`;
    }
    function measuring(now) {
      on.measure = now;
      box.classList.toggle("measuring", now);
      cross.hidden = !now;
      forget();
      told.textContent = now ? "Choose two points on the surface by click or tap; with the keyboard, turn and press Enter for the point under the cross." : "";
    }

    // Through the camera: where it is, as it looks; any turn by hand leaves it again.
    function follow() {
      if (!on.follow || shown < 0) return;
      const ahead = axes(said.turns, shown)[2];
      setView(said.turns.slice(9 * shown, 9 * shown + 9), toUnit(vector(said.centres, 3 * shown)).addScaledVector(ahead, 0.02), 0.02);
    }
    function leave() {
      if (!on.follow) return;
      on.follow = false;
      setView(home.rotation, home.target, home.distance);
      box.querySelector('[data-act="follow"]')?.setAttribute("aria-pressed", "false");
    }
    box.addEventListener("moment", (event) => {
      shown = event.detail >= 0 && event.detail < known ? event.detail : -1;
      drawCamera();
      follow();
      redraw();
    });

    // Moving the eye: `turnBy` about the view's own axes.
    function turnBy(axis, angle) {
      leave();
      const turned = [0, 1, 2].map((k) => column(k).applyAxisAngle(column(axis), angle));
      view.rotation.fromArray(turned.flatMap((v) => v.toArray()));
      redraw();
    }
    const orbit = (dx, dy) => { turnBy(1, dx); turnBy(0, -dy); };
    const shift = (dx, dy) => {
      leave();
      const reach = view.distance * Math.tan(said.field_deg * Math.PI / 360) * 2;
      view.target.addScaledVector(column(0), -reach * dx).addScaledVector(column(1), -reach * dy);
      redraw();
    };
    const zoom = (factor) => { leave(); view.distance = Math.min(20, Math.max(0.01, view.distance * factor)); redraw(); };
    const reset = () => { leave(); setView(home.rotation, home.target, home.distance); redraw(); };

    const held = new Map();
    let apart = 0, between = [0, 0], moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" && !alone && document.activeElement !== canvas) return;  // the first tap only wakes it
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
      apart = moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held.has(event.pointerId)) return;
      const [x, y] = held.get(event.pointerId), size = canvas.clientHeight;
      held.set(event.pointerId, [event.clientX, event.clientY]);
      const [dx, dy] = [(event.clientX - x) / size, (event.clientY - y) / size];
      moved += Math.hypot(dx, dy);
      if (held.size === 2) {
        const [[ax, ay], [bx, by]] = [...held.values()], now = Math.hypot(ax - bx, ay - by), m = [(ax + bx) / 2, (ay + by) / 2];
        if (apart) { zoom(apart / now); shift((m[0] - between[0]) / size, (m[1] - between[1]) / size); }
        apart = now;
        between = m;
      } else if (event.buttons & 2 || event.shiftKey) shift(dx, dy);
      else orbit(3 * dx, 3 * dy);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (on.measure && held.size === 1 && moved < 0.01) {
        const at = canvas.getBoundingClientRect();
        measureAt(2 * (event.clientX - at.left) / at.width - 1, 1 - 2 * (event.clientY - at.top) / at.height);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => { held.delete(event.pointerId); apart = 0; });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (!alone && document.activeElement !== canvas && !event.ctrlKey) return;  // the page scrolls past a view that was not chosen
      event.preventDefault();
      zoom(Math.exp(Math.max(-0.3, Math.min(0.3, event.deltaY * 0.0015))));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (way && alone) { if (!event.shiftKey) return; orbit(0.08 * way[0], 0.08 * way[1]); }
      else if (way) (event.shiftKey ? shift(0.04 * way[0], 0.04 * way[1]) : orbit(0.08 * way[0], 0.08 * way[1]));
      else if (event.key === "+" || event.key === "=") zoom(0.9);
      else if (event.key === "-") zoom(1.11);
      else if (event.key === "0" || (event.key === "Home" && !alone)) reset();
      else if (event.key === "," || event.key === ".") turnBy(2, event.key === "," ? 0.08 : -0.08);
      else if (event.key === "Enter" && on.measure) measureAt(0, 0);
      else if (event.key === "Escape" && on.measure) press("measure");
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("webglcontextlost", () => box.classList.remove("live"));
    canvas.addEventListener("webglcontextrestored", () => { box.classList.add("live"); redraw(); });

    const press = (act) => box.querySelector(`[data-act="${act}"]`).click();
    const possible = { path: path !== null, around: around !== null, others: others.length > 0, follow: known > 0 };
    const buttons = [...box.querySelectorAll(".controls button")];
    function tell() {
      for (const button of buttons) {
        if (button.dataset.look) button.setAttribute("aria-pressed", String(button.dataset.look === look));
        else if (button.dataset.act in on) button.setAttribute("aria-pressed", String(on[button.dataset.act]));
      }
      const key = box.querySelector(".key");
      if (key) key.hidden = look !== "distance";
    }
    for (const button of buttons) {
      const act = button.dataset.act, named = button.dataset.look;
      button.hidden = named ? !(named in looks) : act in possible && !possible[act];
      button.addEventListener("click", () => {
        if (named) { look = named; wear(); }
        else if (act === "follow") { if (on.follow) leave(); else { on.follow = true; follow(); } }
        else if (act === "measure") measuring(!on.measure);
        else if (act in on) on[act] = !on[act];
        else ({ nearer: () => zoom(0.8), farther: () => zoom(1.25), reset })[act]();
        tell();
        redraw();
      });
    }
    tell();
    new ResizeObserver(redraw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    addEventListener("theme", redraw);
    box.classList.add("live");
    draw();
  }

  for (const box of document.querySelectorAll(".surface")) start(box);
})();
