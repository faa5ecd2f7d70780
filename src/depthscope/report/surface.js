// A surface to turn, zoom and shift; the picture below it stays where WebGL is missing.
// The event "moment" with the number of a frame moves the camera that is drawn (-1: none).
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const VERTEX = `
    attribute vec3 place, normal, colour;
    uniform mat4 projection; uniform mat3 rotation; uniform vec3 eye;
    varying vec3 tone, turned, seen;
    void main() {
      vec3 at = rotation * (place - eye);
      tone = colour; turned = rotation * normal; seen = at;
      gl_Position = projection * vec4(at.x, -at.y, -at.z, 1.0);
    }`;
  const FRAGMENT = `
    precision mediump float;
    uniform float shading, flat_colour, glass; uniform vec3 outside;
    varying vec3 tone, turned, seen;
    void main() {
      float facing = dot(normalize(turned), -normalize(seen));
      float light = mix(1.0, 0.28 + 0.72 * abs(facing), shading);
      vec3 base = facing < -0.05 && flat_colour < 0.5 ? mix(tone, outside, 0.75) : tone;
      float edge = 1.0 - abs(facing);
      float cover = mix(1.0, 0.06 + 0.5 * edge * edge, glass);  // glass is seen best where one looks along it
      gl_FragColor = vec4(base * light * cover, cover);
    }`;

  function normalsOf(places, faces) {
    const sums = new Float32Array(places.length);
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const u = [0, 1, 2].map((i) => places[b + i] - places[a + i]);
      const v = [0, 1, 2].map((i) => places[c + i] - places[a + i]);
      const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
      for (const corner of [a, b, c]) for (let i = 0; i < 3; i++) sums[corner + i] += n[i];
    }
    for (let p = 0; p < sums.length; p += 3) {
      const length = Math.hypot(sums[p], sums[p + 1], sums[p + 2]) || 1;
      for (let i = 0; i < 3; i++) sums[p + i] /= length;
    }
    return sums;
  }

  // The path of the camera as a thin prism, with a small pyramid for each frame.
  function pathMesh(centres, turns, thickness) {
    const places = [], normals = [], faces = [];
    const add = (place, normal) => { places.push(...place); normals.push(...normal); return places.length / 3 - 1; };
    const across = (d) => {
      const other = Math.abs(d[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0];
      const unit = (v) => { const n = Math.hypot(...v) || 1; return v.map((x) => x / n); };
      const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
      const u = unit(cross(d, other));
      return [u, unit(cross(d, u))];
    };
    const ring = (centre, u, v, radius, sides) => Array.from({ length: sides }, (_, k) => {
      const angle = 2 * Math.PI * k / sides, c = Math.cos(angle), s = Math.sin(angle);
      const normal = [0, 1, 2].map((i) => c * u[i] + s * v[i]);
      return add(centre.map((x, i) => x + radius * normal[i]), normal);
    });
    // 17 vertices for each frame, numbered by 16 bits.
    const step = Math.ceil(centres.length / 3 / 1500), kept = [];
    for (let n = 0; n < centres.length / 3; n += step) kept.push(n);
    const at = (k) => centres.slice(3 * kept[k], 3 * kept[k] + 3), count = kept.length;
    for (let n = 0; n + 1 < count; n++) {
      const [a, b] = [at(n), at(n + 1)], d = b.map((x, i) => x - a[i]), length = Math.hypot(...d);
      if (!length) continue;
      const [u, v] = across(d.map((x) => x / length));
      const [p, q] = [ring(a, u, v, thickness, 6), ring(b, u, v, thickness, 6)];
      for (let k = 0; k < 6; k++) { const m = (k + 1) % 6; faces.push(p[k], p[m], q[k], q[k], p[m], q[m]); }
    }
    let last = null;
    for (let n = 0; n < count; n++) {
      // Not where the camera stood still: pyramids on top of each other are a lump.
      if (last && Math.hypot(...at(n).map((x, i) => x - last[i])) < 14 * thickness) continue;
      last = at(n);
      const d = turns.slice(9 * kept[n] + 6, 9 * kept[n] + 9), [u, v] = across(d), centre = at(n);
      const base = ring(centre.map((x, i) => x + 5 * thickness * d[i]), u, v, 2.4 * thickness, 4);
      const tip = add(centre, d.map((x) => -x));
      for (let k = 0; k < 4; k++) faces.push(tip, base[k], base[(k + 1) % 4]);
    }
    return { places: new Float32Array(places), normals: new Float32Array(normals), faces: new Uint16Array(faces) };
  }

  // One camera: a pyramid as wide as its view, with its upper edge thicker.
  function cameraMesh(centre, rotation, size) {
    const places = [], normals = [], faces = [];
    const corner = (x, y) => [0, 1, 2].map((i) => centre[i] + size * (x * rotation[i] + y * rotation[3 + i] + rotation[6 + i]));
    const bar = (a, b, radius) => {
      const d = b.map((x, i) => x - a[i]), length = Math.hypot(...d) || 1, unit = d.map((x) => x / length);
      const other = Math.abs(unit[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0];
      const cross = (p, q) => [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
      const u = cross(unit, other), n = Math.hypot(...u), v = cross(unit, u.map((x) => x / n)), first = places.length / 3;
      for (const end of [a, b]) for (let k = 0; k < 4; k++) {
        const [c, s] = [Math.cos(k * Math.PI / 2), Math.sin(k * Math.PI / 2)];
        const normal = [0, 1, 2].map((i) => c * u[i] / n + s * v[i]);
        places.push(...end.map((x, i) => x + radius * normal[i])); normals.push(...normal);
      }
      for (let k = 0; k < 4; k++) { const m = (k + 1) % 4; faces.push(first + k, first + m, first + 4 + k, first + 4 + k, first + m, first + 4 + m); }
    };
    const corners = [corner(-0.6, -0.45), corner(0.6, -0.45), corner(0.6, 0.45), corner(-0.6, 0.45)];
    corners.forEach((place, k) => { bar(centre, place, 0.025 * size); bar(place, corners[(k + 1) % 4], (k ? 0.025 : 0.055) * size); });
    return { places: new Float32Array(places), normals: new Float32Array(normals), faces: new Uint16Array(faces) };
  }

  function turn(axis, angle) {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return axis === 0 ? [1, 0, 0, 0, c, -s, 0, s, c] : axis === 1 ? [c, 0, s, 0, 1, 0, -s, 0, c] : [c, -s, 0, s, c, 0, 0, 0, 1];
  }
  const times = (a, b) => Array.from({ length: 9 }, (_, n) => {
    const [row, column] = [3 * Math.floor(n / 3), n % 3];
    return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
  });

  function start(box) {
    const canvas = box.querySelector("canvas"), said = JSON.parse(box.querySelector("script").textContent);
    const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) return;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
    gl.useProgram(program);

    const raw = new Int16Array(bytes(said.points).buffer), faces = new Uint16Array(bytes(said.faces).buffer);
    const places = new Float32Array(raw.length);
    for (let i = 0; i < raw.length; i++) places[i] = raw[i] / 32767;
    const alone = "alone" in box.dataset;
    const toUnit = (v) => v.map((x, i) => (x - said.middle[i % 3]) / said.extent);
    const home = { rotation: said.rotation, target: toUnit(said.target), distance: said.distance / said.extent };
    let view = { ...home };

    const store = (kind, values) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(kind, buffer);
      gl.bufferData(kind, values, gl.STATIC_DRAW);
      return buffer;
    };
    const body = (built, colour) => {
      const tone = new Uint8Array(built.places.length);
      for (let i = 0; i < tone.length; i++) tone[i] = colour[i % 3];
      return {
        places: store(gl.ARRAY_BUFFER, built.places), normals: store(gl.ARRAY_BUFFER, built.normals),
        faces: store(gl.ELEMENT_ARRAY_BUFFER, built.faces), colours: store(gl.ARRAY_BUFFER, tone), count: built.faces.length,
      };
    };
    const count = places.length / 3;
    const clay = new Uint8Array(places.length);
    for (let i = 0; i < clay.length; i++) clay[i] = [232, 205, 190][i % 3];
    const looks = { clay: { colours: store(gl.ARRAY_BUFFER, clay), shading: 1 } };
    if (said.colours) looks.colours = { colours: store(gl.ARRAY_BUFFER, bytes(said.colours)), shading: 0.15 };
    if (said.errors) {
      const levels = bytes(said.errors), palette = bytes(box.dataset.palette), painted = new Uint8Array(places.length);
      for (let n = 0; n < count; n++) for (let i = 0; i < 3; i++) painted[3 * n + i] = palette[3 * levels[n] + i];
      looks.distance = { colours: store(gl.ARRAY_BUFFER, painted), shading: 0.35 };
    }
    const mesh = {
      places: store(gl.ARRAY_BUFFER, places), normals: store(gl.ARRAY_BUFFER, normalsOf(places, faces)),
      faces: store(gl.ELEMENT_ARRAY_BUFFER, faces), count: faces.length,
    };
    let path = null;
    if (said.centres && said.centres.length >= 6) {
      path = body(pathMesh(toUnit(said.centres), said.turns, 0.0016 * home.distance), [242, 140, 40]);
    }
    let around = null;
    if (said.around) {
      const places = new Float32Array(new Int16Array(bytes(said.around.points).buffer)).map(
        (x, i) => (x / 32767 * said.around.extent + said.around.middle[i % 3] - said.middle[i % 3]) / said.extent);
      const faces = new Uint16Array(bytes(said.around.faces).buffer);
      around = body({ places, normals: normalsOf(places, faces), faces }, [170, 205, 235]);
    }
    let now = null, shown = -1;
    let look = box.dataset.look in looks ? box.dataset.look : "clay", on = { path: path !== null, around: around !== null, follow: false };

    const slots = Object.fromEntries(["place", "normal", "colour"].map((name) => [name, gl.getAttribLocation(program, name)]));
    const knob = Object.fromEntries(["projection", "rotation", "eye", "shading", "outside", "flat_colour", "glass"].map(
      (name) => [name, gl.getUniformLocation(program, name)]));
    function part(body, colours, shading, plain, glass = 0) {
      for (const [slot, buffer, type, normalised] of [["place", body.places, gl.FLOAT, false],
        ["normal", body.normals, gl.FLOAT, false], ["colour", colours, gl.UNSIGNED_BYTE, true]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.enableVertexAttribArray(slots[slot]);
        gl.vertexAttribPointer(slots[slot], 3, type, normalised, 0, 0);
      }
      gl.uniform1f(knob.shading, shading);
      gl.uniform1f(knob.flat_colour, plain);
      gl.uniform1f(knob.glass, glass);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, body.faces);
      gl.drawElements(gl.TRIANGLES, body.count, gl.UNSIGNED_SHORT, 0);
    }

    const bar = box.querySelector(".ruler"), barText = bar.querySelector("span");
    let waiting = false;
    function draw() {
      waiting = false;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (!width || !height) return;
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      gl.viewport(0, 0, width, height);
      gl.clearColor(24 / 255, 24 / 255, 24 / 255, 1);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.enable(gl.DEPTH_TEST);
      const aspect = width / height, wide = Math.min(1, aspect / 1.3), inside = on.follow && shown >= 0;
      const focal = inside ? said.focal || 1.2 : wide / Math.tan(said.field_deg * Math.PI / 360);
      const near = inside ? 0.002 : Math.max(0.002, view.distance / 500), far = view.distance + 8;
      gl.uniformMatrix4fv(knob.projection, false, [focal / aspect, 0, 0, 0, 0, focal, 0, 0,
        0, 0, (far + near) / (near - far), -1, 0, 0, 2 * far * near / (near - far), 0]);
      const r = view.rotation;
      gl.uniformMatrix3fv(knob.rotation, false, [r[0], r[3], r[6], r[1], r[4], r[7], r[2], r[5], r[8]]);
      gl.uniform3fv(knob.eye, view.target.map((x, i) => x - view.distance * r[6 + i]));
      gl.uniform3f(knob.outside, 0.36, 0.38, 0.42);
      part(mesh, looks[look].colours, looks[look].shading, 0);
      if (path && on.path && !inside) part(path, path.colours, 0.5, 1);
      if (now && !inside) part(now, now.colours, 0.3, 1);
      if (around && on.around) {
        gl.enable(gl.BLEND);
        gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
        gl.depthMask(false);
        part(around, around.colours, 0.3, 1, 1);
        gl.depthMask(true);
        gl.disable(gl.BLEND);
      }
      bar.hidden = inside;
      const pixels = canvas.clientHeight * focal / 2 / (view.distance * said.extent);
      const wanted = 110 / pixels, power = 10 ** Math.floor(Math.log10(wanted));
      const step = [5, 2, 1].map((m) => m * power).find((x) => x <= wanted) || power;
      bar.style.width = `${(step * pixels).toFixed(1)}px`;
      barText.textContent = `${+step.toPrecision(2)} ${said.unit}`;
    }
    const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

    // Through the camera: where it is, as it looks; any turn by hand leaves it again.
    function follow() {
      if (!on.follow || shown < 0) return;
      const rotation = said.turns.slice(9 * shown, 9 * shown + 9), centre = toUnit(said.centres.slice(3 * shown, 3 * shown + 3));
      view = { rotation, target: centre.map((x, i) => x + 0.02 * rotation[6 + i]), distance: 0.02 };
    }
    function leave() {
      if (!on.follow) return;
      on.follow = false;
      view = { ...home };
      for (const button of box.querySelectorAll('[data-act="follow"]')) button.setAttribute("aria-pressed", "false");
    }
    box.addEventListener("moment", (event) => {
      const known = said.centres && event.detail >= 0 && 3 * event.detail < said.centres.length;
      shown = known ? event.detail : -1;
      for (const part of now ? ["places", "normals", "faces", "colours"] : []) gl.deleteBuffer(now[part]);
      now = null;
      if (known) {
        const centre = toUnit(said.centres.slice(3 * shown, 3 * shown + 3));
        now = body(cameraMesh(centre, said.turns.slice(9 * shown, 9 * shown + 9), 0.05 * home.distance), [250, 250, 245]);
        follow();
      }
      redraw();
    });

    const orbit = (dx, dy) => { leave(); view.rotation = times(turn(0, dy), times(turn(1, -dx), view.rotation)); redraw(); };
    const roll = (angle) => { leave(); view.rotation = times(turn(2, angle), view.rotation); redraw(); };
    const shift = (dx, dy) => {
      leave();
      const r = view.rotation, reach = view.distance * Math.tan(said.field_deg * Math.PI / 360) * 2;
      view.target = view.target.map((x, i) => x - reach * (dx * r[i] + dy * r[3 + i]));
      redraw();
    };
    const zoom = (factor) => { leave(); view.distance = Math.min(20, Math.max(0.01, view.distance * factor)); redraw(); };
    const reset = () => { leave(); view = { ...home }; redraw(); };

    const held = new Map();
    let spread = 0, middle = [0, 0];
    canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch" && document.activeElement !== canvas) return;  // the first tap only wakes it
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
      spread = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held.has(event.pointerId)) return;
      const [x, y] = held.get(event.pointerId), size = canvas.clientHeight;
      held.set(event.pointerId, [event.clientX, event.clientY]);
      const [dx, dy] = [(event.clientX - x) / size, (event.clientY - y) / size];
      if (held.size === 2) {
        const [[ax, ay], [bx, by]] = [...held.values()], apart = Math.hypot(ax - bx, ay - by), m = [(ax + bx) / 2, (ay + by) / 2];
        if (spread) { zoom(spread / apart); shift((m[0] - middle[0]) / size, (m[1] - middle[1]) / size); }
        spread = apart;
        middle = m;
      } else if (event.buttons & 2 || event.shiftKey) shift(dx, dy);
      else orbit(3 * dx, 3 * dy);
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => { held.delete(event.pointerId); spread = 0; });
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
      else if (event.key === "0" || event.key === "Home") reset();
      else if (event.key === "," || event.key === ".") roll(event.key === "," ? -0.08 : 0.08);
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("webglcontextlost", () => box.classList.remove("live"));

    for (const button of box.querySelectorAll("button")) {
      const act = button.dataset.act, named = button.dataset.look;
      if (named && !(named in looks)) { button.hidden = true; continue; }
      const possible = { path: path !== null, around: around !== null, follow: Boolean(said.centres) };
      if (act in possible && !possible[act]) { button.hidden = true; continue; }
      const tell = () => {
        if (act in on) button.setAttribute("aria-pressed", String(on[act]));
        if (!named) return;
        for (const other of box.querySelectorAll("button[data-look]")) other.setAttribute("aria-pressed", String(other.dataset.look === look));
        const key = box.querySelector(".key");
        if (key) key.hidden = look !== "distance";
      };
      button.addEventListener("click", () => {
        if (named) look = named;
        else if (act === "follow") { if (on.follow) leave(); else { on.follow = true; follow(); } }
        else if (act in on) on[act] = !on[act];
        else ({ nearer: () => zoom(0.8), farther: () => zoom(1.25), reset })[act]();
        tell();
        redraw();
      });
      tell();
    }
    new ResizeObserver(redraw).observe(canvas);
    box.classList.add("live");
    draw();
  }

  for (const box of document.querySelectorAll(".surface")) start(box);
})();
