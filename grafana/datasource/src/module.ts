import { DataSourcePlugin } from '@grafana/data';

import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { DataSource } from './datasource';
import { SkytrailOptions, SkytrailQuery, SkytrailSecrets } from './types';

export const plugin = new DataSourcePlugin<DataSource, SkytrailQuery, SkytrailOptions, SkytrailSecrets>(DataSource)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
