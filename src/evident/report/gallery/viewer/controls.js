"use strict";
// The controls, and the start of the page.
const distinct = values => [...new Set(values)];
const choices = (id, values, text = value => value) => fillSelect(find(id), [["", "all"], ...values.map(value => [value, text(value)])], state[id]);

function boxes(id, list) {
  find(id).replaceChildren(...list.map((entry, number) => {
    const box = make("input", { type: "checkbox", checked: state[id].includes(number) });
    box.addEventListener("change", () => {
      const chosen = new Set(state[id]);
      chosen[box.checked ? "add" : "delete"](number);
      state[id] = list.map((_, place) => place).filter(place => chosen.has(place));
      apply();
    });
    return make("label", {}, box, ` ${entry.title ?? words(entry.name)}`);
  }));
}

function networksOf(data) {
  return gallery.networks.filter(network => !data || network.data === data);
}

function showControls() {
  choices("data", distinct(gallery.networks.map(network => network.data)));
  const own = networksOf(state.data);
  choices("network", distinct(own.map(network => `${network.model}/${network.seed}`)), value => {
    const [model, seed] = [value.slice(0, value.lastIndexOf("/")), value.slice(value.lastIndexOf("/") + 1)];
    return `${words(model)}, seed ${seed}`;
  });
  choices("class", distinct(rows.filter(row => own.includes(row.network) && row.class).map(row => row.class)).sort());
  find("class").parentElement.hidden = !rows.some(row => row.class);
  find("prediction").hidden = !rows.some(row => row.right !== undefined);
  find("signs").hidden = !hasSigned;
  const sorts = [["", "their order in the data"], ["disagreement", "disagreement of the methods"]];
  if (rows.some(row => row.own !== undefined)) sorts.push(["probability", "probability of the class"]);
  for (const score of gallery.scores) if (score.direction !== "neither") sorts.push([score.name, `mean ${words(score.name)}`]);
  fillSelect(find("sort"), sorts, state.sort);
  fillSelect(find("map"), Object.keys(gallery.maps).map(name => [name, name]), state.map);
  for (const id of ["outcome", "order", "columns", "scale", "size", "opacity"]) find(id).value = state[id];
  for (const id of ["outline", "signed"]) find(id).checked = Boolean(state[id]);
  boxes("methods", gallery.methods);
  boxes("scores", gallery.scores);
}

function showStyle() {
  const root = document.documentElement.style, signed = state.signed && hasSigned;
  const map = gallery.maps[state.map] ? state.map : Object.keys(gallery.maps)[0], [diverging] = Object.keys(gallery.diverging);
  root.setProperty("--opacity", state.opacity / 100);
  root.setProperty("--colours", `url(#map-${map})`);
  root.setProperty("--diverging", `url(#map-${diverging})`);
  document.body.classList.toggle("no-outline", !state.outline);
  find("bar").style.background = gradient(signed ? gallery.diverging[diverging] : gallery.maps[map]);
  let [low, high] = signed ? ["against", "for the score"] : ["low", "high"], note = "each tile on its own scale";
  if (state.scale === "method") note = "one scale for the tiles of a method and a data set";
  if (state.scale === "all" && view.rows.length && view.methods.length) {
    const row = view.rows.find(one => one.network.byMethod.has(view.methods[0])), datas = distinct(view.rows.map(one => one.network.data));
    if (datas.length === 1 && row) [low, high] = rangeOf(row, view.methods[0]).map(format);
    note = "one scale for all chosen methods of a data set; they may have different units";
  }
  for (const [id, text] of [["low", low], ["high", high], ["scale-note", note]]) find(id).textContent = text;
  find("abbreviations").textContent = state.scores
    .map(metric => gallery.scores[metric]).map(score => `${score.short}: ${words(score.name)}${ARROWS[score.direction]}`).join(", ");
  find("methods-count").textContent = `${state.methods.length} of ${gallery.methods.length}`;
  find("scores-count").textContent = `${state.scores.length} of ${gallery.scores.length}`;
  for (const id of ["order", "columns"]) find(id).parentElement.hidden = !state.sort || (id === "columns" && sortMetric() < 0);
}

function apply() {
  ranges.clear();
  update();
  showStyle();
  if (opened) showDetail();
  writeAddress();
}

for (const id of ["data", "network", "class", "outcome", "sort", "order", "columns", "map", "scale", "size"]) {
  find(id).addEventListener("change", event => {
    state[id] = event.target.value;
    if (id === "data") state.network = state.class = "";
    if (id === "data") showControls();
    apply();
  });
}
for (const id of ["outline", "signed"]) {
  find(id).addEventListener("change", event => {
    state[id] = event.target.checked ? "1" : "";
    if (id === "outline") showStyle(), writeAddress();
    else apply();
  });
}
find("opacity").addEventListener("input", event => {
  state.opacity = event.target.value;
  showStyle();
  writeAddress();
});
for (const id of ["a", "b", "metric"]) {
  find(id).addEventListener("change", event => {
    state[id] = event.target.value;
    showDetail();
    writeAddress();
  });
}
find("curve").addEventListener("change", event => {
  state.curve = gallery.curves[+event.target.value].name;
  showDetail();
  writeAddress();
});
const chooseMethods = wanted => () => {
  state.methods = gallery.methods.map((_, number) => number).filter(number => wanted(gallery.methods[number]));
  boxes("methods", gallery.methods);
  apply();
};
find("methods-all").addEventListener("click", chooseMethods(() => true));
find("methods-none").addEventListener("click", chooseMethods(() => false));
find("methods-compete").addEventListener("click", chooseMethods(method => !method.reference));
const press = id => find(id).click();
addEventListener("keydown", event => {
  if (event.target.matches("select, input:not([type=checkbox])") || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "o") press("outline");
  if (event.key === "s") {
    const scale = find("scale");
    scale.selectedIndex = (scale.selectedIndex + 1) % scale.options.length;
    scale.dispatchEvent(new Event("change"));
  }
  if (event.key === "+" || event.key === "-") {
    state.opacity = String(Math.max(0, Math.min(100, +state.opacity + (event.key === "+" ? 10 : -10))));
    find("opacity").value = state.opacity;
    showStyle();
    writeAddress();
  }
});

function start() {
  readAddress();
  showControls();
  apply();
  const row = state.image && rows.find(one => one.key === state.image);
  if (row) openDetail(row);
  else if (dialog.open) dialog.close();
}

document.title = `Gallery of ${gallery.experiment} – Evident`;
find("experiment").textContent = `${gallery.experiment} (${gallery.scale})`;
find("command").textContent = gallery.command;
find("networks").textContent = `Networks: ${gallery.networks.map(network => [network.data, networkName(network), network.measures].filter(Boolean).join(", ")).join("; ")}.`;
find("controls").open = innerWidth > 640;
for (const [name, text] of Object.entries({ ...gallery.maps, ...gallery.diverging })) addFilter(`map-${name}`, text);
addEventListener("hashchange", start);
start();
