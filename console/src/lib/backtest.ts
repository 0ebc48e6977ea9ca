// The report of a back-test: what rules would have done with the days that were.

import type { Evidence } from './types';

/** One would-be issue. */
export interface Sample {
  title: string;
  about: string;
  opened: string;
  /** Whether what it is about ended badly, when that is known. */
  bad?: boolean;
  timeline: Evidence[];
}

/** One rule, as it stands or with another value. */
export interface Trial {
  rule: string;
  /** `for=5m`; nothing for the rule as it stands. */
  with?: string;
  issues: number;
  issues_per_entity: number;
  open_most: number;
  flagged: number;
  flagged_share: number;
  precision?: number;
  recall?: number;
  /** Flagged entities that nobody acted on, and how many of them ended badly. */
  unacted: [number, number];
  acted: [number, number];
  /** Seconds at the tenth, fiftieth and ninetieth of a hundred. */
  lead?: [number, number, number];
  latency?: [number, number, number];
  /** Issues that the version in force would not have opened, and those that only it would have. */
  extra?: number;
  missed?: number;
  over_budget: string[];
  samples: Sample[];
}

export interface Report {
  since: string;
  until: string;
  inputs: number;
  /** The kind of entity whose outcome is the truth, and the outcome's name; empty when no kind has one. */
  kind: string;
  outcome: string;
  entities: number;
  bad: number;
  open: number;
  acted: number;
  /** What to keep in mind. */
  notes: string[];
  rules: Trial[];
}
