import type { Configuration } from 'webpack';

import scaffold, { type Env } from './.config/webpack/webpack.config.ts';

/** The scaffold's configuration, without what differs from one build to the next. */
export default async (env: Env): Promise<Configuration> => ({ ...(await scaffold(env)), cache: false });
