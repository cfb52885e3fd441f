"use strict";
// Wilcoxon's signed-rank test, two-sided and exact also with ties: the distribution of the sum of the ranks of positive
// differences, given the ranks, if each sign were a fair coin. Differences of zero are left out (Wilcoxon 1945).
function wilcoxon(differences) {
  const known = differences.filter(value => value !== 0);
  const sizes = known.map(Math.abs).sort((a, b) => a - b);
  const doubled = new Map();  // twice the mean rank, a whole number
  for (let first = 0; first < sizes.length;) {
    let last = first;
    while (last + 1 < sizes.length && sizes[last + 1] === sizes[first]) last++;
    doubled.set(sizes[first], first + last + 2);
    first = last + 1;
  }
  const ranks = known.map(value => doubled.get(Math.abs(value)));
  const total = ranks.reduce((sum, rank) => sum + rank, 0);
  let chance = new Float64Array(total + 1);
  chance[0] = 1;
  for (const rank of ranks) {
    const next = new Float64Array(total + 1);
    for (let sum = 0; sum <= total; sum++) next[sum] = (chance[sum] + (sum >= rank ? chance[sum - rank] : 0)) / 2;
    chance = next;
  }
  const positive = ranks.reduce((sum, rank, i) => sum + (known[i] > 0 ? rank : 0), 0);
  const smaller = Math.min(positive, total - positive);
  let tail = 0;
  for (let sum = 0; sum <= smaller; sum++) tail += chance[sum];
  return { n: known.length, p: Math.min(1, 2 * tail) };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
