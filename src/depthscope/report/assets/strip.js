// The moments of a clip, one at a time.
"use strict";
(() => {
  for (const strip of document.querySelectorAll(".strip")) {
    const moments = [...strip.querySelectorAll(".moment")], slider = strip.querySelector("input"), name = strip.querySelector("output");
    const show = () => {
      moments.forEach((moment, number) => moment.classList.toggle("shown", number === +slider.value));
      name.textContent = moments[+slider.value].dataset.name;
      slider.setAttribute("aria-valuetext", name.textContent);
      const view = document.getElementById(strip.dataset.view), frame = moments[+slider.value].dataset.frame;
      if (view) view.dispatchEvent(new CustomEvent("moment", { detail: frame === undefined ? -1 : +frame }));
    };
    slider.addEventListener("input", show);
    show();
  }
})();
