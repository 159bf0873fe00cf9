// What @grafana/ui imports as the default of a module that has it under that name only for transpiled importers.
export { Scrollbars as default } from '../node_modules/react-custom-scrollbars-2';
