"use strict";
// The grid: only the rows and columns in view exist as elements, so its size does not matter.
const grid = find("grid"), head = find("head"), body = find("rows");
const view = { rows: [], methods: [], cells: new Map(), current: [0, 0], height: 0, first: 0, cell: 0 };

function measure() {
  const size = +state.size, root = document.documentElement.style;
  const tallest = Math.max(1, ...view.rows.map(row => row.network.height / row.network.width));
  const lines = state.scores.length + (view.rows.some(row => row.class) ? 1 : 0);
  view.cell = size + 6;
  view.height = Math.max(Math.ceil(size * tallest) + 15 * lines, Math.ceil(size * 0.75 * tallest) + 15 * 5) + 18;
  view.first = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--first")) * parseFloat(getComputedStyle(document.documentElement).fontSize);
  root.setProperty("--tile", `${size}px`);
  root.setProperty("--height", `${view.height}px`);
  const width = view.first + view.methods.length * view.cell + 10;
  head.style.width = body.style.width = `${width}px`;
  body.style.height = `${view.rows.length * view.height}px`;
}

function about(row) {
  const parts = [stack(row), make("b", { title: row.label, className: "class" }, row.label)];
  if (row.predicted) {
    const mark = row.right === null ? "" : row.right ? "right" : "wrong";
    parts.push(make("b", { className: mark, title: `predicted: ${row.predicted}` },
      `${row.right === false ? "✗" : "✓"} ${row.predicted} ${format(row.probability)}`));
  }
  parts.push(make("b", { title: row.name, className: "quiet" }, row.name));
  parts.push(make("b", { className: "quiet", title: networkName(row.network) }, networkName(row.network)));
  const label = `open ${row.name}`;
  return make("button", { type: "button", className: "about", tabIndex: -1, ariaLabel: label }, ...parts);
}

function redraw() {
  view.cells.clear();
  body.replaceChildren();
  head.replaceChildren(make("div", { className: "corner quiet", role: "columnheader" }, `${view.rows.length} images`));
  view.methods.forEach((method, column) => {
    const { title, reference, budget } = gallery.methods[method];
    const label = make("div", { className: reference ? "method reference" : "method", role: "columnheader",
      title: budget ? `${title}, ${budget}` : title }, title);
    label.style.left = `${view.first + column * view.cell}px`;
    head.append(label);
  });
  fill();
}

function fill() {
  const { scrollTop, scrollLeft, clientHeight, clientWidth } = grid;
  const within = (at, most) => Math.max(0, Math.min(most, at));
  const top = within(Math.floor(scrollTop / view.height) - 1, view.rows.length);
  const bottom = within(Math.ceil((scrollTop + clientHeight) / view.height) + 1, view.rows.length);
  const left = within(Math.floor(scrollLeft / view.cell) - 1, view.methods.length);
  const right = within(Math.ceil((scrollLeft + clientWidth - view.first) / view.cell) + 1, view.methods.length);
  for (const [number, line] of view.cells) {
    if (number < top || number >= bottom) {
      line.element.remove();
      view.cells.delete(number);
    } else {
      for (const [column, element] of line.tiles) {
        if (column < left || column >= right) {
          element.remove();
          line.tiles.delete(column);
        }
      }
    }
  }
  for (let number = top; number < bottom; number++) {
    const row = view.rows[number];
    if (!view.cells.has(number)) {
      const element = make("div", { className: "row", role: "row" });
      element.style.top = `${number * view.height}px`;
      const first = about(row);
      first.addEventListener("click", () => openDetail(row));
      element.append(first);
      body.append(element);
      view.cells.set(number, { element, tiles: new Map() });
    }
    const line = view.cells.get(number);
    for (let column = left; column < right; column++) {
      const method = view.methods[column];
      if (line.tiles.has(column) || !row.network.byMethod.has(method)) continue;
      const element = tile(row, method);
      element.style.left = `${view.first + column * view.cell}px`;
      if (number === view.current[0] && column === view.current[1]) element.tabIndex = 0;
      element.addEventListener("click", () => {
        view.current = [number, column];
        openDetail(row, method);
      });
      line.tiles.set(column, element);
      line.element.append(element);
    }
  }
}

function update() {
  view.rows = shownRows();
  view.methods = shownMethods(view.rows);
  view.current = [Math.min(view.current[0], Math.max(0, view.rows.length - 1)),
    Math.min(view.current[1], Math.max(0, view.methods.length - 1))];
  measure();
  redraw();
  const empty = !view.rows.length || !view.methods.length;
  find("nothing").hidden = !empty;
  find("status").textContent =
    `${view.rows.length} of ${rows.length} images × ${view.methods.length} of ${gallery.methods.length} methods`;
}

function move(down, right) {
  const last = [view.rows.length - 1, view.methods.length - 1];
  const [row, column] = view.current.map((at, i) => Math.max(0, Math.min(last[i], at + [down, right][i])));
  view.cells.get(view.current[0])?.tiles.get(view.current[1])?.setAttribute("tabindex", "-1");
  view.current = [row, column];
  const top = row * view.height, left = column * view.cell;
  const high = grid.clientHeight - head.offsetHeight, wide = grid.clientWidth - view.first;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + view.height > grid.scrollTop + high) grid.scrollTop = top + view.height - high;
  if (left < grid.scrollLeft) grid.scrollLeft = left;
  if (left + view.cell > grid.scrollLeft + wide) grid.scrollLeft = left + view.cell - wide;
  fill();
  const element = view.cells.get(row)?.tiles.get(column);
  if (element) {
    element.tabIndex = 0;
    element.focus({ preventScroll: true });
  }
}

let waiting = false;
grid.addEventListener("scroll", () => {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    fill();
  });
});
addEventListener("resize", () => {
  measure();
  redraw();
});
const STEPS = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
grid.addEventListener("keydown", event => {
  if (!STEPS[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  move(...STEPS[event.key]);
});
