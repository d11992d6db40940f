// The embedding map: one scatter, or two of the same pictures, and a panel that says what is under the hand. No library, no
// request. Two hosts call `render`: a notebook (anywidget), and the page that `explore` writes, whose model is a stand-in with
// the same get, set, on, off and save_changes. What the model holds, mnclglf_lite/map_state.py says.
//
// A map is two canvases, one over the other: the dots, drawn when something about them changes, and what follows the hand.
const ROOM = 28; // pixels kept free at the edges
const REACH = 16; // pixels from a dot at which it is meant
const THUMB = 30; // pixels of a picture over its dot
const SHEET_MOST = 60; // selected pictures that are shown

// ---- small tools

const copied = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
const bounded = (value, low, high) => Math.min(Math.max(value, low), high);
const count = (n) => n.toLocaleString("en");

function make(tag, given = {}, ...inside) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name in one) one[name] = value;
    else one.setAttribute(name, value);
  }
  if (tag === "button") one.type = "button";
  if (tag === "button" || one.tabIndex >= 0) one.dataset.lmSuppressShortcuts = "true"; // else JupyterLab's keys for cells come first
  one.append(...inside);
  return one;
}

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

function mark(pen, x, y, c, size) {
  const shape = shapes[(c + Math.floor(c / 10)) % 10];
  pen.beginPath();
  if (!shape) pen.arc(x, y, size, 0, 2 * Math.PI);
  else shape.forEach(([a, b], i) => (i ? pen.lineTo(x + a * size, y + b * size) : pen.moveTo(x + a * size, y + b * size)));
  pen.closePath();
  pen.fill();
  pen.stroke();
}

// ---- where the points are on their canvas, and which are near a place: no drawing here

class Chart {
  constructor(N) {
    this.N = N;
    this.x = new Float32Array(N); // pixels, once placed
    this.y = new Float32Array(N);
    this.at = new Float32Array(2 * N);
    this.items = new Int32Array(N);
    this.width = this.height = 0;
    this.home();
  }

  home() { // everything in sight
    this.zoom = 1;
    this.middle = [0, 0];
  }

  lay(points) { // (2 N): moved around 0 and scaled to a largest extent of 1, one scale for both directions
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    points.forEach((value, i) => {
      low[i % 2] = Math.min(low[i % 2], value);
      high[i % 2] = Math.max(high[i % 2], value);
    });
    const extent = Math.max(high[0] - low[0], high[1] - low[1]) || 1;
    this.extents = [0, 1].map((i) => (high[i] - low[i]) / extent);
    return points.map((value, i) => (value - (low[i % 2] + high[i % 2]) / 2) / extent);
  }

  place() { // pixels of all points, and a grid of cells as wide as the reach
    const { N, at, x, y, width, height, middle } = this;
    const fit = Math.min((width - 2 * ROOM) / (this.extents[0] || 1e-9), (height - 2 * ROOM) / (this.extents[1] || 1e-9));
    this.scale = this.zoom * Math.min(fit, Math.max(width, height));
    for (let i = 0; i < N; i++) {
      x[i] = width / 2 + this.scale * (at[2 * i] - middle[0]);
      y[i] = height / 2 - this.scale * (at[2 * i + 1] - middle[1]);
    }
    this.columns = Math.ceil(width / REACH);
    this.rows = Math.ceil(height / REACH);
    const cell = (i) => this.cell(Math.floor(x[i] / REACH), Math.floor(y[i] / REACH));
    this.starts = new Int32Array(this.columns * this.rows + 1); // cell c holds items starts[c] to starts[c + 1]
    for (let i = 0; i < N; i++) this.starts[cell(i) + 1]++;
    for (let c = 1; c < this.starts.length; c++) this.starts[c] += this.starts[c - 1];
    const next = this.starts.slice();
    for (let i = 0; i < N; i++) this.items[next[cell(i)]++] = i;
  }

  cell(column, row) { // those beyond an edge are kept in the cells at the edge
    return bounded(row, 0, this.rows - 1) * this.columns + bounded(column, 0, this.columns - 1);
  }

  nearest(px, py, allowed) { // of the points within reach; -1 for none
    let best = -1, least = REACH * REACH;
    const column = Math.floor(px / REACH), row = Math.floor(py / REACH);
    for (let r = Math.max(0, row - 1); r <= Math.min(this.rows - 1, row + 1); r++) {
      const from = this.starts[this.cell(column - 1, r)], to = this.starts[this.cell(column + 1, r) + 1];
      for (let at = from; at < to; at++) { // three cells beside one another
        const i = this.items[at], d = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
        if (d < least && allowed(i)) [best, least] = [i, d];
      }
    }
    return best;
  }

