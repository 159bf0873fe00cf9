import { DataSourceInstanceSettings, DataSourcePluginOptionsEditorProps } from '@grafana/data';
import { DataSourcePicker } from '@grafana/runtime';
import { FieldSet, InlineField, InlineSwitch, Input, SecretInput, SecretTextArea } from '@grafana/ui';
import React from 'react';

import { SkytrailOptions, SkytrailSecrets } from '../types';

export type Props = DataSourcePluginOptionsEditorProps<SkytrailOptions, SkytrailSecrets>;

const LABEL = 30;
const WIDTH = 60;
const TOKEN =
  "Where the hub asks who you are: 'skytrail token', role read. Grafana's server keeps it: no browser sees it";
const TRACES = "Where agents send spans by OTLP: a flow's tracking ID is the trace's ID there";

/** Parts of PEM that Grafana's proxy uses, each with the switch that has it do so. */
const CERTIFICATES: Array<{ name: keyof SkytrailSecrets; label: string; when: 'tlsAuthWithCACert' | 'tlsAuth' }> = [
  { name: 'tlsCACert', label: 'CA certificate', when: 'tlsAuthWithCACert' },
  { name: 'tlsClientCert', label: 'Client certificate', when: 'tlsAuth' },
  { name: 'tlsClientKey', label: 'Client key', when: 'tlsAuth' },
];

const SWITCHES: Array<{ name: 'tlsAuthWithCACert' | 'tlsAuth' | 'tlsSkipVerify'; label: string; tooltip: string }> = [
  { name: 'tlsAuthWithCACert', label: 'With a CA certificate', tooltip: 'Where no public authority has signed it' },
  { name: 'tlsAuth', label: 'With a client certificate', tooltip: 'Where a proxy before the hub asks for one' },
  { name: 'tlsSkipVerify', label: 'Trust any certificate', tooltip: 'Anybody on the way can then read the token' },
];

/** Where the hub is, as whom it is asked, and who has the traces. */
export function ConfigEditor({ options, onOptionsChange }: Props) {
  const { jsonData, secureJsonData, secureJsonFields } = options;
  const set = (changed: Partial<SkytrailOptions>) =>
    onOptionsChange({ ...options, jsonData: { ...jsonData, ...changed } });
  const secret = (name: keyof SkytrailSecrets) => ({
    isConfigured: Boolean(secureJsonFields?.[name]),
    value: secureJsonData?.[name] ?? '',
    onReset: () => setSecret(name, ''),
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      setSecret(name, event.currentTarget.value),
  });
  const setSecret = (name: keyof SkytrailSecrets, value: string) =>
    onOptionsChange({
      ...options,
      secureJsonFields: { ...secureJsonFields, [name]: false },
      secureJsonData: { ...secureJsonData, [name]: value },
    });
  const setTraces = (found?: DataSourceInstanceSettings) => set({ tracesUid: found?.uid });
  return (
    <>
      <FieldSet label="Hub">
        <InlineField label="URL" labelWidth={LABEL} tooltip="As Grafana's server reaches it">
          <Input
            aria-label="URL"
            width={WIDTH}
            value={options.url}
            placeholder="http://127.0.0.1:8082"
            onChange={(event) => onOptionsChange({ ...options, url: event.currentTarget.value.trim() })}
          />
        </InlineField>
        <InlineField label="Token" labelWidth={LABEL} tooltip={TOKEN}>
          <SecretInput
            aria-label="Token"
            width={WIDTH}
            placeholder="none: the hub asks nobody who they are"
            {...secret('token')}
          />
        </InlineField>
      </FieldSet>
      <FieldSet label="TLS">
        {SWITCHES.map(({ name, label, tooltip }) => (
          <InlineField key={name} label={label} labelWidth={LABEL} tooltip={tooltip}>
            <InlineSwitch
              aria-label={label}
              value={jsonData[name] ?? false}
              onChange={(event) => set({ [name]: event.currentTarget.checked })}
            />
          </InlineField>
        ))}
        {CERTIFICATES.filter(({ when }) => jsonData[when]).map(({ name, label }) => (
          <InlineField key={name} label={label} labelWidth={LABEL}>
            <SecretTextArea aria-label={label} cols={60} rows={5} placeholder="-----BEGIN …" {...secret(name)} />
          </InlineField>
        ))}
        {(jsonData.tlsAuthWithCACert || jsonData.tlsAuth) && (
          <InlineField
            label="Server's name"
            labelWidth={LABEL}
            tooltip="That its certificate has, where the URL has another"
          >
            <Input
              aria-label="Server's name"
              width={WIDTH}
              value={jsonData.serverName ?? ''}
              placeholder="hub.example.org"
              onChange={(event) => set({ serverName: event.currentTarget.value })}
            />
          </InlineField>
        )}
      </FieldSet>
      <FieldSet label="Traces">
        <InlineField label="Data source" labelWidth={LABEL} tooltip={TRACES}>
          <DataSourcePicker
            tracing
            noDefault
            width={WIDTH}
            current={jsonData.tracesUid ?? null}
            placeholder="none: Skytrail's own trace"
            onChange={setTraces}
            onClear={() => setTraces()}
          />
        </InlineField>
      </FieldSet>
    </>
  );
}
