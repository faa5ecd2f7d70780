// Slices of the CT with the contour of the surface and the camera, in LPS millimetres.
"use strict";
(() => {
  const part = document.querySelector(".slices"), box = document.querySelector(".surface");
  if (!part || !box) return;
  const said = JSON.parse(part.querySelector("script").textContent), mesh = JSON.parse(box.querySelector("script").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const raw = new Int16Array(bytes(mesh.points).buffer), faces = new Uint16Array(bytes(mesh.faces).buffer), points = new Float32Array(raw.length);
  for (let i = 0; i < raw.length; i++) points[i] = raw[i] / 32767 * mesh.extent + mesh.middle[i % 3];

  // Axis across the plane, then the axes to the right and down; 1 where down is against the axis.
  const PLANES = { axial: [2, 0, 1, 0], coronal: [1, 0, 2, 1], sagittal: [0, 1, 2, 1] };
  const size = said.counts.map((n) => (n - 1) * said.step);
  const at = said.low.map((low, k) => low + size[k] / 2);
  const figures = [...part.querySelectorAll(".plane")].map((figure) => ({
    plane: figure.dataset.plane, image: figure.querySelector("img"), canvas: figure.querySelector("canvas"), stage: figure.querySelector(".slice"),
    slider: figure.querySelector("input"), output: figure.querySelector("output"), busy: false, wanted: "",
  }));
  const tracked = part.querySelector(".tracked");
  let tracking = true, camera = -1;
  const index = (axis) => Math.max(0, Math.min(said.counts[axis] - 1, Math.round((at[axis] - said.low[axis]) / said.step)));

  function load(one) {
    const address = `${said.place}/${one.plane}/${index(PLANES[one.plane][0])}.jpg`;
    if (one.busy || one.wanted === address) return;
    one.busy = true;
    one.wanted = address;
    one.image.src = address;
  }
  // Where the picture lies within its place: as "object-fit: contain" puts it.
  function frame(one) {
    const [, across, down] = PLANES[one.plane], width = one.stage.clientWidth, height = one.stage.clientHeight;
    const samples = [said.counts[across], said.counts[down]], scale = Math.min(width / samples[0], height / samples[1]);
    return { width, height, scale: scale / said.step, left: (width - samples[0] * scale) / 2, top: (height - samples[1] * scale) / 2 };
  }
  function pixel(one, f, point) {
    const [, across, down, flipped] = PLANES[one.plane], half = said.step / 2;
    const v = flipped ? said.low[down] + size[down] - point[down] : point[down] - said.low[down];
    return [f.left + (point[across] - said.low[across] + half) * f.scale, f.top + (v + half) * f.scale];
  }
  function draw(one) {
    const [axis, across, down] = PLANES[one.plane], f = frame(one), ratio = Math.min(2, devicePixelRatio || 1);
    if (!f.width || !f.height) return;
    one.canvas.width = Math.round(f.width * ratio);
    one.canvas.height = Math.round(f.height * ratio);
    const c = one.canvas.getContext("2d"), level = said.low[axis] + index(axis) * said.step;
    c.scale(ratio, ratio);
    c.strokeStyle = "rgba(120, 180, 255, 0.45)";
    c.lineWidth = 1;
    const [x, y] = pixel(one, f, at);
    c.beginPath(); c.moveTo(x, f.top); c.lineTo(x, f.height - f.top); c.moveTo(f.left, y); c.lineTo(f.width - f.left, y); c.stroke();
    // The contour: where the plane cuts the triangles.
    c.strokeStyle = "#ffd24a";
    c.lineWidth = 1.6;
    c.beginPath();
    for (let t = 0; t < faces.length; t += 3) {
      const cut = [];
      for (let k = 0; k < 3; k++) {
        const a = 3 * faces[t + k], b = 3 * faces[t + (k + 1) % 3], da = points[a + axis] - level, db = points[b + axis] - level;
        if ((da < 0) === (db < 0)) continue;
        const share = da / (da - db), point = [0, 0, 0];
        for (const i of [across, down]) point[i] = points[a + i] + share * (points[b + i] - points[a + i]);
        cut.push(pixel(one, f, point));
      }
      if (cut.length === 2) { c.moveTo(...cut[0]); c.lineTo(...cut[1]); }
    }
    c.stroke();
    if (camera >= 0) {
      const centre = mesh.centres.slice(3 * camera, 3 * camera + 3), ahead = mesh.turns.slice(9 * camera + 6, 9 * camera + 9);
      const [cx, cy] = pixel(one, f, centre), [tx, ty] = pixel(one, f, centre.map((v, i) => v + 8 * ahead[i]));
      c.strokeStyle = c.fillStyle = "#58b4ff";
      c.lineWidth = 2;
      c.beginPath(); c.arc(cx, cy, 3.5, 0, 2 * Math.PI); c.fill();
      c.beginPath(); c.moveTo(cx, cy); c.lineTo(tx, ty); c.stroke();
    }
    const bar = [50, 20, 10, 5].find((mm) => mm * f.scale < f.width / 3) || 5;
    c.fillStyle = "rgba(0, 0, 0, 0.6)";
    c.fillRect(4, f.height - 26, Math.max(bar * f.scale + 8, 44), 22);
    c.fillStyle = c.strokeStyle = "#fff";
    c.lineWidth = 2;
    c.beginPath(); c.moveTo(8, f.height - 8); c.lineTo(8 + bar * f.scale, f.height - 8); c.stroke();
    c.font = "11px system-ui, sans-serif";
    c.fillText(`${bar} mm`, 8, f.height - 13);
  }
  function show() {
    for (const one of figures) {
      const axis = PLANES[one.plane][0], level = said.low[axis] + index(axis) * said.step;
      one.slider.value = index(axis);
      one.output.textContent = `${level.toFixed(1)} mm`;
      one.slider.setAttribute("aria-valuetext", one.output.textContent);
      one.image.alt = `${one.plane} slice of the CT at ${one.output.textContent}, with the contour of the surface`;
      load(one);
      draw(one);
    }
  }
  function track(now) {
    tracking = now;
    tracked.setAttribute("aria-pressed", String(now));
    if (now && camera >= 0) for (let k = 0; k < 3; k++) at[k] = mesh.centres[3 * camera + k];
    show();
  }
  for (const one of figures) {
    const done = () => { one.busy = false; load(one); };
    one.image.addEventListener("load", done);
    one.image.addEventListener("error", done);
    const [axis, across, down, flipped] = PLANES[one.plane];
    one.slider.addEventListener("input", () => { at[axis] = said.low[axis] + one.slider.value * said.step; track(false); });
    one.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      at[axis] = said.low[axis] + Math.max(0, Math.min(said.counts[axis] - 1, index(axis) + Math.sign(event.deltaY))) * said.step;
      track(false);
    }, { passive: false });
    one.stage.addEventListener("click", (event) => {
      const f = frame(one), place = one.stage.getBoundingClientRect();
      const u = (event.clientX - place.left - f.left) / f.scale, v = (event.clientY - place.top - f.top) / f.scale;
      at[across] = said.low[across] + Math.max(0, Math.min(size[across], u));
      at[down] = said.low[down] + Math.max(0, Math.min(size[down], flipped ? size[down] - v : v));
      track(false);
    });
    new ResizeObserver(() => draw(one)).observe(one.stage);
  }
  tracked.addEventListener("click", () => track(!tracking));
  box.addEventListener("moment", (event) => {
    camera = mesh.centres && event.detail >= 0 && 3 * event.detail < mesh.centres.length ? event.detail : -1;
    track(tracking);
  });
  show();
})();
