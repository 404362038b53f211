"use strict";
// Everything on the page stands without this script; it adds read-outs, sorting, copying and saving.
(() => {
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const number = (x) => String(Number(x.toPrecision(3)));
  const make = (tag, css, text) => Object.assign(document.createElement(tag), { className: css, textContent: text || "" });
  const isShown = (element) => element.getClientRects().length > 0;

  // One trial at a time is lit, in every chart and in the table.
  function light(trial) {
    all(".lit").forEach((element) => element.classList.remove("lit"));
    document.body.classList.toggle("lit-one", trial != null);
    if (trial != null) all(`[data-trial="${Number(trial)}"]`).forEach((element) => element.classList.add("lit"));
  }

  // Read-outs: the nearest marker or point of a line, by pointer or by the arrow keys.
  function scale(text) {
    const [kind, low, high] = text.split(" ");
    const [a, b] = [Number(low), Number(high)];
    return kind === "log" ? (share) => a * (b / a) ** share : (share) => a + (b - a) * share;
  }
  function targets(chart) {
    const box = chart.getBoundingClientRect();
    const [x, y] = [scale(chart.dataset.x), scale(chart.dataset.y)];
    const found = [];
    for (const mark of all(".mark", chart)) {
      if (!isShown(mark)) continue;
      const at = mark.querySelector("path").getBoundingClientRect();
      found.push({ x: at.left + at.width / 2 - box.left, y: at.top + at.height / 2 - box.top, text: mark.dataset.title, trial: mark.dataset.trial, near: 0 });
    }
    for (const line of all("polyline", chart)) {
      if (!isShown(line)) continue;
      for (const pair of line.getAttribute("points").split(" ")) {
        const [a, b] = pair.split(",").map((part) => Number(part) / 1000);
        if (b < 0 || b > 1) continue;
        const values = `${chart.dataset.xWords.split(",")[0]} ${number(x(a))}, ${chart.dataset.yWords} ${number(y(1 - b))}`;
        found.push({ x: a * box.width, y: b * box.height, text: `${line.dataset.title}: ${values}`, trial: line.dataset.trial, near: 6 });
      }
    }
    return found.sort((one, other) => one.x - other.x);
  }
  for (const chart of all("svg.chart")) {
    for (const title of all("title", chart)) {
      title.parentNode.dataset.title = title.textContent;
      title.remove();
    }
    const plot = chart.parentElement;
    plot.style.position = "relative";
    const tip = plot.appendChild(make("div", "tip"));
    tip.setAttribute("aria-live", "polite");
    tip.hidden = true;
    let known = null;
    let current = -1;
    const show = (target) => {
      tip.hidden = !target;
      light(target && target.trial);
      if (!target) return;
      tip.textContent = target.text;
      const left = chart.getBoundingClientRect().left - plot.getBoundingClientRect().left + target.x;
      const top = chart.getBoundingClientRect().top - plot.getBoundingClientRect().top + target.y;
      tip.style.left = `${Math.max(0, Math.min(plot.clientWidth - tip.offsetWidth, left - tip.offsetWidth / 2))}px`;
      tip.style.top = `${top - tip.offsetHeight - 12}px`;
    };
    const forget = () => { known = null; current = -1; show(null); };
    plot.addEventListener("pointermove", (event) => {
      known = known || targets(chart);
      const box = chart.getBoundingClientRect();
      const far = (t) => Math.hypot(t.x - event.clientX + box.left, t.y - event.clientY + box.top) + t.near;
      const best = known.reduce((a, t) => (far(t) < a.far ? { t, far: far(t) } : a), { t: null, far: 48 });
      show(best.t);
    });
    plot.addEventListener("pointerleave", forget);
    chart.addEventListener("blur", forget);
    chart.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") return forget();
      if (!move) return undefined;
      known = known || targets(chart);
      const marks = known.filter((t) => t.near === 0);
      const stops = marks.length ? marks : known;
      if (!stops.length) return undefined;
      current = current < 0 ? (move > 0 ? 0 : stops.length - 1) : (current + move + stops.length) % stops.length;
      show(stops[current]);
      return event.preventDefault();
    });
  }

  // The table: a row lights its trial; a heading sorts.
  const table = document.getElementById("trials");
  if (table) {
    const body = table.tBodies[0];
    for (const row of body.rows) {
      row.addEventListener("pointerenter", () => light(row.dataset.trial));
      row.addEventListener("pointerleave", () => light(null));
    }
    all("th", table).forEach((head, column) => {
      const button = make("button", "", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        const key = (row) => {
          const cell = row.cells[column];
          if (cell.dataset.v === undefined) return cell.textContent;
          const value = Number(cell.dataset.v);
          return cell.dataset.v === "" || Number.isNaN(value) ? Infinity : value;
        };
        const sorted = [...body.rows].sort((a, b) => {
          const [one, other] = [key(a), key(b)];
          return typeof one === "string" ? sign * one.localeCompare(other) : one === other ? 0 : one < other ? -sign : sign;
        });
        body.replaceChildren(...sorted);
      });
    });
  }

  // Copy a snippet; save the record that the page carries.
  for (const code of all(".code")) {
    const button = code.appendChild(make("button", "copy", "Copy"));
    button.type = "button";
    button.addEventListener("click", async () => {
      const text = code.querySelector("code");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }
  const save = make("button", "save", "Save this record as JSON");
  save.type = "button";
  save.addEventListener("click", () => {
    const blob = new Blob([document.getElementById("record").textContent], { type: "application/json" });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "found.json" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  document.querySelector("footer").append(save);
})();
