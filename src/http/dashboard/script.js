// Keeps the overview up to date: the server sends the sections that have changed, and they take the places of
// the old ones. Pages work without it.
"use strict";

(function () {
  const from = document.body.dataset.events;
  const live = document.getElementById("live");
  const overview = document.querySelector(".overview");
  if (!from || !live || !overview || !window.EventSource) {
    return;
  }
  const word = live.querySelector(".word");
  const announce = document.getElementById("announce");
  let told = null;

  function say(state, text) {
    if (live.dataset.state !== state) {
      live.dataset.state = state;
      word.textContent = text;
    }
  }

  // What has the focus, so that it has it again: the same link, or the same part, of the new section.
  function place(section) {
    const at = document.activeElement;
    if (!at || !section.contains(at)) {
      return null;
    }
    const same = at.tagName + (at.getAttribute("href") || "");
    const all = Array.from(section.querySelectorAll(at.tagName));
    const twins = all.filter((one) => one.tagName + (one.getAttribute("href") || "") === same);
    return { tag: at.tagName, href: at.getAttribute("href"), nth: twins.indexOf(at) };
  }

  function focus(section, was) {
    const all = Array.from(section.querySelectorAll(was.tag));
    const twins = all.filter((one) => one.getAttribute("href") === was.href);
    const to = twins[was.nth] || twins[0] || section.querySelector("a, summary");
    if (to) {
      to.focus({ preventScroll: true });
    }
  }

  function replace(id, html) {
    const section = document.getElementById(id);
    if (!section) {
      return;
    }
    const was = place(section);
    const open = Array.from(section.querySelectorAll("details")).map((one) => one.open);
    const scrolled = Array.from(section.querySelectorAll(".scroll")).map((one) => one.scrollLeft);
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    section.replaceChildren(fresh.content);
    section.querySelectorAll("details").forEach((one, nth) => (one.open = Boolean(open[nth])));
    section.querySelectorAll(".scroll").forEach((one, nth) => (one.scrollLeft = scrolled[nth] || 0));
    if (was) {
      focus(section, was);
    }
  }

  const source = new EventSource(from + "?have=" + encodeURIComponent(overview.dataset.version || ""));
  // Where no place is free, a stream ends as soon as it has begun; the browser tries again later.
  source.addEventListener("crowded", () => say("off", "Not live: too many look at once"));
  source.addEventListener("open", () => {
    window.setTimeout(() => {
      if (source.readyState === EventSource.OPEN) {
        say("on", "Live");
      }
    }, 200);
  });
  source.addEventListener("error", () => {
    // Streams end every now and then and come back within a second; only what lasts is said.
    window.setTimeout(() => {
      if (source.readyState !== EventSource.OPEN) {
        say("off", "Not live: reload to update");
      }
    }, 4000);
  });
  source.addEventListener("change", (event) => {
    const change = JSON.parse(event.data);
    for (const [id, html] of Object.entries(change.sections)) {
      replace(id, html);
    }
    if (told !== null && told !== change.announce) {
      announce.textContent = change.announce;
    }
    told = change.announce;
  });
  window.addEventListener("pagehide", () => source.close());
})();
