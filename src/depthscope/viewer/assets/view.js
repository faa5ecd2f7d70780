// The frame in time: pictures are loaded for the frame that is shown, never more than one at once for each place.
"use strict";
(() => {
  const bar = document.querySelector("body > footer"), pictures = document.querySelector(".pictures");
  const surface = document.querySelector(".surface");
  const press = (act) => surface?.querySelector(`[data-act="${act}"]:not([hidden])`)?.click();
  const RATE = 12;  // frames a second
  let said = { names: [], frames: [] }, now = 0, playing = false, timer = 0;
  const places = [...pictures.querySelectorAll("img")].map((image) => ({ image, busy: false, wanted: "" }));

  function load(place) {
    const address = `${said.place}/${place.image.dataset.panel}/${now}.jpg`;
    if (place.busy || place.wanted === address) return;
    place.busy = true;
    place.wanted = address;
    place.image.src = address;
  }
  for (const place of places) {
    const done = (good) => {
      place.busy = false;
      place.image.parentElement.classList.toggle("lost", !good);
      load(place);  // what was asked for meanwhile
    };
    place.image.addEventListener("load", () => done(true));
    place.image.addEventListener("error", () => done(false));
  }

  function show(frame) {
    if (!said.names.length) return;
    now = Math.max(0, Math.min(said.names.length - 1, frame));
    const slider = bar.querySelector("input"), name = said.names[now];
    slider.value = now;
    slider.setAttribute("aria-valuetext", name);
    const output = bar.querySelector("output");
    output.textContent = `${name}   ${now + 1} / ${said.names.length}`;
    output.classList.toggle("unplaced", said.frames[now] < 0);
    output.title = said.frames[now] < 0 ? "structure from motion did not place this frame" : "";
    for (const place of places) {
      place.image.alt = `${place.image.dataset.panel} of ${name}`;
      load(place);
    }
    surface?.dispatchEvent(new CustomEvent("moment", { detail: said.frames[now] }));
  }

  function play(on) {
    playing = on;
    bar.querySelector(".play").textContent = on ? "Pause" : "Play";
    clearTimeout(timer);
    const next = () => {
      if (!playing) return;
      timer = setTimeout(next, 1000 / RATE);
      if (places.some((place) => place.busy)) return;  // slower than asked for, but every frame
      show(now + 1 < said.names.length ? now + 1 : 0);
    };
    if (on) next();
  }

  function choose(panel) {
    const button = pictures.querySelector(`button[data-panel="${panel}"]`);
    if (!button) return;
    for (const other of pictures.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
    for (const scale of pictures.querySelectorAll("[data-scale]")) scale.hidden = scale.dataset.scale !== panel;
    const place = places[places.length - 1];
    place.image.dataset.panel = panel;
    if (said.place) load(place);
  }

  if (bar.querySelector("script")) {
    said = JSON.parse(bar.querySelector("script").textContent);
    bar.querySelector("input").addEventListener("input", (event) => { play(false); show(+event.target.value); });
    bar.querySelector(".play").addEventListener("click", () => play(!playing));
  }
  for (const button of pictures.querySelectorAll("button")) button.addEventListener("click", () => choose(button.dataset.panel));
  const PANELS = { 1: "depth", 2: "deviation", 3: "points", 4: "masked" };
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const focus = document.activeElement, slider = focus?.matches?.("input") && !focus.matches(".time");
    if (slider) return;  // it has keys of its own
    if ([" ", "Enter"].includes(event.key) && focus?.matches?.("button, a, summary")) return;  // presses what has the focus
    const last = said.names.length - 1;
    const steps = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: now - 1, ArrowDown: now + 1, PageUp: now - 10, PageDown: now + 10, Home: 0, End: last };
    if (event.key in steps && said.names.length) { play(false); show(steps[event.key]); }
    else if (event.key === " " && said.names.length) play(!playing);
    else if (event.key in PANELS) choose(PANELS[event.key]);
    else if (event.key === "c" || event.key === "C") press("follow");
    else if (event.key === "m" || event.key === "M") { press("measure"); surface?.querySelector("canvas").focus(); }
    else return;
    event.preventDefault();
  });

  // Light or dark: as the system has it until it is chosen here.
  const root = document.documentElement, kept = () => { try { return localStorage.getItem("depthscope-theme"); } catch { return null; } };
  const wear = (theme) => { if (theme) root.dataset.theme = theme; dispatchEvent(new Event("theme")); };
  wear(kept());
  document.querySelector(".theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = dark ? "light" : "dark";
    try { localStorage.setItem("depthscope-theme", theme); } catch { /* not kept, only worn */ }
    wear(theme);
  });

  const first = pictures.querySelector("button");
  if (first) choose(first.dataset.panel);
  show(Math.floor(said.names.length / 2));
})();
