// The embedding map: a scatter on a canvas, and a panel that says what is under the hand. No library, no request.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const xy = new Float32Array(bytes(data.points)); // 2N
  const label = new Int32Array(bytes(data.labels)); // N
  const near = new Int32Array(bytes(data.neighbours)); // N k, nearest first
  const index = new Int32Array(bytes(data.index)); // N: positions in the image set
  const { classes, k, tile, columns, colours, darkColours } = data;
  const N = label.length;
  const el = (id) => document.getElementById(id);
  const canvas = el("map"), pen = canvas.getContext("2d");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const sprite = new Image();

  let hovered = -1, pinned = -1, chosen = -1, alone = -1, pictures = false;
  let trail = []; // pins before this one
  let width = 0, height = 0, x = [], y = [], sparse = [], queued = false;

  const colour = (c) => (dark.matches ? darkColours : colours)[c % 10];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ofClass = (i) => alone < 0 || label[i] === alone;
  const neighbour = (i, j) => near[i * k + j];
  const agrees = (i, j) => label[neighbour(i, j)] === label[i];
  const shown = () => (pinned >= 0 ? pinned : hovered);

  // ---- markers: the same ten, in the same order, as the package's plots
  const star = (points, inner) => Array.from({ length: 2 * points }, (_, i) => {
    const turn = (Math.PI * i) / points - Math.PI / 2, far = i % 2 ? inner : 1.25;
    return [far * Math.cos(turn), far * Math.sin(turn)];
  });
  const turned = (shape, quarter) => shape.map(([a, b]) => [[a, b], [-b, a], [-a, -b], [b, -a]][quarter]);
  const triangle = [[0, -1.1], [1.05, 0.8], [-1.05, 0.8]];
  const square = [[-0.88, -0.88], [0.88, -0.88], [0.88, 0.88], [-0.88, 0.88]];
  const plus = [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1],
    [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]];
  const slanted = plus.map(([a, b]) => [(a - b) * 0.75, (a + b) * 0.75]);
  const diamond = [[0, -1.25], [1.1, 0], [0, 1.25], [-1.1, 0]];
  const shapes = [null, square, triangle, diamond, turned(triangle, 2), plus, slanted, star(5, 0.5),
    turned(triangle, 3), turned(triangle, 1)];

  function mark(p, px, py, c, size) {
    const shape = shapes[(c + Math.floor(c / 10)) % 10];
    p.beginPath();
    if (!shape) p.arc(px, py, size, 0, 2 * Math.PI);
    else shape.forEach(([a, b], i) => (i ? p.lineTo(px + a * size, py + b * size) : p.moveTo(px + a * size, py + b * size)));
    p.closePath();
    p.fill();
    p.stroke();
  }

  function picture(p, i, px, py, side) {
    p.imageSmoothingEnabled = false;
    p.drawImage(sprite, (i % columns) * tile, Math.floor(i / columns) * tile, tile, tile, px, py, side, side);
  }

  // ---- the map
  function place() {
    const ratio = devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < 2 * N; i++) {
      low[i % 2] = Math.min(low[i % 2], xy[i]);
      high[i % 2] = Math.max(high[i % 2], xy[i]);
    }
    const room = 28; // pixels kept free at the edges; one scale for both directions
    const scale = Math.min((width - 2 * room) / (high[0] - low[0] || 1), (height - 2 * room) / (high[1] - low[1] || 1));
    x = Array.from(label, (_, i) => width / 2 + scale * (xy[2 * i] - (low[0] + high[0]) / 2));
    y = Array.from(label, (_, i) => height / 2 - scale * (xy[2 * i + 1] - (low[1] + high[1]) / 2));
    thin();
    draw();
  }

  function thin() { // pictures that don't cover one another: first come, first shown
    const cell = 34, taken = [];
    sparse = [];
    for (let i = 0; i < N; i++) {
      if (!ofClass(i) || taken.some((j) => Math.abs(x[i] - x[j]) < cell && Math.abs(y[i] - y[j]) < cell)) continue;
      taken.push(i);
      sparse.push(i);
    }
  }

  function paint() {
    queued = false;
    pen.clearRect(0, 0, width, height);
    const size = Math.max(2.6, Math.min(5.5, 150 / Math.sqrt(N))), focus = shown();
    pen.strokeStyle = css("--edge");
    pen.lineWidth = 0.6;
    const dot = (i, alpha, s) => {
      pen.globalAlpha = alpha;
      pen.fillStyle = colour(label[i]);
      mark(pen, x[i], y[i], label[i], s);
    };
    for (let i = 0; i < N; i++) if (!ofClass(i)) dot(i, 0.08, size);
    for (let i = 0; i < N; i++) if (ofClass(i)) dot(i, focus >= 0 || pictures ? 0.4 : 0.85, size);
    pen.globalAlpha = 1;
    if (pictures) for (const i of sparse) {
      picture(pen, i, x[i] - 15, y[i] - 15, 30);
      pen.strokeStyle = colour(label[i]);
      pen.lineWidth = 2;
      pen.strokeRect(x[i] - 15, y[i] - 15, 30, 30);
    }
    if (focus < 0) return;
    for (let j = 0; j < k; j++) {
      const i = neighbour(focus, j), same = agrees(focus, j);
      pen.strokeStyle = css(same ? "--agree" : "--disagree");
      pen.lineWidth = j === chosen ? 3.5 : 1.8;
      pen.setLineDash(same ? [] : [5, 4]);
      pen.beginPath();
      pen.moveTo(x[focus], y[focus]);
      pen.lineTo(x[i], y[i]);
      pen.stroke();
    }
    pen.setLineDash([]);
    pen.strokeStyle = css("--ink");
    pen.lineWidth = 1.2;
    for (let j = 0; j < k; j++) dot(neighbour(focus, j), 1, size + (j === chosen ? 4 : 1.5));
    pen.lineWidth = 2.2;
    dot(focus, 1, size + 4);
    const side = 64, left = x[focus] + 16 + side > width ? x[focus] - 16 - side : x[focus] + 16;
    const top = Math.min(Math.max(4, y[focus] - side - 10), height - side - 4);
    picture(pen, focus, left, top, side);
    pen.strokeRect(left, top, side, side);
  }

  function draw() {
    if (!queued) requestAnimationFrame(paint);
    queued = true;
  }

  // ---- the panel
  function words(i) {
    let same = 0;
    for (let j = 0; j < k; j++) same += agrees(i, j);
    return `${same} of ${k} neighbours share its label`;
  }

  function tell() {
    const i = shown(), large = el("large").getContext("2d");
    large.clearRect(0, 0, 128, 128);
    el("strip").replaceChildren();
    el("name").textContent = i < 0 ? "Point at a dot" : classes[label[i]];
    el("facts").textContent = i < 0 ? `${N} pictures` : `picture ${index[i]}\n${words(i)}${i === pinned ? "\npinned" : ""}`;
    if (i < 0) return;
    picture(large, i, 0, 0, 128);
    for (let j = 0; j < k; j++) {
      const n = neighbour(i, j), same = agrees(i, j);
      const button = document.createElement("button"), small = document.createElement("canvas");
      button.type = "button";
      button.className = `near ${same ? "yes" : "no"}${j === chosen ? " chosen" : ""}`;
      button.setAttribute("aria-label", `neighbour ${j + 1}: ${classes[label[n]]}, picture ${index[n]}, ${same ? "same" : "another"} label`);
      small.width = small.height = 64;
      picture(small.getContext("2d"), n, 0, 0, 64);
      button.append(small, `${same ? "\u2713" : "\u2717"} ${classes[label[n]]}`);
      button.onclick = () => { walk(n); canvas.focus({ preventScroll: true }); };
      el("strip").append(button);
    }
  }

  function refresh() {
    tell();
    draw();
  }

  function pin(i) {
    pinned = i;
    chosen = -1;
    el("say").textContent = i < 0 ? "Nothing is pinned." : `Pinned ${classes[label[i]]}, picture ${index[i]}. ${words(i)}.`;
    refresh();
  }

  function walk(i) {
    if (pinned >= 0) trail.push(pinned);
    pin(i);
  }

  function isolate(c) {
    alone = alone === c ? -1 : c;
    [...el("legend").children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === alone)));
    el("say").textContent = alone < 0 ? "All classes are shown." : `Only ${classes[alone]} is shown.`;
    if (alone >= 0 && pinned >= 0 && !ofClass(pinned)) pin(-1);
    hovered = -1;
    thin();
    refresh();
  }

  function legend() {
    const counts = classes.map(() => 0);
    for (const c of label) counts[c]++;
    el("legend").replaceChildren(...classes.map((name, c) => {
      const button = document.createElement("button"), swatch = document.createElement("canvas"), p = swatch.getContext("2d");
      swatch.width = swatch.height = 28;
      p.fillStyle = colour(c);
      p.strokeStyle = css("--edge");
      mark(p, 14, 14, c, 9);
      button.type = "button";
      button.append(swatch, `${name} ${counts[c]}`);
      button.setAttribute("aria-pressed", String(c === alone));
      button.onclick = () => isolate(c);
      return button;
    }));
  }

  // ---- the hand
  function nearestTo(px, py, reach) {
    let best = -1, least = reach * reach;
    for (let i = 0; i < N; i++) {
      const d = (x[i] - px) ** 2 + (y[i] - py) ** 2;
      if (d < least && ofClass(i)) [best, least] = [i, d];
    }
    return best;
  }

  canvas.addEventListener("pointermove", (event) => {
    const found = nearestTo(event.offsetX, event.offsetY, 16);
    if (found === hovered) return;
    hovered = found;
    if (pinned < 0) refresh();
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = -1;
    if (pinned < 0) refresh();
  });
  canvas.addEventListener("click", (event) => {
    const found = nearestTo(event.offsetX, event.offsetY, 16);
    if (found < 0 || found === pinned) trail = [];
    if (found >= 0 && found !== pinned) walk(found);
    else pin(-1);
  });
  document.addEventListener("keydown", (event) => {
    const from = event.target, onButton = from.tagName === "BUTTON";
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (from !== canvas && !el("strip").contains(from) && pinned < 0) return; // the page's own keys: scrolling
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && pinned < 0) pin(hovered >= 0 ? hovered : nearestTo(width / 2, height / 2, Infinity));
    else if (step) {
      chosen = chosen < 0 ? (step > 0 ? 0 : k - 1) : (chosen + step + k) % k;
      const n = neighbour(pinned, chosen);
      el("say").textContent = `Neighbour ${chosen + 1} of ${k}: ${classes[label[n]]}, picture ${index[n]}, ${agrees(pinned, chosen) ? "same" : "another"} label.`;
      refresh();
    } else if (event.key === "Enter" && !onButton && pinned >= 0 && chosen >= 0) walk(neighbour(pinned, chosen));
    else if (event.key === "Backspace" && trail.length) pin(trail.pop());
    else if (event.key === "Escape") {
      trail = [];
      pin(-1);
    } else return;
    event.preventDefault();
  });
  el("pictures").onclick = () => {
    pictures = !pictures;
    el("pictures").setAttribute("aria-pressed", String(pictures));
    draw();
  };

  canvas.setAttribute("aria-label", `Map of ${N} pictures in ${classes.length} classes`);
  dark.addEventListener("change", () => { legend(); refresh(); });
  addEventListener("resize", place);
  sprite.onload = () => { legend(); place(); tell(); document.body.dataset.ready = "yes"; };
  sprite.src = data.sprite;
})();
