// times are told in UTC, wherever the tests run
process.env.TZ = 'UTC';

const scaffold = require('./.config/jest.config');
const { grafanaESModules, nodeModulesToTransform } = require('./.config/jest/utils');

const { '^.+\\.(t|j)sx?$': swc, ...others } = scaffold.transform;

module.exports = {
  ...scaffold,
  transform: { ...others, '^.+\\.(mjs|[tj]sx?)$': swc },
  transformIgnorePatterns: [nodeModulesToTransform([...grafanaESModules, '@react-hookz', '@ver0'])],
};
