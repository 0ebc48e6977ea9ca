// What Hob says of itself, read once per token: its scopes, its addresses.

import { get } from './api';
import { Load } from './load.svelte';
import { nav } from './nav.svelte';
import type { Scope, Status } from './types';

class Platform {
  status = new Load<Status>();

  read(): Promise<void> {
    return this.status.run(() => get<Status>('/v1/status'));
  }

  get scopes(): Scope[] {
    return this.status.data?.scopes ?? [];
  }

  /** The scope that is shown. */
  get scope(): Scope | undefined {
    const first = this.scopes[0];
    return first && { ...first, ...nav.scope };
  }

  get publicUrl(): string | undefined {
    const { environment = '', tenant = '' } = this.scope ?? {};
    return this.status.data?.public_url?.replaceAll('${environment}', environment).replaceAll('${tenant}', tenant);
  }

  get routerUrl(): string | undefined {
    return this.status.data?.router_url;
  }
}

export const platform = new Platform();
