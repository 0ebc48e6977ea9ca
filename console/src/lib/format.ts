// Times, ages, numbers and links as people read them.

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const minute = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' });
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

type Moment = string | number | undefined;

function shown(format: Intl.DateTimeFormat, moment: Moment): string {
  if (moment === undefined || moment === '') return '–';
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? '–' : format.format(date);
}

export const clockTime = (moment: Moment): string => shown(time, moment);
export const clockMinute = (moment: Moment): string => shown(minute, moment);
export const clockDay = (moment: Moment): string => shown(day, moment);
export const iso = (moment: Moment): string => {
  const date = new Date(moment ?? NaN);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString();
};

/** `8 s`, `14 min`, `2 h 05`, `3 d`. */
export function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, '0')}`;
  return `${Math.floor(hours / 24)} d`;
}

export const since = (moment: string | undefined, now: number): string => (moment ? age(now - Date.parse(moment)) : '–');

export const figure = (value: unknown): string =>
  typeof value === 'number' ? number.format(value) : value === null || value === undefined ? '–' : String(value);

/** `4.2/s`, `0.31/s`. */
export const rate = (value: number): string => value === 0 ? '0/s' : `${value < 10 ? value.toFixed(value < 1 ? 2 : 1) : Math.round(value)}/s`;

/** Seconds as milliseconds. */
export const latency = (seconds: number): string => {
  const ms = seconds * 1000;
  if (ms === 0) return '0 ms';
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
};

/** What an href is called: its path. */
export function entityName(href: string): string {
  try {
    return new URL(href, location.origin).pathname;
  } catch {
    return href;
  }
}

/** Where an entity's href leads: entities have their scope's public origin, and the router serves it. */
export function entityAddress(href: string, publicUrl?: string, routerUrl?: string): string | undefined {
  // What is only a value of a field has no address: `zone/N4`.
  if (!/^(https?:|\/)/.test(href)) return undefined;
  try {
    const url = new URL(href, routerUrl ?? location.origin);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return undefined;
    if (publicUrl && routerUrl && url.origin === new URL(publicUrl).origin) return new URL(url.pathname + url.search, routerUrl).href;
    return url.href;
  } catch {
    return undefined;
  }
}

export const shortDigest = (digest: string | undefined): string => (digest ? digest.replace(/^sha256:/, '').slice(0, 10) : '–');

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/** A value of evidence in one line; times as they stand elsewhere on the page. */
export const plain = (value: unknown): string => {
  if (value === null || value === undefined) return 'none';
  if (typeof value !== 'string') return JSON.stringify(value);
  return TIME.test(value) ? `${clockDay(value)} ${clockTime(value)}` : value;
};

export const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`;
