"use strict";
// The manifest as the other scripts ask for it: rows (an image of a network), cells, scores, curves, disagreement.
const gallery = window.EVIDENT_GALLERY;
if (!gallery) document.body.textContent = "manifest.js is missing: it must lie beside this page.";
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const place = new Map([...LETTERS].map((letter, number) => [letter, number]));

function unpack(text, low, high) {
  const values = [];
  for (let at = 0; at < text.length; at += 2) {
    const step = place.get(text[at]) * 64 + place.get(text[at + 1]);
    values.push(step === 4095 ? null : low + (step / 4094) * (high - low));
  }
  return values;
}

function format(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size > 1e-9 && (size < 0.001 || size >= 10000)) return value.toExponential(1);
  return size < 10 ? value.toFixed(3) : value.toPrecision(4);
}

const words = name => name.replaceAll("_", " ");
const titleOf = name => gallery.methods.find(method => method.name === name)?.title ?? "";
// Short names for captions: the initials of several words, numbered where two scores have the same.
const taken = new Map();
for (const score of gallery.scores) {
  const parts = score.name.split("_");
  const short = parts.length > 1 ? parts.map(part => part[0] ?? "").join("").toUpperCase() : score.name.slice(0, 9);
  taken.set(short, (taken.get(short) ?? 0) + 1);
  score.short = taken.get(short) > 1 ? `${short}${taken.get(short)}` : short;
}
const ARROWS = { higher: " ↑", lower: " ↓", neither: "" };

const networkName = network => `${words(network.model)}, seed ${network.seed}`;

const rows = [];
for (const network of gallery.networks) {
  network.byMethod = new Map(network.cells.map((cell, number) => [cell.method, { ...cell, number }]));
  const said = network.outcomes;
  network.names.forEach((name, index) => {
    const row = { network, index, name, class: network.regression ? "" : network.class[index] };  // the explained one
    row.label = row.class;
    if (said) {
      row.predicted = said.predicted[index];
      row.probability = said.probability[index];
      row.own = said.target_probability[index];
      row.label = (row.class && said.label[index]) || row.class;
      row.right = said.label[index] ? said.label[index] === row.predicted : null;
    }
    row.key = `${network.data}/${network.model}/${network.seed}/${name}`;
    rows.push(row);
  });
}

function scoreOf(row, method, metric) {
  const cell = row.network.byMethod.get(method);
  const values = cell && metric >= 0 ? cell.scores[metric] : null;
  return values ? values[row.index] : null;
}

function curveOf(row, method, curve) {
  const cell = row.network.byMethod.get(method);
  const kept = cell && cell.curves[curve];
  return kept ? unpack(kept[row.index], ...gallery.curves[curve].limits) : null;
}

function mean(values) {
  const known = values.filter(value => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function disagreement(row, methods) {
  const own = row.network, count = own.cells.length;
  row.alike ??= unpack(own.alike[row.index], -1, 1);
  const numbers = methods.map(method => own.byMethod.get(method)?.number).filter(number => number !== undefined);
  const found = [];
  for (const i of numbers) for (const j of numbers) {
    if (i < j) found.push(row.alike[i * count - (i * (i + 1)) / 2 + j - i - 1]);
  }
  const alike = mean(found);
  return alike === null ? null : 1 - alike;
}

// Elements with text; data of the manifest goes through here, never through innerHTML.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const find = id => document.getElementById(id);
