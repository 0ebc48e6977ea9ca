// The shapes of the HTTP API that the console reads, under the names by which every other file knows them. They are
// generated from the API's own document (`make api`); only the rows of live views are described here.

import type { components } from '../api';

type Shapes = components['schemas'];

/** What the API leaves out it leaves out: a member is there, or it is not, and never null. */
type Present<T> = T extends (infer Item)[]
  ? Present<Item>[]
  : T extends object
    ? { [Member in keyof T]: Present<Exclude<T[Member], null>> }
    : T;

/** A resource without its links. */
type Body<T> = T extends unknown ? Omit<Present<T>, '_links'> : never;

export type IssueState = Shapes['IssueState'];
export type Evidence = Present<Shapes['Evidence']> & { requestid?: string };
/** An issue; the rows of lists leave its evidence out. */
export type Issue = Present<Shapes['Issue']> & Partial<LiveMembers>;
export type Rule = Present<Shapes['Rule']> & Partial<RuleMembers>;
export type InstanceState = Shapes['InstanceState'];
export type Instance = Present<Shapes['Instance']>;
export type ServiceState = Shapes['ServiceState'];
export type ServiceSummary = Present<Shapes['ServiceSummary']>;
export type ReleaseState = Shapes['ReleaseState'];
export type Release = Present<Shapes['Release']>;
export type RolloutState = Shapes['RolloutState'];
export type Rollout = Present<Shapes['Rollout']>;
export type ScaleState = Body<Shapes['ScaleStateResource']>;
export type Isolation = Shapes['Isolation'];
export type Confinement = Present<Shapes['Confinement']>;
export type Usage = Present<Shapes['Usage']>;
export type NodeSummary = Body<Shapes['NodeSummaryResource']>;
export type Ejection = Present<Shapes['Ejection']>;
export type Limited = Present<Shapes['Limited']>;
export type RouterSummary = Body<Shapes['RouterSummaryResource']>;
export type Target = Present<Shapes['Target']>;
export type RouteSummary = Body<Shapes['RouteSummaryResource']>;
export type ShieldState = Body<Shapes['ShieldStateResource']>;
export type NewShield = Present<Shapes['NewShield']>;
export type Level = Shapes['Level'];
export type LogRecord = Present<Shapes['Record']>;
export type Series = Present<Shapes['Series']>;
export type Scope = Shapes['Scope'];
export type Status = Present<Shapes['Status']>;
/** An event with the extension attributes that its publisher added. */
export type Event = Present<Shapes['Event']>;
export type Topic = Present<Shapes['Topic']>;
export type Entity = Omit<Present<Shapes['Entity']>, 'last'> & { last?: Event };
export type Subscription = Present<Shapes['SubscriptionState']>;
export type Stall = Shapes['Stall'];
export type DeadLetter = Omit<Present<Shapes['DeadLetter']>, 'event'> & { event?: Event };
export type Touched = Shapes['Touched'];
export type Role = Shapes['Role'];
export type Me = Present<Shapes['Me']>;
export type FromClient = Present<Shapes['FromClient']>;

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

/** One page of a list. */
export interface Page<T> {
  items: T[];
  _links?: Record<string, { href: string }>;
}

/** An `application/problem+json` body, as it comes from Hob or, with less in it, from something in between. */
export type ProblemBody = Partial<Present<Shapes['Problem']>> & Pick<Shapes['Problem'], 'title' | 'status'>;

/** A row of a live view. */
export type Row = { id: string } & Record<string, unknown>;

/** Frames of `/v1/live` from the server, with rows as rows. */
export type ToClient =
  | { frame: 'snap'; id: string; rows: Row[]; cursor: string }
  | { frame: 'patch'; id: string; up: [string, Record<string, unknown>][]; del: string[]; cursor: string }
  | Extract<Shapes['ToClient'], { frame: 'ping' | 'refused' }>;

