// How well a rule does, in words.

import type { Rule } from './types';

export const precise = (rule: Rule): string => (rule.precision === undefined ? '–' : `${Math.round(rule.precision * 100)} %`);

/** Issues that it opened a day. */
export function perDay(rule: Rule): number | undefined {
  const days = rule.opened_by_day ?? [];
  return days.length === 0 ? undefined : days.reduce((sum, day) => sum + day.opened, 0) / days.length;
}

export function noise(rule: Rule): string {
  const value = perDay(rule);
  return value === undefined ? '–' : `${value >= 10 ? Math.round(value) : Math.round(value * 10) / 10} a day`;
}
