// The shapes of the HTTP API that the console reads. Every other file takes them from here.

/** Where an issue stands. */
export type IssueState = 'open' | 'acknowledged' | 'resolved';

export interface Evidence {
  time: string;
  recorded: string;
  /** `rule`, `entity`, `event` or `command`. */
  kind: string;
  text: string;
  sequence?: string;
  values?: Record<string, unknown>;
}

export interface Issue {
  id: string;
  rule: string;
  key: string;
  /** The href of the entity that it is about. */
  about: string;
  state: IssueState;
  /** 0 to 100; the greater, the sooner. */
  priority: number;
  title: string;
  environment: string;
  tenant: string;
  opened: string;
  acknowledged?: string;
  assignee?: string;
  resolved?: string;
  resolution?: string;
  reopenings?: number;
  affects?: string[];
  /** Left out of the rows of lists. */
  evidence?: Evidence[];
}

export interface Rule {
  name: string;
  about: string;
  file: string;
  open: number;
  opened_total: number;
  state: string;
  reason?: string;
}

/** A row of the view `figures`; the row `clock` has a time instead of a value. */
export interface Figure {
  id: string;
  label?: string;
  value?: number | string | null;
  tone?: string;
  /** Where it stands on the strip. */
  place?: number;
  time?: string;
}

export type InstanceState = 'starting' | 'ready' | 'draining' | 'stopped' | 'failed';

export interface Instance {
  id: string;
  service: string;
  process: string;
  environment: string;
  tenant: string;
  release: number;
  node: string;
  state: InstanceState;
  address?: string;
  started?: string;
  pid?: number;
  restarts?: number;
  reason?: string;
}

export type ServiceState = 'undeployed' | 'deploying' | 'ready' | 'degraded' | 'down';

export interface ServiceSummary {
  name: string;
  kind: string;
  owner?: string;
  environment: string;
  tenant: string;
  release?: number;
  standby?: number;
  package?: string;
  config?: string;
  ready: number;
  wanted: number;
  state: ServiceState;
  rollout?: string;
}

export type ReleaseState = 'pending' | 'routed' | 'standby' | 'retired' | 'failed';

export interface Release {
  number: number;
  service: string;
  package: string;
  config: string;
  git?: string;
  created: string;
  state: ReleaseState;
}

export type RolloutState = 'starting' | 'routing' | 'draining' | 'complete' | 'failed' | 'superseded';

export interface Rollout {
  id: string;
  service: string;
  to: number;
  from?: number;
  rollback?: boolean;
  state: RolloutState;
  reason?: string;
  started: string;
  ended?: string;
  ready?: number;
  wanted?: number;
  steps?: { state: RolloutState; at: string }[];
}

export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export interface LogRecord {
  /** Position in the signals log, 20 digits. */
  sequence: string;
  time: string;
  level: Level;
  source: 'stdout' | 'stderr' | 'access' | 'agent';
  service: string;
  process?: string;
  instance?: string;
  release?: number;
  message: string;
  request_id?: string;
  fields?: Record<string, unknown>;
}

export interface Series {
  name: string;
  labels: Record<string, string>;
  /** `count`, `gauge`, `p50`, `p99`, `mean`. */
  statistic: string;
  points: { time: string; value: number }[];
}

export interface Scope {
  environment: string;
  tenant: string;
}

export interface Status {
  version: string;
  ready: boolean;
  uptime_seconds: number;
  platform?: string;
  /** The first is meant when none is named. */
  scopes: Scope[];
  router_url: string;
  /** The origin of hrefs, when it is not the router's. */
  public_url?: string;
}

/** One page of a list. */
export interface Page<T> {
  items: T[];
  _links?: Record<string, { href: string }>;
}

/** An `application/problem+json` body. */
export interface ProblemBody {
  type?: string;
  title: string;
  status: number;
  code?: string;
  detail?: string;
  hint?: string;
  errors?: { where: string; detail: string }[];
  request_id?: string;
}

/** A row of a live view. */
export type Row = { id: string } & Record<string, unknown>;

/** Frames of `/v1/live` to the server. */
export type FromClient =
  | { frame: 'sub'; id: string; view: string; filter?: string; cursor?: string }
  | { frame: 'unsub'; id: string };

/** Frames of `/v1/live` from the server. */
export type ToClient =
  | { frame: 'snap'; id: string; rows: Row[]; cursor: string }
  | { frame: 'patch'; id: string; up: [string, Record<string, unknown>][]; del: string[]; cursor: string }
  | { frame: 'ping'; time: string }
  | { frame: 'refused'; id: string; reason: string };
