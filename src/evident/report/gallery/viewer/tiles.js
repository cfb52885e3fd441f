"use strict";
// Tiles: a picture, a grey heatmap that a filter colours, and an outline. A browser lets no page read the pixels of
// files on the disk, so colours come from an SVG filter, and scales from two ways of blending.
const sheets = new Map();
function sheet(file) {
  if (!sheets.has(file)) {
    const image = new Image();
    image.src = `tiles/${file}`;
    sheets.set(file, image.decode().then(() => image, () => null));  // a missing file leaves its tiles empty
  }
  return sheets.get(file);
}

const colours = text => text.match(/.{6}/g).map(hex => [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16) / 255));
function addFilter(id, text) {
  const table = colours(text);
  const channels = ["R", "G", "B"].map((channel, i) =>
    draw(`feFunc${channel}`, { type: "table", tableValues: table.map(colour => colour[i].toFixed(4)).join(" ") }));
  find("filters").append(draw("filter", { id, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1 },
    draw("feComponentTransfer", {}, ...channels)));
}
const gradient = text => `linear-gradient(90deg, ${text.match(/.{6}/g).map(hex => `#${hex}`).join(", ")})`;

const stripOf = cell => (state.signed && cell.signed ? cell.signed : cell);
const hasSigned = gallery.networks.some(network => network.cells.some(cell => cell.signed));

// The values that are black and white: of the tile, of all tiles of a method, or of all chosen methods.
const ranges = new Map();
function rangeOf(row, method) {
  const strip = stripOf(row.network.byMethod.get(method));
  if (state.scale === "tile") return [strip.low[row.index], strip.high[row.index]];
  const methods = state.scale === "method" ? [method] : state.methods;
  const key = `${row.network.data} ${state.signed} ${methods.join()} ${strip.signed ? 1 : 0}`;
  if (!ranges.has(key)) {
    let low = Infinity, high = -Infinity;
    for (const network of gallery.networks) {
      if (network.data !== row.network.data) continue;
      for (const one of methods) {
        const cell = network.byMethod.get(one);
        if (!cell) continue;
        const own = stripOf(cell);
        low = Math.min(low, ...own.low);
        high = Math.max(high, ...own.high);
      }
    }
    if (state.signed && hasSigned) low = -(high = Math.max(-low, high));
    ranges.set(key, [low, high]);
  }
  return ranges.get(key);
}

const grey = share => `rgb(${[0, 0, 0].fill(Math.round(255 * Math.min(1, Math.max(0, share)))).join()})`;
async function paint(canvas, network, index, file, range) {
  const image = await sheet(file);
  const { width, height, columns } = network;
  const context = canvas.getContext("2d");
  if (!image || !context) return;
  const x = (index % columns) * width, y = Math.floor(index / columns) * height;
  context.globalCompositeOperation = "copy";
  context.drawImage(image, x, y, width, height, 0, 0, width, height);
  if (!range) return;
  // value = low + level (high - low), on the scale [from, to]: level * factor + offset.
  const [low, high, from, to] = range, span = to - from;
  context.globalCompositeOperation = "multiply";
  context.fillStyle = grey(span > 0 ? (high - low) / span : 0);
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "lighter";
  context.fillStyle = grey(span > 0 ? (low - from) / span : 0);
  context.fillRect(0, 0, width, height);
}

// The stack of a tile; without a method the picture alone.
function stack(row, method) {
  const { network, index } = row, { width, height } = network;
  const box = make("span", { className: width < 64 ? "stack pixels" : "stack" });
  box.style.setProperty("--ratio", height / width);
  const picture = make("canvas", { width, height });
  paint(picture, network, index, network.pictures, null);
  box.append(picture);
  const cell = method === undefined ? null : network.byMethod.get(method);
  if (cell) {
    const strip = stripOf(cell);
    const heat = make("canvas", { width, height, className: strip === cell ? "heat" : "heat signed" });
    const whole = [strip.low[index], strip.high[index]];
    paint(heat, network, index, strip.tiles, state.scale === "tile" ? null : [...whole, ...rangeOf(row, method)]);
    box.append(heat);
  }
  const path = network.outlines && network.outlines[index];
  if (path) {
    box.append(draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" },
      draw("path", { d: path, class: "under" }), draw("path", { d: path, class: "over" })));
  }
  return box;
}

function captionLines(row) {
  if (!row.class) return [];
  return [[row.class, row.own === undefined || row.own === null ? "" : row.own.toFixed(2)]];
}

function tile(row, method, named = false) {
  const lines = captionLines(row).map(([text, number]) => make("span", { className: "said" }, make("i", {}, text), make("b", {}, number)));
  for (const metric of state.scores) {
    const value = format(scoreOf(row, method, metric));
    lines.push(make("span", { title: words(gallery.scores[metric].name) },
      make("i", {}, gallery.scores[metric].short), make("b", {}, value)));
  }
  const name = gallery.methods[method].title;
  if (named) lines.unshift(make("span", { className: "name", title: name }, make("i", {}, name)));
  const text = `${name}, ${[row.name, row.class].filter(Boolean).join(", ")}`;
  const all = gallery.scores.map((score, metric) => [score.name, scoreOf(row, method, metric)])
    .filter(([, value]) => value !== null).map(([score, value]) => `${words(score)} ${format(value)}`);
  const said = row.own === undefined || row.own === null ? "" : `, probability ${row.own.toFixed(2)}`;
  return make("button", { type: "button", className: "tile", tabIndex: -1, title: [text + said, ...all].join("\n"),
    ariaLabel: text + said }, stack(row, method), make("span", { className: "caption" }, ...lines));
}
