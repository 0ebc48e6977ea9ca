// Calls to the HTTP API: the token, the scope, and errors as problems.

import { nav } from './nav.svelte';
import { session } from './session.svelte';
import { type Frame, Frames } from './sse';
import type { ProblemBody } from './types';

const TIMEOUT = 15_000;
const PATIENCE = 300_000;

/** An answer that was no success, or none at all (status 0). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly hint: string;
  readonly code: string;
  readonly requestId: string;

  constructor(body: ProblemBody) {
    super(body.detail || body.title);
    this.status = body.status;
    this.title = body.title;
    this.detail = [body.detail ?? '', ...(body.errors ?? []).map((each) => `${each.where}: ${each.detail}`)]
      .filter((line) => line !== '' && line !== body.title)
      .join('\n');
    this.hint = body.hint ?? '';
    this.code = body.code ?? '';
    this.requestId = body.request_id ?? '';
  }

  static from(error: unknown): Problem {
    if (error instanceof Problem) return error;
    const timedOut = error instanceof DOMException && error.name === 'TimeoutError';
    return new Problem({
      status: 0,
      title: timedOut ? 'Hob did not answer in time' : 'Hob cannot be reached',
      detail: timedOut ? 'It may be busy; asking again may help.' : 'The connection was refused or broke off.',
    });
  }
}

type Parameters = Record<string, string | number | undefined>;

function address(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...nav.scope, ...parameters })) {
    if (value !== undefined && value !== '') query.set(name, String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

async function problemOf(response: Response): Promise<Problem> {
  const requestId = response.headers.get('x-request-id') ?? undefined;
  const fallback = { status: response.status, title: response.statusText || `Status ${response.status}`, request_id: requestId };
  if (!(response.headers.get('content-type') ?? '').includes('json')) return new Problem(fallback);
  const body = (await response.json().catch(() => ({}))) as Partial<ProblemBody>;
  return new Problem({ ...fallback, ...body, request_id: body.request_id ?? requestId });
}

async function call<T>(method: string, path: string, parameters: Parameters, body?: unknown, signal?: AbortSignal, within = TIMEOUT): Promise<T> {
  const token = session.token;
  const headers: Record<string, string> = { accept: 'application/hal+json, application/json', authorization: `Bearer ${token}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  const limit = AbortSignal.timeout(within);
  let response: Response;
  try {
    response = await fetch(address(path, parameters), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: 'no-store',
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw Problem.from(error);
  }
  if (response.status === 401) session.refuse(token);
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204 || response.headers.get('content-length') === '0') return undefined as T;
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string, parameters: Parameters = {}, signal?: AbortSignal): Promise<T> =>
  call<T>('GET', path, parameters, undefined, signal);

export const post = <T>(path: string, body: unknown = {}, parameters: Parameters = {}): Promise<T> => call<T>('POST', path, parameters, body);
/** For what takes its time: a back-test reads days of events. */
export const postPatiently = <T>(path: string, body: unknown): Promise<T> => call<T>('POST', path, {}, body, undefined, PATIENCE);
export const put = <T>(path: string, body: unknown, parameters: Parameters = {}): Promise<T> => call<T>('PUT', path, parameters, body);
export const patch = <T>(path: string, body: unknown, parameters: Parameters = {}): Promise<T> => call<T>('PATCH', path, parameters, body);
export const remove = <T>(path: string, parameters: Parameters = {}): Promise<T> => call<T>('DELETE', path, parameters);

/** The cursor of a page's next one; empty when there is none. */
export const nextCursor = (page: { _links?: Record<string, { href: string }> }): string => {
  const href = page._links?.next?.href;
  return href ? (new URL(href, location.origin).searchParams.get('cursor') ?? '') : '';
};

/** Pages read in one go: one call looks through a bounded part of the log, so that a page may be empty before the last. */
const READS_MOST = 30;

/** Items of as many pages as it takes to have some, `most` at most, and the cursor of what is left. */
export async function gather<T>(path: string, parameters: Parameters, most: number, signal?: AbortSignal): Promise<{ items: T[]; cursor: string }> {
  const items: T[] = [];
  let cursor = String(parameters.cursor ?? '');
  for (let reads = 0; reads < READS_MOST; reads += 1) {
    const page = await get<{ items: T[]; _links?: Record<string, { href: string }> }>(path, { ...parameters, limit: most - items.length, cursor }, signal);
    items.push(...page.items);
    cursor = nextCursor(page);
    if (!cursor || items.length >= most) break;
  }
  return { items, cursor };
}

/** Reads server-sent events until the signal or the other side ends them. A browser's own EventSource sends no token. */
export async function follow(path: string, parameters: Parameters, take: (frame: Frame) => void, signal: AbortSignal): Promise<void> {
  const token = session.token;
  const headers = { accept: 'text/event-stream', authorization: `Bearer ${token}` };
  let response: Response;
  try {
    response = await fetch(address(path, parameters), { headers, signal, cache: 'no-store' });
  } catch (error) {
    throw signal.aborted ? error : Problem.from(error);
  }
  if (response.status === 401) session.refuse(token);
  if (!response.ok || !response.body) throw await problemOf(response);
  const frames = new Frames();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const frame of frames.take(value)) take(frame);
  }
}

export const segment = encodeURIComponent;
