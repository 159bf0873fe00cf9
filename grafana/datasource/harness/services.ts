/** Grafana's services, as far as the plugin uses them: requests as its backendSrv makes them, variables as its templateSrv. */

import { ScopedVars } from '@grafana/data';
import type { BackendSrvRequest, FetchResponse } from '@grafana/runtime';
import { Observable } from 'rxjs';

export const backend = {
  /** Requests that ended because nobody waited any more. */
  aborted: 0,
  /** ms: of all requests since it was set to 0. */
  took: 0,

  fetch<T>(request: BackendSrvRequest): Observable<FetchResponse<T>> {
    return new Observable((waiting) => {
      const abort = new AbortController();
      let done = false;
      answer<T>(request, abort.signal).then(
        (found) => {
          done = true;
          waiting.next(found);
          waiting.complete();
        },
        (error: unknown) => {
          done = true;
          waiting.error(error);
        }
      );
      return () => {
        if (!done) {
          backend.aborted++;
          abort.abort();
        }
      };
    });
  },
};

async function answer<T>(request: BackendSrvRequest, signal: AbortSignal): Promise<FetchResponse<T>> {
  const { url, params, method, data, headers } = request;
  const search = new URLSearchParams(params as Record<string, string>).toString();
  const begun = performance.now();
  const response = await fetch(url + (search && `?${search}`), {
    method,
    signal,
    headers: { ...headers, ...(data ? { 'Content-Type': 'application/json' } : {}) },
    body: data ? JSON.stringify(data) : undefined,
  });
  const text = await response.text();
  backend.took += performance.now() - begun;
  const { ok, status, statusText, redirected, type } = response;
  const found = parsed(text);
  if (!ok) {
    throw { config: request, status, statusText, data: asError(found, statusText) };
  }
  return {
    data: found as T,
    ok,
    status,
    statusText,
    redirected,
    type,
    url,
    headers: response.headers,
    config: request,
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** As backendSrv makes one of an answer. */
function asError(found: unknown, statusText: string): Record<string, unknown> {
  if (typeof found === 'string') {
    return { message: found, error: statusText, response: found };
  }
  const map = (found ?? { message: 'Unexpected error' }) as Record<string, unknown>;
  return map.message || typeof map.error !== 'string' ? map : { ...map, message: map.error };
}

const VARIABLE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;

export const templates = {
  getVariables: () => [],
  containsTemplate: () => false,
  updateTimeRange: () => undefined,

  /** As templateSrv: a format in the text goes before the one that is given. */
  replace(text = '', scopedVars: ScopedVars = {}, format?: string | ((value: unknown) => string)): string {
    return text.replace(VARIABLE, (written, a, b, c, d, _, e) => {
      const value = scopedVars[a ?? b ?? d]?.value as string | string[] | undefined;
      if (value === undefined) {
        return written;
      }
      const said = c ?? e ?? format;
      if (typeof said === 'function') {
        return said(value);
      }
      return Array.isArray(value) ? (said === 'csv' ? value.join(',') : `{${value.join(',')}}`) : value;
    });
  },
};
