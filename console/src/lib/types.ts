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
export type Issue = Present<Shapes['Issue']>;
export type Rule = Present<Shapes['Rule']>;
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
