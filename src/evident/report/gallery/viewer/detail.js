"use strict";
// One image: all chosen methods, a paired test of two of them over the shown images, curves and scores.
const dialog = find("detail");
let opened = null;
const fillSelect = (select, options, value) => {
  select.replaceChildren(...options.map(([name, text]) => make("option", { value: name }, text)));
  select.value = value;
  if (select.selectedIndex < 0 && options.length) select.selectedIndex = 0;
};

function openDetail(row, method) {
  if (method !== undefined) {
    if (state.b === gallery.methods[method].name) state.b = state.a;
    state.a = gallery.methods[method].name;
  }
  opened = row;
  state.image = row.key;
  showDetail();
  if (!dialog.open) dialog.showModal();
  writeAddress();
}

function showDetail() {
  const row = opened, methods = view.methods.filter(method => row.network.byMethod.has(method));
  find("detail-title").textContent = row.label ? `${row.label}: ${row.name}` : row.name;
  const said = row.predicted
    ? `, predicted ${row.predicted} (${format(row.probability)})${row.right === null ? "" : row.right ? ", right" : ", wrong"}` : "";
  const explained = row.class === row.label ? "" : `, explained: ${row.class}`;
  find("detail-text").textContent = `${row.network.data}, ${networkName(row.network)}${said}${explained}`;
  const names = methods.map(method => [gallery.methods[method].name, gallery.methods[method].title]);
  if (!names.some(([name]) => name === state.a)) state.a = names[0]?.[0] ?? "";
  if (!names.some(([name]) => name === state.b) || state.b === state.a) state.b = names.find(([name]) => name !== state.a)?.[0] ?? "";
  fillSelect(find("a"), names, state.a);
  fillSelect(find("b"), names, state.b);
  const metrics = gallery.scores.map(score => [score.name, words(score.name)]);
  if (!metrics.some(([name]) => name === state.metric)) state.metric = metrics[state.scores[0] ?? 0]?.[0] ?? "";
  fillSelect(find("metric"), metrics, state.metric);
  const mark = method => (gallery.methods[method].name === state.a ? "a" : gallery.methods[method].name === state.b ? "b" : "");
  const plain = make("span", { className: "caption" }, make("span", { className: "name" }, make("i", {}, "the image")));
  find("detail-tiles").replaceChildren(make("span", {}, stack(row), plain), ...methods.map(method => {
    const element = tile(row, method, true);
    element.tabIndex = 0;
    if (mark(method)) element.classList.add(mark(method));
    element.addEventListener("click", () => openDetail(row, method));
    return element;
  }));
  const curves = gallery.curves.map((curve, number) => [String(number), words(curve.name), curve])
    .filter(([number]) => methods.some(method => row.network.byMethod.get(method).curves[number]));
  find("curve-part").hidden = !curves.length;
  if (curves.length) {
    const chosen = curves.find(([, , curve]) => curve.name === state.curve) ?? curves[0];
    fillSelect(find("curve"), curves, chosen[0]);
    find("plot").replaceChildren(plot(row, methods, +chosen[0], mark));
  }
  find("test").textContent = paired();
  const metricsThere = gallery.scores.map((_, metric) => metric)
    .filter(metric => methods.some(method => scoreOf(row, method, metric) !== null));
  const headline = metricsThere.map(metric => make("th", { scope: "col" },
    words(gallery.scores[metric].name) + ARROWS[gallery.scores[metric].direction]));
  find("table").replaceChildren(
    make("thead", {}, make("tr", {}, make("th", {}, "method"), ...headline)),
    make("tbody", {}, ...methods.map(method => make("tr", { className: mark(method) },
      make("th", { scope: "row" }, gallery.methods[method].title),
      ...metricsThere.map(metric => make("td", {}, format(scoreOf(row, method, metric))))))));
}

function paired() {
  const [a, b] = [state.a, state.b].map(name => gallery.methods.findIndex(method => method.name === name));
  const metric = gallery.scores.findIndex(score => score.name === state.metric);
  if (a < 0 || b < 0 || metric < 0) return "Choose two methods and a score.";
  const pairs = view.rows.map(row => [scoreOf(row, a, metric), scoreOf(row, b, metric)]).filter(pair => !pair.includes(null));
  const differences = pairs.map(([one, other]) => one - other);
  const [first, second] = [titleOf(state.a), titleOf(state.b)];
  if (!differences.length) return `No shown image has ${words(state.metric)} for both ${first} and ${second}.`;
  const higher = differences.filter(value => value > 0).length, lower = differences.filter(value => value < 0).length;
  const { n, p } = wilcoxon(differences);
  const { direction } = gallery.scores[metric];
  const note = direction === "neither" ? "neither is better" : `${direction} is better`;
  return `${words(state.metric)} (${note}): ${first} is higher on ${higher} and lower on ${lower} of the n = ${differences.length} `
    + `shown images that have both; the median difference to ${second} is ${format(median(differences))}. `
    + `Wilcoxon's signed-rank test (two-sided, exact, ${n} differences that are not zero): p = ${p < 0.001 ? p.toExponential(1) : p.toFixed(3)}. `
    + "Images of one network share its peculiarities and p is of one comparison among many: the tables of the report test over networks.";
}

function plot(row, methods, number, mark) {
  const curve = gallery.curves[number], lines = [];
  for (const method of methods) {
    const values = curveOf(row, method, number);
    if (values) lines.push([method, values.map((y, i) => [curve.at[i], y]).filter(([, y]) => y !== null)]);
  }
  const all = lines.flatMap(([, points]) => points.map(([, y]) => y));
  const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9), from = curve.at[0], to = curve.at.at(-1);
  const wide = innerWidth > 640 ? 640 : 380;
  const x = at => 52 + ((at - from) / (to - from || 1)) * (wide - 80), y = value => 262 - ((value - low) / (high - low)) * 240;
  const svg = draw("svg", { viewBox: `0 0 ${wide} 310`, role: "img", "aria-label": `${words(curve.name)} of ${row.name}` });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + share * (high - low), at = from + share * (to - from);
    svg.append(draw("line", { x1: 52, x2: wide - 28, y1: y(value), y2: y(value), class: "axis" }),
      draw("text", { x: 46, y: y(value) + 4, "text-anchor": "end" }, format(value)),
      draw("text", { x: x(at), y: 280, "text-anchor": "middle" }, format(at)));
  }
  svg.append(draw("text", { x: wide / 2, y: 302, "text-anchor": "middle" }, curve.axis));
  const order = { "": 0, b: 1, a: 2 };  // the two chosen ones on top
  lines.sort(([one], [other]) => order[mark(one)] - order[mark(other)]);
  for (const [method, points] of lines) {
    const name = gallery.methods[method].title;
    svg.append(draw("polyline", { points: points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
      class: mark(method) }, draw("title", {}, name)));
  }
  svg.append(draw("text", { x: 60, y: 14, class: "a" }, titleOf(state.a)),
    draw("text", { x: wide / 2, y: 14, class: "b" }, titleOf(state.b)));
  return svg;
}

function turn(step) {
  const at = view.rows.indexOf(opened);
  const next = view.rows[(at + step + view.rows.length) % view.rows.length];
  if (next) openDetail(next);
}
find("before").addEventListener("click", () => turn(-1));
find("after").addEventListener("click", () => turn(1));
find("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", event => event.target === dialog && dialog.close());
dialog.addEventListener("keydown", event => {
  if (event.target.matches("select, input")) return;
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
dialog.addEventListener("close", () => {
  opened = null;
  state.image = "";
  writeAddress();
  move(0, 0);
});
