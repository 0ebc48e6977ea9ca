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
export type Evidence = Present<Shapes['Evidence']>;
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
  text?: string;
}

/** An entity that an issue touches. */
export interface Member {
  href: string;
  label?: string;
  /** When it is too late for it. */
  slack_at?: string;
}

/** What may be done about an issue: a link relation that its entity has now. */
export interface IssueAction {
  relation: string;
  title?: string;
  mode: 'suggest' | 'approve' | 'auto';
  state: 'offered' | 'waiting' | 'running' | 'done' | 'failed' | 'refused';
  reason?: string;
  href?: string;
  method?: string;
}

interface LiveMembers {
  parent: string;
  children: number;
  members: { count: number; first?: Member[]; worst?: string };
  terms: Term[];
  snoozed: { until?: string; worse?: boolean };
  unknown: string;
  label: string;
  verify_at: string;
  merged_into: string;
  escalated: number;
  storm: boolean;
  actions: IssueAction[];
  rule_mode: RuleMode;
}

export type RuleMode = 'enabled' | 'shadow' | 'disabled';

/** Something wrong with a rule file, and where. */
export interface Flaw {
  line: number;
  column?: number;
  message: string;
  hint?: string;
  rule?: string;
}

interface RuleMembers {
  mode: RuleMode;
  precision: { value?: number; labelled: number; days?: number };
  opened_per_day: number;
  last_fired: string;
  cost: { micros: number; evaluations: number };
  budget: { issues_per_order?: number; per_entity?: number; max_open?: number };
  text: string;
  flaws: Flaw[];
}

/** An entity as the engine sees it. */
export interface Watched {
  href: string;
  kind: string;
  label?: string;
  fields: Record<string, unknown>;
  /** Fields that could not be told lately. */
  unknown?: string[];
  known?: boolean | string;
  issues?: { id: string; title: string; priority: number; state: IssueState }[];
  links?: Record<string, string>;
}

/** A step in an entity's life. */
export interface Moment {
  time: string;
  kind: 'event' | 'ping' | 'issue' | 'command' | 'observation';
  text: string;
  sequence?: string;
  values?: Record<string, unknown>;
  issue?: string;
  actor?: string;
  /** Records that a thinned one stands for. */
  count?: number;
}

export interface Place {
  href: string;
  label?: string;
  x: number;
  y: number;
  state?: string;
  zone?: string;
  /** Where a rider is on the way to. */
  to?: { x: number; y: number; href?: string };
  orders?: number;
}

export interface CityMap {
  zones: { id: string; label?: string; x: number; y: number; radius?: number; points?: [number, number][]; waiting?: number }[];
  restaurants: Place[];
  riders: Place[];
}
