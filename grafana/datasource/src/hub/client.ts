/** Asks the hub, through Grafana's proxy: the only place where HTTP is spoken. */

import { QueryResultMetaNotice } from '@grafana/data';
import { BackendSrvRequest, getBackendSrv, isFetchError } from '@grafana/runtime';
import { Observable, catchError, map, throwError } from 'rxjs';

import {
  Difference,
  Element,
  GremlinAnswer,
  Json,
  Owner,
  Path,
  Readiness,
  Status,
  Trace,
  ValuesOfKey,
  Words,
} from './answers';
import { elementsOf } from './graphson';

/** What is answered, and what is to be said beside it. */
export interface Answer<T> {
  data: T;
  notices: QueryResultMetaNotice[];
}

type Parameters = Record<string, string | number | boolean | undefined>;

const UNTYPED = 'application/vnd.gremlin-v3.0+json;types=false';
/** What Grafana makes of a 401, and what of a hub that does not answer. */
const AUTHENTICATION = /authentication to data source failed/i;
const AWAY = new Set([502, 504]);

/** One request at a time of each `id`: a second one ends the first, and so does nobody waiting any more. */
export class HubClient {
  constructor(private readonly url: string) {}

  /** A query of Skydive's dialect; of elements these keys of Metadata alone, where they are named. */
  topology(text: string, id?: string, keys?: string[]): Observable<Answer<Json>> {
    const data = { GremlinQuery: text, ...(keys && { Keys: keys }) };
    return this.fetch({ url: '/api/topology', method: 'POST', data, requestId: id });
  }

  /** A query of TinkerPop's, its vertices and edges as elements. */
  gremlin(text: string, at: string | undefined, id?: string): Observable<Answer<Json[] | Element[]>> {
    const data = { gremlin: text, ...(at && { at }) };
    const request = { url: '/gremlin', method: 'POST', data, headers: { Accept: UNTYPED }, requestId: id };
    return this.fetch<GremlinAnswer>(request).pipe(
      map((answer) => ({ ...answer, data: elementsOf(answer.data.result.data) }))
    );
  }

  path(asked: Parameters, id?: string): Observable<Answer<Path>> {
    return this.get('/api/v1/path', asked, id);
  }

  /** By tracking ID or Community ID, or, without one, by a filter. */
  trace(conversation: string, asked: Parameters, id?: string): Observable<Answer<Trace>> {
    return this.get(`/api/v1/trace${conversation && `/${conversation}`}`, asked, id);
  }

  diff(asked: Parameters, id?: string): Observable<Answer<Difference[]>> {
    return this.get('/api/v1/diff', asked, id);
  }

  words(): Observable<Answer<Words>> {
    return this.get('/api/v1/complete', {});
  }

  values(key: string, of: Owner, prefix: string): Observable<Answer<ValuesOfKey>> {
    return this.get('/api/v1/complete', { key, of, prefix });
  }

  status(): Observable<Answer<Status>> {
    return this.get('/api/status', {});
  }

  readiness(): Observable<Answer<Readiness>> {
    return this.get('/readyz', {});
  }

  private get<T>(url: string, asked: Parameters, requestId?: string): Observable<Answer<T>> {
    const params = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined && value !== ''));
    return this.fetch({ url, method: 'GET', params, requestId });
  }

  private fetch<T>(request: BackendSrvRequest): Observable<Answer<T>> {
    const whole = { showErrorAlert: false, showSuccessAlert: false, ...request, url: this.url + request.url };
    return getBackendSrv()
      .fetch<T>(whole)
      .pipe(
        map(({ data, headers }) => ({ data, notices: notesOf(headers) })),
        catchError((error: unknown) => throwError(() => new Error(worded(error))))
      );
  }
}

/** Who did not answer, and who does not remember all of the time asked about. */
function notesOf(headers: Headers): QueryResultMetaNotice[] {
  return [
    ['Skytrail-Missing', 'These hosts did not answer'],
    ['Skytrail-History', 'Not all of this time is remembered'],
  ].flatMap(([name, said]) => {
    const value = headers.get(name);
    return value ? [{ severity: 'warning' as const, text: `${said}: ${value}` }] : [];
  });
}

/** An error in the hub's words, or with what to do where it is not the hub that speaks. */
export function worded(error: unknown): string {
  if (!isFetchError(error)) {
    return error instanceof Error ? error.message : String(error);
  }
  const { data, status, statusText } = error;
  const said = [data?.error, data?.message, data].find((one) => typeof one === 'string' && one !== statusText);
  const text = String(said || statusText || `HTTP ${status}`).trim();
  if (status === 401 || AUTHENTICATION.test(text)) {
    return 'the hub does not know who asks: set a token in the settings of the data source (skytrail token, role read)';
  }
  return AWAY.has(status) ? `the hub does not answer at the address of the data source: ${text}` : text;
}