  central(allowed) { // the point nearest to the middle of the canvas, however far
    let best = -1, least = Infinity;
    for (let i = 0; i < this.N; i++) {
      const d = (this.x[i] - this.width / 2) ** 2 + (this.y[i] - this.height / 2) ** 2;
      if (d < least && allowed(i)) [best, least] = [i, d];
    }
    return best;
  }

  within(outline, allowed) { // points inside a closed line: a ray from them crosses it an odd number of times
    const found = [], bounds = [0, 1].map((d) => outline.map((corner) => corner[d]).sort((a, b) => a - b));
    const [[left, right], [top, bottom]] = bounds.map((sorted) => [sorted[0], sorted.at(-1)]);
    for (let i = 0; i < this.N; i++) {
      const px = this.x[i], py = this.y[i];
      if (px < left || px > right || py < top || py > bottom || !allowed(i)) continue;
      let inside = false;
      for (let a = 0, b = outline.length - 1; a < outline.length; b = a++) {
        const [xa, ya] = outline[a], [xb, yb] = outline[b];
        if (ya > py !== yb > py && px < ((xb - xa) * (py - ya)) / (yb - ya) + xa) inside = !inside;
      }
      if (inside) found.push(i);
    }
    return found;
  }

  zoomAt(px, py, factor) { // what is under the place stays there
    const zoom = bounded(this.zoom * factor, 1, 60), gain = (1 - this.zoom / zoom) / this.scale;
    this.shift((this.width / 2 - px) * gain, (this.height / 2 - py) * gain);
    this.zoom = zoom;
    if (zoom === 1) this.home();
  }

  shift(dx, dy) { // the points move by that much, in units of the layout
    this.middle = [bounded(this.middle[0] - dx, -0.5, 0.5), bounded(this.middle[1] + dy, -0.5, 0.5)];
  }
}

// ---- the whole

let maps = 0; // on this page: for ids, which must differ

