// What the days were like: figures of issues as lines over days.

import type { IssueDay } from './types';

/** A line or a row of bars over days; a day without a value has none. */
export interface DayLine {
  label: string;
  /** A colour of the style sheet, without its dashes. */
  colour: string;
  values: (number | undefined)[];
  bars?: boolean;
}

/** Kinds of entities and of outcomes that any of the days tells of. */
export const keysOf = (days: readonly IssueDay[], member: 'investigations_per' | 'outcomes'): string[] => [...new Set(days.flatMap((day) => Object.keys(day[member])))].sort();

/** Seconds as people say them. */
export function seconds(value: number): string {
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5_400) return `${(value / 60).toFixed(value < 600 ? 1 : 0)} min`;
  return `${(value / 3_600).toFixed(1)} h`;
}

export const percent = (value: number): string => `${(value * 100).toFixed(value < 0.1 ? 2 : 1)} %`;

/** A value that is written to the third digit. */
export const small = (value: number): string => (value >= 10 ? String(Math.round(value)) : value.toPrecision(3).replace(/\.?0+$/, ''));
