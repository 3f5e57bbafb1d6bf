"use strict";
(() => {
  const tip = document.getElementById("tip");
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  const clock = (secs) => {
    const tenths = Math.round(Math.abs(secs) * 10);
    const minutes = Math.floor(tenths / 600);
    const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
    return `${secs < 0 && tenths ? "−" : ""}${minutes}:${rest}`;
  };

  const make = (name, text) => {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  };

  const factsOf = (item) => JSON.parse(item.dataset.facts || "[]");

  /* The small note beside what is pointed at. */
  const showTip = (item) => {
    const words = item.dataset.text;
    tip.replaceChildren(make("span", words ? `“${words}”` : item.dataset.name));
    const more = [clock(Number(item.dataset.at))];
    if (words) more.push(item.dataset.name);
    for (const [name, value] of factsOf(item)) more.push(`${name} ${value}`);
    tip.append(make("small", more.join(" · ").slice(0, 240)));
    tip.hidden = false;
    const place = item.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const middle = clamp(place.left + place.width / 2, 0, innerWidth) - size.width / 2;
    const above = place.top - size.height - 8;
    tip.style.left = `${clamp(middle, 8, Math.max(8, innerWidth - size.width - 8))}px`;
    tip.style.top = `${above > 4 ? above : place.bottom + 8}px`;
  };
  const hideTip = () => { tip.hidden = true; };

  /* One call: its sound, its timeline, its transcript. */
  const bring = (call) => {
    const player = call.querySelector(".player");
    const track = call.querySelector(".track");
    if (!player || !track) return;
    const start = Number(track.dataset.start);
    const end = Number(track.dataset.end);
    const scroller = call.querySelector(".scroller");
    const audio = call.querySelector("audio");
    const play = call.querySelector(".play");
    const range = call.querySelector(".seek");
    const output = call.querySelector(".clock");
    const playhead = call.querySelector(".playhead");
    const pointer = call.querySelector(".pointer");
    const detail = call.querySelector(".detail");
    const lines = [...call.querySelectorAll(".transcript li[data-from]")];
    const items = [...track.querySelectorAll(".item")]
      .sort((one, other) => Number(one.dataset.at) - Number(other.dataset.at));
    const total = range ? Number(range.max) : 0;
    const share = (secs) => `${100 * clamp((secs - start) / (end - start), 0, 1)}%`;

    const show = (secs) => {
      playhead.hidden = false;
      playhead.style.left = share(secs);
      range.value = String(secs);
      output.textContent = `${clock(secs)} / ${clock(total)}`;
      const now = lines.filter((line) => Number(line.dataset.from) <= secs + 0.05).pop();
      for (const line of lines) line.classList.toggle("now", line === now);
    };

    /* A position that is asked for before the sound is loaded is kept until it is. */
    let wanted = 0;
    const seek = (secs) => {
      if (!audio) return;
      wanted = clamp(secs, 0, total);
      if (audio.readyState) audio.currentTime = wanted;
      else audio.load();
      show(wanted);
    };

    const follow = () => {
      if (audio.paused) return;
      show(audio.currentTime);
      const at = playhead.offsetLeft;
      if (at < scroller.scrollLeft || at > scroller.scrollLeft + scroller.clientWidth - 30) {
        scroller.scrollLeft = at - 60;
      }
      requestAnimationFrame(follow);
    };

    const toggle = () => {
      if (!audio.paused) { audio.pause(); return; }
      for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
      audio.play().catch(() => { output.textContent = "this browser cannot play it"; });
    };

    if (audio) {
      play.addEventListener("click", toggle);
      range.addEventListener("input", () => seek(Number(range.value)));
      audio.addEventListener("loadedmetadata", () => { if (wanted) audio.currentTime = wanted; });
      audio.addEventListener("play", () => {
        play.classList.add("playing");
        play.setAttribute("aria-label", "Pause");
        follow();
      });
      audio.addEventListener("pause", () => {
        play.classList.remove("playing");
        play.setAttribute("aria-label", "Play");
        wanted = audio.currentTime;
      });
    }
    for (const button of call.querySelectorAll("[data-seek]")) {
      button.addEventListener("click", () => seek(Number(button.dataset.seek)));
    }

    const explain = (item) => {
      for (const other of items) other.classList.toggle("shown", other === item);
      detail.replaceChildren(
        make("b", item.dataset.name), make("span", clock(Number(item.dataset.at))));
      for (const [name, value] of factsOf(item)) detail.append(make("code", `${name}: ${value}`));
      if (item.dataset.text) detail.append(make("q", item.dataset.text));
      detail.hidden = false;
      seek(Number(item.dataset.at));
    };

    /* One stop of the tab key per timeline; arrows go on from there. */
    const stand = (item) => {
      for (const other of items) other.tabIndex = other === item ? 0 : -1;
    };
    if (items.length) stand(items[0]);
    for (const [number, item] of items.entries()) {
      item.addEventListener("pointerenter", () => showTip(item));
      item.addEventListener("pointerleave", hideTip);
      item.addEventListener("focus", () => { if (item.matches(":focus-visible")) showTip(item); });
      item.addEventListener("blur", hideTip);
      item.addEventListener("click", (event) => {
        event.stopPropagation();
        stand(item);
        explain(item);
      });
      item.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const next = event.key === "Home" ? items[0]
          : event.key === "End" ? items[items.length - 1]
          : step ? items[clamp(number + step, 0, items.length - 1)] : null;
        if (!next) return;
        event.preventDefault();
        stand(next);
        next.focus();
      });
    }

    const secsAt = (event) => {
      const place = track.getBoundingClientRect();
      return start + (end - start) * clamp((event.clientX - place.left) / place.width, 0, 1);
    };
    track.addEventListener("click", (event) => seek(secsAt(event)));
    track.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const secs = secsAt(event);
      pointer.hidden = false;
      pointer.style.left = share(secs);
      pointer.firstElementChild.textContent = clock(secs);
    });
    track.addEventListener("pointerleave", () => { pointer.hidden = true; });

    /* Zoom keeps the middle of what is seen where it is. */
    const out = call.querySelector(".zoom-out");
    const into = call.querySelector(".zoom-in");
    let zoom = 1;
    const zoomTo = (value) => {
      const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / scroller.scrollWidth;
      zoom = clamp(value, 1, 32);
      track.style.setProperty("--zoom", String(zoom));
      track.classList.toggle("zoomed", zoom >= 2);
      track.classList.toggle("zoomed-far", zoom >= 8);
      scroller.scrollLeft = middle * scroller.scrollWidth - scroller.clientWidth / 2;
      out.disabled = zoom === 1;
      into.disabled = zoom === 32;
    };
    out.addEventListener("click", () => zoomTo(zoom / 2));
    into.addEventListener("click", () => zoomTo(zoom * 2));
    out.disabled = true;
  };

  /* A call is brought to life when it is first opened. */
  for (const call of document.querySelectorAll(".call")) {
    let alive = false;
    const wake = () => {
      if (!call.open || alive) return;
      alive = true;
      bring(call);
    };
    call.addEventListener("toggle", () => {
      wake();
      if (!call.open) call.querySelector("audio")?.pause();
    });
    wake();
  }

  const openAsked = () => {
    const asked = document.getElementById(location.hash.slice(1));
    if (!asked?.matches(".call")) return;
    asked.hidden = false;
    asked.open = true;
    asked.scrollIntoView();
  };
  addEventListener("hashchange", openAsked);
  openAsked();
  addEventListener("scroll", hideTip, { passive: true });

  const filters = [...document.querySelectorAll("[data-filter]")];
  for (const button of filters) {
    button.addEventListener("click", () => {
      for (const other of filters) other.setAttribute("aria-pressed", String(other === button));
      const wanted = button.dataset.filter;
      for (const call of document.querySelectorAll(".call")) {
        call.hidden = wanted !== "all" && call.dataset.verdict !== wanted;
      }
    });
  }
})();
