"use strict";
// What is chosen, in the address of the page: names, not numbers, so that an address outlives the next run.
const PREFERRED = ["average_precision", "insertion_mean_colour", "insertion_blur", "map_correlation"];
const named = (list, names) => list.map((entry, number) => (names.includes(entry.name) ? number : -1)).filter(n => n >= 0);
const firstScores = named(gallery.scores, PREFERRED).slice(0, 2);
const STANDARD = {
  data: "", network: "", class: "", outcome: "", sort: "", order: "worst", columns: "", opacity: "70", outline: "1",
  map: Object.keys(gallery.maps)[0], scale: "tile", signed: "", size: innerWidth > 640 ? "112" : "84", image: "", a: "", b: "",
  metric: "", curve: "",
};
const state = {
  ...STANDARD,
  methods: gallery.methods.map((_, number) => number),
  scores: firstScores.length ? firstScores : gallery.scores.slice(0, 2).map((_, number) => number),
};
const firstState = { methods: [...state.methods], scores: [...state.scores] };
const same = (one, other) => one.length === other.length && one.every((value, i) => value === other[i]);

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, standard] of Object.entries(STANDARD)) state[name] = given.get(name) ?? standard;
  for (const [name, list] of [["methods", gallery.methods], ["scores", gallery.scores]]) {
    // A single empty name: none is chosen.
    state[name] = given.has(name) ? named(list, given.getAll(name)) : [...firstState[name]];
  }
}

function writeAddress() {
  const kept = new URLSearchParams();
  for (const [name, standard] of Object.entries(STANDARD)) if (state[name] !== standard) kept.set(name, state[name]);
  for (const [name, list] of [["methods", gallery.methods], ["scores", gallery.scores]]) {
    if (same(state[name], firstState[name])) continue;
    for (const number of state[name]) kept.append(name, list[number].name);
    if (!state[name].length) kept.append(name, "");
  }
  const text = kept.toString();
  if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname);
}

const sortMetric = () => gallery.scores.findIndex(score => score.name === state.sort);

function shownRows() {
  const found = rows.filter(row => {
    const { network } = row;
    return (!state.data || network.data === state.data)
      && (!state.network || `${network.model}/${network.seed}` === state.network)
      && (!state.class || row.class === state.class)
      && (!state.outcome || row.right === (state.outcome === "right"));
  });
  const metric = sortMetric(), worst = state.order === "worst";
  // A sign: sorted upwards, the worst comes first.
  let value, sign = 1;
  if (state.sort === "disagreement") [value, sign] = [row => disagreement(row, state.methods), -1];
  else if (state.sort === "probability") value = row => row.own ?? null;
  else if (metric >= 0) {
    value = row => mean(state.methods.map(method => scoreOf(row, method, metric)));
    if (gallery.scores[metric].direction === "lower") sign = -1;
  } else return found;
  if (!worst) sign = -sign;
  const keys = new Map(found.map(row => [row, value(row)]));
  const last = row => keys.get(row) === null;  // images without a value come last in both orders
  return found.sort((one, other) => last(one) - last(other) || sign * (keys.get(one) - keys.get(other)));
}

function shownMethods(shown) {
  const there = new Set(shown.flatMap(row => [...row.network.byMethod.keys()]));
  const found = state.methods.filter(method => there.has(method));
  const metric = sortMetric();
  if (state.columns !== "score" || metric < 0) return found;
  const keys = new Map(found.map(method => [method, mean(shown.map(row => scoreOf(row, method, metric)))]));
  let sign = gallery.scores[metric].direction === "lower" ? -1 : 1;
  if (state.order !== "worst") sign = -sign;
  const last = method => keys.get(method) === null;
  return found.sort((one, other) => last(one) - last(other) || sign * (keys.get(one) - keys.get(other)));
}
