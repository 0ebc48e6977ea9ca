// The report of a back-test: what a rule would have done with the days that were.

/** Seconds at which so many of a hundred lie. */
export interface Percentiles {
  p10?: number;
  p50?: number;
  p90?: number;
}

/** What one version of the rule would have done. */
export interface Outcome {
  /** The value that was swept to get here, as `for=5m`. */
  swept?: string;
  issues: number;
  /** The share of entities that it flagged. */
  flagged?: number;
  precision?: number;
  recall?: number;
  lead?: Percentiles;
  latency?: Percentiles;
  over_budget?: string;
  cost_micros?: number;
}

/** One would-be issue. */
export interface Sample {
  title: string;
  href: string;
  opened: string;
  resolved?: string;
  /** How the entity ended. */
  outcome?: string;
  /** Against the version in force: it alone found it, or it missed it. */
  against?: 'extra' | 'missed' | 'both';
}

export interface Report extends Outcome {
  since: string;
  until: string;
  entities: number;
  /** Issues that the version in force did not open, and those that only it opened. */
  extra?: number;
  missed?: number;
  /** Entities that a person or an action did something about, and others: the outcomes of the first are not what they would have been. */
  acted?: number;
  unacted?: number;
  censored?: string;
  sweep?: Outcome[];
  samples?: Sample[];
}