/** One of the terms that make a priority. */
export interface Term {
  name: string;
  points: number;
  text: string;
}

/** An entity that an issue touches. */
export interface Member {
  href: string;
  label?: string;
  /** When it is too late for it. */
  slack_at?: string;
}

/** What may be done about an issue: a link relation that its entity has now. */
export interface Offer {
  relation: string;
  title: string;
  mode: 'suggest' | 'approve' | 'auto';
  state: 'offered' | 'waiting' | 'running' | 'done' | 'failed' | 'refused' | 'expired' | 'dry-run';
  reason?: string;
  href: string;
  method: string;
  /** The newest try. */
  action?: string;
  /** Until when it may be approved. */
  until?: string;
}

interface LiveMembers {
  parent: string;
  children: number;
  members: { count: number; first?: Member[]; worst?: string };
  terms: Term[];
  snoozed: { until?: string; worse: boolean; by: string };
  unknown: string;
  waits: string;
  label: string;
  verify_at: string;
  merged_into: string;
  escalated: number;
  storm: boolean;
  revision: number;
  acknowledged_until: string;
  actions: Offer[];
  caused_by: string;
  runbook: string;
  rule_mode: string;
}

/** Whether anything may act. */
export interface ActionsState {
  paused?: { by: string; reason: string; since: string };
  /** Relations that stopped by themselves, as `rule/relation`, with the reason. */
  stopped?: Record<string, string>;
}

/** What was done about an issue, or was to be. */
export interface Action extends Offer {
  id: string;
  issue: string;
  rule: string;
  about: string;
  actor: string;
  approved_by?: string;
  reason: string;
  asked: string;
  ended?: string;
  status?: number;
  worked?: boolean;
}

interface RuleMembers {
  mode: string;
  opened_by_day: { day: string; opened: number }[];
  precision: number;
  last_opened: string;
  max_open: number;
  per_entity: number;
  cost: { micros: number; evaluations: number };
}

/** Something wrong in a file, and where. */
export interface Flaw {
  file: string;
  line: number;
  column: number;
  what: string;
  hint?: string;
}

/** How long something took, in seconds. */
export interface Spread {
  count: number;
  p50?: number;
  p90?: number;
}

/** A day of issues, on the scope's clock. */
export interface IssueDay {
  day: string;
  opened: number;
  resolved: number;
  reopened: number;
  false_alarms: number;
  investigations: number;
  actions: number;
  acknowledge: Spread;
  resolve: Spread;
  entities: Record<string, number>;
  investigations_per: Record<string, number>;
  outcomes: Record<string, { count: number; of: number; share: number }>;
}

/** An entity as the engine sees it. */
export interface Watched {
  href: string;
  kind: string;
  label?: string;
  fields: Record<string, unknown>;
  /** Links that it has now. */
  relations?: Record<string, string[]>;
  /** Whether its newest fetch succeeded; else its fields are what they were. */
  known: boolean;
  trouble?: string;
  position?: [number, number];
  /** Ids of its unresolved issues. */
  issues?: string[];
  /** The highest priority among them. */
  priority?: number;
}

/** An entity as it was answered, at a time in the past. */
export interface EntityState {
  href: string;
  at: string;
  observed?: string;
  representation?: Record<string, unknown>;
  trouble?: string;
}

/** A step in an entity's life. */
export interface Moment {
  time: string;
  kind: 'event' | 'ping' | 'observed' | 'issue' | 'command' | 'log';
  text: string;
  sequence?: string;
  issue?: string;
  requestid?: string;
  values?: Record<string, unknown>;
}

/** A place on the schematic map. */
export interface Place {
  href: string;
  kind: string;
  label?: string;
  x: number;
  y: number;
  state?: string;
  /** The highest priority of its unresolved issues. */
  priority?: number;
  /** Hrefs that it links to, by relation: legs of a ride. */
  links?: Record<string, string>;
}
