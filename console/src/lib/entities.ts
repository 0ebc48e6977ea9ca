// Entities on pages of their own: where they stand, what their names and values are called.

import { nav } from './nav.svelte';
import { clockTime, plain } from './format';

/** The page of an entity; the kind is found by its href when it is not known. */
export const entityPage = (href: string, kind = ''): string => nav.href(`/entities/${kind || kindOf(href)}`, { href });

/** `http://…/orders/7` is an order: the kind's name as far as an address tells it. */
export function kindOf(href: string): string {
  const segments = new URL(href, location.origin).pathname.split('/').filter(Boolean);
  const word = segments.at(-2) ?? segments.at(-1) ?? 'entity';
  return word.endsWith('s') ? word.slice(0, -1) : word;
}

export const capital = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** A value in a cell of a table: a time without its day, nothing for nothing. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–';
  if (typeof value === 'string' && TIME.test(value)) return clockTime(value);
  if (typeof value === 'number') return String(Math.round(value * 100) / 100);
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.length === 1 ? plain(value[0]) : `${value.length}`;
  const text = plain(value);
  return /^https?:\/\//.test(text) ? (new URL(text).pathname.split('/').at(-1) ?? text) : text;
}
