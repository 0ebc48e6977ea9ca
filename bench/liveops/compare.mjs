// Plays the same days in every mode and prints investigations an order and unacceptable orders, with the reference's
// figures beside them when it is to be had. Node alone, no packages. bench/liveops/run calls it.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const [simulator, folder, seedText, scale] = process.argv.slice(2);
const reference = process.env.LIVEOPS_REFERENCE;
const days = readdirSync(folder).filter((day) => day.endsWith('o100t100s1p100')).sort();
const seeds = seedText.split(',').flatMap((part) => {
  const [from, to = from] = part.split('-').map(Number);
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
});
if (!days.length || seeds.some(Number.isNaN)) {
  console.error('usage: bench/liveops/run [SEEDS like 1-20] [FAULT_SCALE]; no days or no seeds were found');
  process.exit(2);
}

const MODES = [
  { name: 'nobody', reference: 'no intervention', arguments: ['--mode', 'none'] },
  { name: 'scan(30,10)', reference: 'scan(30,10)', arguments: ['--mode', 'scan'] },
  { name: 'issues', reference: 'live, starter rules', arguments: ['--mode', 'live', '--unscored'] },
];

function run(program, programArguments, options) {
  const done = spawnSync(program, programArguments, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  if (done.status !== 0) throw new Error(`${program} ${programArguments.join(' ')}: ${done.stderr || done.error}`);
  return done.stdout;
}

/** Figures of each seed: shares of the orders of all days together. */
function ours(mode) {
  const dayArguments = days.flatMap((day) => ['--day', join(folder, day)]);
  const more = ['--seed', seeds.join(','), '--fault-scale', scale, '--json', ...mode.arguments];
  const report = JSON.parse(run(simulator, [...dayArguments, ...more]));
  return seeds.map((seed) => {
    const runs = report.runs.filter((one) => one.seed === seed);
    const sum = (key) => runs.reduce((total, one) => total + one[key], 0);
    return { looked: sum('investigations') / sum('orders'), bad: sum('unacceptable_orders') / sum('orders') };
  });
}

/** The reference's, of each seed and mode. Its score has the fault scale 1 alone. */
function theirs() {
  const figures = new Map(MODES.map((mode) => [mode.name, []]));
  for (const seed of seeds) {
    const text = run('python3', [join(reference, 'score.py'), String(seed)], { env: { ...process.env, DAYS: folder } });
    for (const mode of MODES) {
      const line = text.split('\n').find((one) => one.startsWith(`${mode.reference} `));
      const found = line && /investigations\/order ([\d.]+) unacceptable ([\d.]+) %/.exec(line);
      if (!found) throw new Error(`${mode.reference} is not in the reference's answer`);
      figures.get(mode.name).push({ looked: Number(found[1]), bad: Number(found[2]) / 100 });
    }
  }
  return figures;
}

function mean(values) {
  const middle = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((a, b) => a + (b - middle) ** 2, 0);
  return { mean: middle, error: values.length > 1 ? Math.sqrt(squares / (values.length - 1) / values.length) : 0 };
}

const told = reference && Number(scale) === 1 ? theirs() : undefined;
const percent = ({ mean: middle, error }) => `${(middle * 100).toFixed(2)} ± ${(error * 100).toFixed(2)} %`;
let scanned;
console.log(`${days.length} days, seeds ${seedText}, fault scale ${scale}`);
console.log(`${'mode'.padEnd(28)}${'looked at'.padStart(10)}${'than scan'.padStart(11)}${'unacceptable'.padStart(18)}${told ? `${'reference'.padStart(12)}${'unacceptable'.padStart(18)}  agrees` : ''}`);
for (const mode of MODES) {
  const figures = ours(mode);
  const [looked, bad] = [mean(figures.map((one) => one.looked)), mean(figures.map((one) => one.bad))];
  if (mode.name.startsWith('scan')) scanned = looked.mean;
  const less = scanned && !mode.name.startsWith('scan') ? `${((looked.mean / scanned - 1) * 100).toFixed(1)} %` : '';
  let line = `${mode.name.padEnd(28)}${looked.mean.toFixed(4).padStart(10)}${less.padStart(11)}${percent(bad).padStart(18)}`;
  if (told) {
    const other = told.get(mode.name);
    const [theirLooked, theirBad] = [mean(other.map((one) => one.looked)), mean(other.map((one) => one.bad))];
    // Investigations within 3 %, unacceptable orders within two standard errors of the difference.
    const near = Math.abs(looked.mean - theirLooked.mean) <= 0.03 * theirLooked.mean;
    const alike = Math.abs(bad.mean - theirBad.mean) <= 2 * Math.hypot(bad.error, theirBad.error);
    const must = mode.name === 'nobody' || mode.name.startsWith('scan');
    line += `${theirLooked.mean.toFixed(4).padStart(12)}${percent(theirBad).padStart(18)}  ${must ? (near && alike ? 'yes' : 'no') : ''}`;
  }
  console.log(line);
}
