/** What a real hub answered; `python -m support.grafanarecording` records it anew. */

import { readFileSync } from 'fs';
import { join } from 'path';

export function recorded<T>(name: string): T {
  return JSON.parse(readFileSync(join(__dirname, '../../recorded', `${name}.json`), 'utf8'));
}