function render({ model, el }) {
  const data = model.get("data"), { classes, k, names, tile, columns } = data;
  const label = new Uint16Array(copied(data.labels)), index = new Int32Array(copied(data.index)), N = label.length;
  const near = data.neighbours.map((view) => new (N > 65536 ? Uint32Array : Uint16Array)(copied(view))); // N k a side, nearest first
  const position = new Map(Array.from(index, (number, i) => [number, i])); // picture number -> which of the N
  const sides = names.map((_, s) => s), two = names.length === 2;
  const id = `mnclglf-map-${++maps}`;

  // what the hand does here alone; what both ends know is in the model
  let hovered = -1, active = 0, step = -1, pictures = false, lassoing = false, drawn = "", moving = 0;
  let trail = []; // pins before this one
  let picked = new Uint8Array(N), pickedCount = 0;
  let sheet = null; // all pictures, once they are there
  const ink = {}; // colours of the theme

  const pinned = () => position.get(model.get("pinned")) ?? -1;
  const shown = () => (pinned() >= 0 ? pinned() : hovered);
  const alone = () => model.get("isolated") ?? -1;
  const ofClass = (i) => alone() < 0 || label[i] === alone();
  const neighbour = (s, i, j) => near[s][i * k + j];
  const agrees = (s, i, j) => label[neighbour(s, i, j)] === label[i];
  const colour = (c) => (ink.dark ? data.darkColours : data.colours)[c % 10];
  const percent = (share) => `${Math.round(100 * share)} %`;
  const put = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };

  // ---- what stands on the page
  const button = (text, press, more = {}) => make("button", { textContent: text, onclick: press, ...more });
  const kinds = data.kinds.map(([kind, name]) => button(name, () => put("kind", kind)));
  const lassoButton = button("Lasso", () => {
    lassoing = !lassoing;
    lassoButton.setAttribute("aria-pressed", String(lassoing));
    root.classList.toggle("lassoing", lassoing);
  }, { "aria-pressed": "false", title: "Drag a line around dots to select them (or: Shift and drag)" });
  const picturesButton = button("Pictures over the dots", () => {
    pictures = !pictures;
    picturesButton.setAttribute("aria-pressed", String(pictures));
    paintAll();
  }, { "aria-pressed": "false", hidden: !tile });
  const status = make("span", { className: "state" });
  const tools = make("div", { className: "row tools" },
    make("div", { className: "row", role: "group", "aria-label": "Layout", hidden: kinds.length < 2 }, ...kinds),
    make("div", { className: "row" }, lassoButton, picturesButton), status);

  const views = sides.map((s) => {
    const view = { s, chart: new Chart(N), dots: make("canvas", { className: "dots", "aria-hidden": "true" }) };
    view.over = make("canvas", {
      className: "over", tabIndex: 0, role: "application", "aria-describedby": `${id}-truth ${id}-keys`,
      "aria-label": `${two ? `${names[s]}: map` : "Map"} of ${count(N)} pictures in ${classes.length} classes`,
    });
    const zoom = (factor) => () => zoomBy(s, factor, view.chart.width / 2, view.chart.height / 2);
    view.frame = make("div", { className: "frame" }, view.dots, view.over, make("div", { className: "zoom" },
      button("+", zoom(1.6), { "aria-label": "Zoom in" }), button("\u2212", zoom(1 / 1.6), { "aria-label": "Zoom out" }),
      button("Fit", zoom(0), { "aria-label": "Zoom out to all dots" })));
    view.head = make("p", { className: "head" }, ...(names[s] ? [make("b", {}, names[s]), " \u00b7 "] : []),
      `${percent(data.shares[s])} of the ${k} nearest neighbours share their picture's label`);
    return view;
  });
  const truth = make("p", { className: "small truth", id: `${id}-truth` });
  const large = make("canvas", { className: "large", width: 128, height: 128, "aria-hidden": "true", hidden: !tile });
  const nameLine = make("p", { className: "name" }), facts = make("p", { className: "facts" });
  const strips = sides.map((s) => make("div", { className: "strip", role: "group", "aria-label": stripName(s) },
    ...Array.from({ length: k }, (_, j) => {
      const small = make("canvas", { width: 64, height: 64, hidden: !tile }), text = make("span");
      const one = button("", () => walk(neighbour(s, shown(), j), s), { className: "near", hidden: true });
      one.append(small, text);
      return Object.assign(one, { pen: small.getContext("2d"), text });
    })));
  const legend = make("div", { className: "legend", role: "group", "aria-label": "Classes" });
  const tellSelected = make("p", { className: "facts" }), chosenSheet = make("canvas", { className: "chosen-sheet", hidden: true });
  const withNeighbours = button("It and its neighbours", () => {
    const i = shown();
    select([i, ...sides.flatMap((s) => Array.from({ length: k }, (_, j) => neighbour(s, i, j)))]);
  });
  const oneMore = button("Add it", () => {
    const i = shown(), others = positions().filter((one) => one !== i);
    select(picked[i] ? others : [...others, i]);
  });
  const itsClass = button("Its class", () => {
    const c = shown() >= 0 ? label[shown()] : alone();
    select(Array.from(label.keys()).filter((i) => label[i] === c));
  });
  const none = button("None", () => select([]));
  const stripBlock = (s) => [make("h3", {}, stripName(s)), strips[s]];
  const keys = make("p", { className: "small", id: `${id}-keys` });
  keys.innerHTML = `Move over the map to look, click to pin. Drag moves the map, <kbd>Shift</kbd> and drag draws a lasso.
    Keys: <kbd>&larr;</kbd> <kbd>&rarr;</kbd> step through the neighbours, <kbd>Enter</kbd> goes to the one chosen,
    <kbd>Backspace</kbd> goes back, <kbd>Esc</kbd> lets go; <kbd>+</kbd> <kbd>&minus;</kbd> <kbd>0</kbd> zoom, <kbd>Shift</kbd> and
    arrows move the map. The wheel zooms while the map has the focus, or with <kbd>Ctrl</kbd>.`;
  const saying = make("div", { className: "unseen", "aria-live": "polite" });
  const probe = make("span", { hidden: true });
  const one = make("div", { className: "one" }, large, make("div", {}, nameLine, facts));
  const classBlock = [make("h3", {}, "Classes (press one to see it alone)"), legend];
  const selectedBlock = make("div", {}, make("h3", {}, "Selected"), tellSelected,
    make("div", { className: "row", role: "group", "aria-label": "Select" }, withNeighbours, itsClass, oneMore, none), chosenSheet);
  const panel = make("div", { className: "panel" }, ...(two ? [make("div", {}, one, ...classBlock), selectedBlock]
    : [one, make("div", {}, ...stripBlock(0)), selectedBlock, make("div", {}, ...classBlock)]));
  const columnsOf = views.map(({ head, frame }, s) => make("div", {}, head, frame, ...(two ? stripBlock(s) : [])));
  const root = make("div", { className: "mnclglf-map mnclglf-map-colours" }, tools,
    make("div", { className: two ? "body two" : "body" }, make("div", {}, make("div", { className: "maps" }, ...columnsOf), truth), panel),
    keys, saying, probe);
  el.append(root);

  function stripName(s) {
    return `${two ? `${names[s]}: its` : "Its"} ${k} neighbours, nearest first`;
  }

  // ---- drawing
  function theme() { // the colours as the page has them; there are none before the map is on it
    if (!root.isConnected) return;
    for (const name of ["paper", "ink", "agree", "disagree", "edge", "veil"]) {
      probe.style.color = `var(--${name})`;
      ink[name] = getComputedStyle(probe).color;
    }
    ink.dark = Number(ink.paper.match(/\d+/)[0]) < 128;
    stamps.clear();
    drawLegend();
    paintAll();
    tell();
  }

  // A dot is drawn once for each look and then only copied: ten thousand of them take a few milliseconds.
  const stamps = new Map();
  function stamp(c, size, look) {
    const key = `${c % 100} ${size} ${look}`;
    if (!stamps.has(key)) {
      const ratio = devicePixelRatio || 1, side = 2 * Math.ceil((1.4 * size + 3) * ratio);
      const board = new OffscreenCanvas(side, side), pen = board.getContext("2d");
      pen.translate(side / 2, side / 2);
      pen.scale(ratio, ratio);
      pen.globalAlpha = { plain: 0.85, behind: 0.3, ghost: 0.08, picked: 1 }[look];
      pen.fillStyle = colour(c);
      pen.strokeStyle = look === "picked" ? ink.ink : ink.edge;
      pen.lineWidth = look === "picked" ? 1.6 : 0.6;
      mark(pen, 0, 0, c, look === "picked" ? size + 1 : size);
      stamps.set(key, board.transferToImageBitmap());
    }
    return stamps.get(key);
  }

  const dotSize = (chart) => Math.round(2 * bounded(150 / Math.sqrt(N), 2.6, 5.5) * Math.min(2, chart.zoom ** 0.3)) / 2;

  function picture(pen, i, x, y, side) {
    pen.imageSmoothingEnabled = false;
    if (sheet) pen.drawImage(sheet, (i % columns) * tile, Math.floor(i / columns) * tile, tile, tile, x, y, side, side);
  }

  function paint(view) { // the dots, and what is over them
    const { chart, dots } = view;
    const { width, height, x, y } = chart;
    if (!width || !drawn || !ink.paper) return;
    chart.place();
    const ratio = devicePixelRatio || 1, size = dotSize(chart), pen = dots.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, dots.width, dots.height);
    const put = (i, look) => {
      if (x[i] < -9 || y[i] < -9 || x[i] > width + 9 || y[i] > height + 9) return;
      const image = stamp(label[i], size, look);
      pen.drawImage(image, Math.round(x[i] * ratio - image.width / 2), Math.round(y[i] * ratio - image.height / 2));
    };
    const plain = pickedCount || pictures ? "behind" : "plain";
    if (alone() >= 0) for (let i = 0; i < N; i++) if (!ofClass(i)) put(i, "ghost");
    for (let i = 0; i < N; i++) if (ofClass(i) && !picked[i]) put(i, plain);
    if (pickedCount) for (let i = 0; i < N; i++) if (ofClass(i) && picked[i]) put(i, "picked");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (pictures) paintPictures(pen, chart);
    paintOver(view);
  }

  function paintPictures(pen, { x, y, width, height }) { // that don't cover one another: first come, first shown
    const cell = THUMB + 4, taken = new Map();
    for (let i = 0; i < N; i++) {
      if (!ofClass(i) || x[i] < 0 || y[i] < 0 || x[i] > width || y[i] > height) continue;
      const column = Math.floor(x[i] / cell), row = Math.floor(y[i] / cell);
      let free = true;
      for (let r = row - 1; free && r <= row + 1; r++) for (let c = column - 1; free && c <= column + 1; c++) {
        const other = taken.get(4096 * r + c); // a cell has room for one
        free = other === undefined || Math.abs(x[i] - x[other]) >= cell || Math.abs(y[i] - y[other]) >= cell;
      }
      if (!free) continue;
      taken.set(4096 * row + column, i);
      picture(pen, i, x[i] - THUMB / 2, y[i] - THUMB / 2, THUMB);
      pen.strokeStyle = picked[i] ? ink.ink : colour(label[i]);
      pen.lineWidth = picked[i] ? 3 : 2;
      pen.strokeRect(x[i] - THUMB / 2, y[i] - THUMB / 2, THUMB, THUMB);
    }
  }

  function paintOver({ s, chart, over }) { // lines to the neighbours, the picture itself, the lasso
    const { width, height, x, y } = chart, ratio = devicePixelRatio || 1, focus = shown(), pen = over.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (focus >= 0 && drawn) {
      const size = dotSize(chart);
      pen.fillStyle = ink.veil;
      pen.fillRect(0, 0, width, height);
      for (let j = 0; j < k; j++) {
        const i = neighbour(s, focus, j), same = agrees(s, focus, j);
        pen.strokeStyle = same ? ink.agree : ink.disagree;
        pen.lineWidth = s === active && j === step ? 4 : 2;
        pen.setLineDash(same ? [] : [5, 4]);
        pen.beginPath();
        pen.moveTo(x[focus], y[focus]);
        pen.lineTo(x[i], y[i]);
        pen.stroke();
      }
      pen.setLineDash([]);
      pen.strokeStyle = ink.ink;
      const dot = (i, more) => {
        pen.fillStyle = colour(label[i]);
        mark(pen, x[i], y[i], label[i], size + more);
      };
      pen.lineWidth = 1.2;
      for (let j = 0; j < k; j++) dot(neighbour(s, focus, j), s === active && j === step ? 4 : 1.5);
      pen.lineWidth = 2.2;
      dot(focus, 4);
      if (tile) {
        const [left, top] = corner(chart, s, focus);
        picture(pen, focus, left, top, 64);
        pen.strokeRect(left, top, 64, 64);
      }
    }
    if (drag?.outline && drag.s === s) {
      pen.strokeStyle = ink.ink;
      pen.fillStyle = ink.veil;
      pen.lineWidth = 1.5;
      pen.setLineDash([6, 3]);
      pen.beginPath();
      for (const [px, py] of drag.outline) pen.lineTo(px, py);
      pen.closePath();
      pen.fill();
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  function corner({ x, y, width, height }, s, focus) { // beside the dot, where it covers the fewest of its neighbours
    let best = [4, 4], least = Infinity;
    for (const [across, down] of [[14, -78], [-78, -78], [14, 14], [-78, 14]]) {
      const left = x[focus] + across, top = y[focus] + down, outside = left < 4 || top < 4 || left > width - 68 || top > height - 68;
      let covered = outside ? k + 1 : 0;
      for (let j = 0; j < k; j++) {
        const i = neighbour(s, focus, j);
        covered += x[i] > left - 6 && x[i] < left + 70 && y[i] > top - 6 && y[i] < top + 70;
      }
      if (covered < least) [best, least] = [[bounded(left, 4, width - 68), bounded(top, 4, height - 68)], covered];
    }
    return best;
  }

  const paintAll = () => views.forEach(paint);
  const waiting = new Set(); // of views that must be painted before the next frame
  function paintSoon(view) {
    if (!waiting.size) requestAnimationFrame(() => {
      waiting.forEach(paint);
      waiting.clear();
    });
    waiting.add(view);
  }

  function resize() {
    const ratio = devicePixelRatio || 1;
    stamps.clear(); // the screen may be another
    for (const { chart, dots, over } of views) {
      chart.width = over.clientWidth;
      chart.height = over.clientHeight;
      for (const canvas of [dots, over]) [canvas.width, canvas.height] = [chart.width * ratio, chart.height * ratio];
    }
    paintAll();
  }

  // ---- the layout: another one may have to be computed at the model's other end first
  function arrange() {
    const kind = model.get("kind"), points = model.get("layouts")[kind], problem = model.get("problem");
    const name = Object.fromEntries(data.kinds)[kind];
    kinds.forEach((one, i) => one.setAttribute("aria-pressed", String(data.kinds[i][0] === kind)));
    const text = problem || (points ? "" : `Computing ${name} \u2026 (the map stays usable)`);
    if (text && text !== status.textContent) say(text);
    status.textContent = text;
    status.classList.toggle("problem", Boolean(problem));
    root.setAttribute("aria-busy", String(!points));
    if (!points || kind === drawn) return;
    const dimensions = [...new Set(data.dimensions)].map(count).join("- and the ") + "-dimensional space" + (two ? "s" : "");
    truth.textContent = `${data.about[kind] || name}. Neighbours are measured in the ${dimensions}; this flat picture may disagree.`;
    if (drawn) say(`${name} is shown.`);
    const from = views.map(({ chart }) => chart.at), to = views.map(({ chart }, s) => chart.lay(new Float32Array(copied(points[s]))));
    const still = !drawn || matchMedia("(prefers-reduced-motion: reduce)").matches;
    drawn = kind;
    moveDots(from, to, still ? 0 : 500);
  }

  function moveDots(from, to, milliseconds) { // so that the eye can follow them into the new layout
    cancelAnimationFrame(moving);
    const begun = performance.now();
    const frame = () => {
      const t = milliseconds ? Math.min(1, (performance.now() - begun) / milliseconds) : 1, share = t * t * (3 - 2 * t);
      views.forEach(({ chart }, s) => {
        chart.at = t < 1 ? to[s].map((value, i) => from[s][i] + share * (value - from[s][i])) : to[s];
      });
      paintAll();
      if (t < 1) moving = requestAnimationFrame(frame);
      else root.dataset.kind = drawn;
    };
    frame();
  }

  // ---- the panel
  const say = (text) => { saying.textContent = text; };

  function agreement(s, i) {
    let same = 0;
    for (let j = 0; j < k; j++) same += agrees(s, i, j);
    return `${same} of ${k} neighbours share its label`;
  }

  function words(i) {
    const told = sides.map((s) => (two ? `${names[s]}: ` : "") + agreement(s, i));
    if (two) {
      const first = new Set(Array.from({ length: k }, (_, j) => neighbour(0, i, j)));
      const both = Array.from({ length: k }, (_, j) => first.has(neighbour(1, i, j))).filter(Boolean).length;
      told.push(`${both} of ${k} neighbours are the same in both`);
    }
    return told;
  }

  function tell() {
    const i = shown();
    large.getContext("2d").clearRect(0, 0, 128, 128);
    nameLine.textContent = i < 0 ? "Point at a dot" : classes[label[i]];
    facts.textContent = i < 0 ? `${count(N)} pictures in ${classes.length} classes${tile ? "" : ", shown as dots: the pictures themselves are not here"}`
      : [`picture ${index[i]}${i === pinned() ? ", pinned" : ""}`, ...words(i)].join("\n");
    if (i >= 0) picture(large.getContext("2d"), i, 0, 0, 128);
    for (const s of sides) for (let j = 0; j < k; j++) {
      const one = strips[s].children[j];
      one.hidden = i < 0;
      if (i < 0) continue;
      const n = neighbour(s, i, j), same = agrees(s, i, j), name = classes[label[n]];
      one.className = `near ${same ? "yes" : "no"}${s === active && j === step ? " chosen" : ""}`;
      one.setAttribute("aria-label", `neighbour ${j + 1}: ${name}, picture ${index[n]}, ${same ? "same" : "another"} label`);
      one.text.textContent = `${same ? "\u2713" : "\u2717"} ${name}`;
      picture(one.pen, n, 0, 0, 64);
    }
    withNeighbours.disabled = oneMore.disabled = i < 0;
    itsClass.disabled = i < 0 && alone() < 0;
    itsClass.textContent = i < 0 && alone() >= 0 ? "This class" : "Its class";
    oneMore.textContent = i >= 0 && picked[i] ? "Take it out" : "Add it";
  }

  function look() { // what is under the hand has changed: not the dots
    tell();
    views.forEach(paintOver);
  }

  function drawLegend() {
    const counts = new Int32Array(classes.length), at = [...legend.children].indexOf(document.activeElement);
    for (const c of label) counts[c]++;
    legend.replaceChildren(...classes.map((name, c) => {
      const swatch = make("canvas", { width: 28, height: 28 }), pen = swatch.getContext("2d");
      pen.fillStyle = colour(c);
      pen.strokeStyle = ink.edge;
      mark(pen, 14, 14, c, 9);
      const one = button("", () => put("isolated", alone() === c ? null : c), {
        "aria-pressed": String(c === alone()), tabIndex: c === Math.max(0, alone()) ? 0 : -1,
      });
      one.append(swatch, `${name} ${count(counts[c])}`);
      return one;
    }));
    if (at >= 0) legend.children[at].focus();
  }

  // ---- what can be changed from either end
  function onPinned() {
    const i = pinned();
    step = -1;
    say(i < 0 ? "Nothing is pinned." : `Pinned ${classes[label[i]]}, picture ${index[i]}. ${words(i).join(". ")}.`);
    look();
  }

  function onIsolated() {
    const c = alone();
    [...legend.children].forEach((one, i) => {
      one.setAttribute("aria-pressed", String(i === c));
      one.tabIndex = i === Math.max(0, c) ? 0 : -1;
    });
    say(c < 0 ? "All classes are shown." : `Only ${classes[c]} is shown.`);
    hovered = -1;
    if (pinned() >= 0 && !ofClass(pinned())) pin(-1);
    paintAll();
    tell();
  }

  const positions = () => Array.from(picked.keys()).filter((i) => picked[i]);

  function select(chosen) { // positions, in any order, maybe more than once
    const numbers = Int32Array.from([...new Set(chosen)].sort((a, b) => a - b), (i) => index[i]);
    put("selected", new DataView(numbers.buffer));
  }

  function onSelected() {
    readSelected();
    say(pickedCount ? `Selected ${tellSelected.textContent}.` : "Nothing is selected.");
  }

  function readSelected() {
    picked.fill(0);
    const view = model.get("selected");
    for (const number of new Int32Array(copied(view))) picked[position.get(number)] = 1;
    const chosen = positions();
    pickedCount = chosen.length;
    tellSelected.textContent = pickedCount ? `${count(pickedCount)} picture${pickedCount > 1 ? "s" : ""}: ${tally(chosen)}`
      : "nothing: draw a lasso, or press one of these";
    none.disabled = !pickedCount;
    drawChosen(chosen);
    paintAll();
    tell();
  }

  function tally(chosen) { // of each class, the five largest first
    const counts = new Map();
    for (const i of chosen) counts.set(label[i], (counts.get(label[i]) || 0) + 1);
    const order = [...counts].sort(([a, m], [b, n]) => n - m || a - b), rest = order.slice(5).reduce((sum, [, n]) => sum + n, 0);
    return order.slice(0, 5).map(([c, n]) => `${count(n)} ${classes[c]}`).join(", ")
      + (rest ? ` and ${count(rest)} of ${order.length - 5} more class${order.length > 6 ? "es" : ""}` : "");
  }

  function drawChosen(chosen) {
    chosenSheet.hidden = !tile || !chosen.length;
    chosenSheet.setAttribute("role", "img");
    chosenSheet.setAttribute("aria-label", `The first ${Math.min(SHEET_MOST, chosen.length)} of the selected pictures`);
    chosenSheet.width = 12 * 32;
    chosenSheet.height = 32 * Math.ceil(Math.min(SHEET_MOST, chosen.length) / 12);
    const pen = chosenSheet.getContext("2d");
    chosen.slice(0, SHEET_MOST).forEach((i, at) => picture(pen, i, (at % 12) * 32, Math.floor(at / 12) * 32, 31));
  }

  // ---- the hand
  function pin(i) {
    put("pinned", i < 0 ? null : index[i]);
  }

  function walk(i, s) {
    active = s;
    if (pinned() >= 0) trail.push(pinned());
    pin(i);
    views[s].over.focus({ preventScroll: true });
  }

  function hover(i, s) {
    if (i === hovered) return;
    hovered = i;
    active = pinned() >= 0 ? active : s;
    if (pinned() < 0) look();
  }

  function zoomBy(s, factor, x, y) { // factor 0: everything in sight
    const { chart } = views[s];
    if (factor) chart.zoomAt(x, y, factor);
    else chart.home();
    paintSoon(views[s]);
  }

  let drag = null; // from a press of the button to its release

  views.forEach((view, s) => {
    const { chart, over } = view;
    const place = (event) => [event.offsetX, event.offsetY];
    over.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      const [x, y] = place(event);
      drag = { s, x, y, far: false, outline: lassoing || event.shiftKey ? [[x, y]] : null };
      over.setPointerCapture(event.pointerId);
    });
    over.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      if (!drag) return hover(chart.nearest(x, y, ofClass), s);
      drag.far ||= Math.hypot(x - drag.x, y - drag.y) > 4;
      if (!drag.far) return;
      if (drag.outline) {
        const [lastX, lastY] = drag.outline.at(-1);
        if (Math.hypot(x - lastX, y - lastY) >= 3) drag.outline.push([x, y]);
        return paintOver(view);
      }
      chart.shift((x - drag.x) / chart.scale, (y - drag.y) / chart.scale);
      [drag.x, drag.y] = [x, y];
      paintSoon(view);
    });
    over.addEventListener("pointerup", (event) => {
      const { far, outline } = drag || { far: true };
      drag = null;
      if (far && outline) select(chart.within(outline, ofClass));
      if (far) return;
      const found = chart.nearest(...place(event), ofClass);
      active = s;
      if (found < 0 || found === pinned()) trail = [];
      if (found >= 0 && found !== pinned()) walk(found, s);
      else pin(-1);
    });
    over.addEventListener("pointercancel", () => {
      drag = null;
      look();
    });
    over.addEventListener("pointerleave", () => { if (!drag) hover(-1, s); });
    over.addEventListener("wheel", (event) => {
      if (!(event.ctrlKey || event.metaKey || document.activeElement === over)) return; // the page's own: scrolling
      event.preventDefault();
      zoomBy(s, Math.exp(-event.deltaY / (event.deltaMode ? 12 : 300)), ...place(event));
    }, { passive: false });
  });

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = event.target, onMap = sides.find((s) => views[s].over === from), onStrip = sides.find((s) => strips[s].contains(from));
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (legend.contains(from) && by) {
      const all = [...legend.children];
      all[(all.indexOf(from) + by + all.length) % all.length].focus();
    } else if (event.key === "Escape") {
      trail = [];
      drag = null;
      pin(-1);
      look();
    } else if (onMap === undefined && onStrip === undefined) return;
    else if (!keyed(event, onMap ?? onStrip, by, onMap !== undefined)) return;
    event.preventDefault();
    event.stopPropagation();
  });

  function keyed(event, s, by, onMap) { // true: the key meant something here
    const { chart } = views[s], i = pinned(), zoom = { "+": 1.6, "=": 1.6, "-": 1 / 1.6, 0: 0 }[event.key];
    if (by && event.shiftKey) {
      const far = 60 / chart.scale, across = event.key === "ArrowLeft" || event.key === "ArrowRight";
      chart.shift(across ? -by * far : 0, across ? 0 : -by * far);
      paintSoon(views[s]);
    } else if (by && i < 0) {
      active = s;
      pin(hovered >= 0 ? hovered : chart.central(ofClass));
    } else if (by) {
      step = s !== active || step < 0 ? (by > 0 ? 0 : k - 1) : (step + by + k) % k;
      active = s;
      const n = neighbour(s, i, step);
      say(`${two ? `${names[s]}: n` : "N"}eighbour ${step + 1} of ${k}: ${classes[label[n]]}, picture ${index[n]}, ${agrees(s, i, step) ? "same" : "another"} label.`);
      look();
    } else if (event.key === "Enter" && onMap && i >= 0 && step >= 0) walk(neighbour(active, i, step), active);
    else if (event.key === "Backspace" && trail.length) pin(trail.pop());
    else if (onMap && zoom !== undefined) zoomBy(s, zoom, chart.width / 2, chart.height / 2);
    else return false;
    return true;
  }

  // ---- begin: the dots first, the pictures when they are unpacked
  const answers = {
    "change:kind change:layouts change:problem": arrange, "change:pinned": onPinned, "change:selected": onSelected,
    "change:isolated": onIsolated,
  };
  for (const [events, answer] of Object.entries(answers)) model.on(events, answer);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", theme);
  const themes = new MutationObserver(theme); // JupyterLab says its theme on the body
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  arrange();
  readSelected();
  const sizes = new ResizeObserver(() => { // at once, too, when the map comes onto the page: a notebook renders it before
    if (!ink.paper) theme();
    resize();
    root.dataset.painted = "yes";
  });
  for (const view of views) sizes.observe(view.frame);
  if (tile) createImageBitmap(new Blob([copied(data.sheet)], { type: "image/jpeg" })).then((bitmap) => {
    sheet = bitmap;
    readSelected();
    look();
    root.dataset.ready = "yes";
  });
  else root.dataset.ready = "yes";
  return () => {
    cancelAnimationFrame(moving);
    for (const [events, answer] of Object.entries(answers)) model.off(events, answer);
    dark.removeEventListener("change", theme);
    themes.disconnect();
    sizes.disconnect();
    sheet?.close();
  };
}

export default { render };
