// Keeps the parts of a page up to what happens. Without it the page is whole, and as of its loading.
(() => {
  "use strict";
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");

  const say = (name, word) => {
    if (!state || state.dataset.state === name) return;
    state.dataset.state = name;
    state.querySelector(".word").textContent = word;
  };

  // What the visitor has opened, scrolled or focused stays so in the new part.
  const carryOver = (before, after) => {
    const open = [...before.querySelectorAll("details")].map((it) => it.open);
    after.querySelectorAll("details").forEach((it, index) => { it.open = open[index] || false; });
    const left = [...before.querySelectorAll(".scroll")].map((it) => it.scrollLeft);
    after.querySelectorAll(".scroll").forEach((it, index) => { it.scrollLeft = left[index] || 0; });
    const focused = document.activeElement;
    if (!before.contains(focused)) return () => {};
    const all = (part) => [...part.querySelectorAll("a, button, summary, [tabindex]")];
    const same = focused.id
      ? after.querySelector("#" + CSS.escape(focused.id))
      : all(after).find((it) => focused.getAttribute("href") && it.getAttribute("href") === focused.getAttribute("href"))
        || all(after)[all(before).indexOf(focused)];
    return () => { if (same) same.focus({ preventScroll: true }); };
  };

  const show = (parts) => {
    for (const [id, html] of Object.entries(parts)) {
      const before = document.getElementById(id);
      if (!before) continue;
      const box = document.createElement("template");
      box.innerHTML = html;
      const after = box.content.firstElementChild;
      if (!after || after.isEqualNode(before)) continue;
      const focus = carryOver(before, after);
      before.replaceWith(after);
      addCopy(after);
      focus();
    }
  };

  const addCopy = (part) => {
    if (!navigator.clipboard) return;
    for (const place of part.querySelectorAll(".copy")) {
      if (place.querySelector("button")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(place.querySelector("code").textContent);
        button.textContent = "Copied";
      });
      place.append(button);
    }
  };

  addCopy(document);
  if (!main || !window.EventSource) return;
  const listen = () => {
    const source = new EventSource(main.dataset.live);
    source.addEventListener("open", () => say("live", "Live"));
    source.addEventListener("message", (event) => { say("live", "Live"); show(JSON.parse(event.data)); });
    source.addEventListener("error", () => {
      say("lost", "Not live; trying again");
      // A refusal ends it for good; only a lost connection is tried again by the browser.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    });
  };
  listen();
})();
