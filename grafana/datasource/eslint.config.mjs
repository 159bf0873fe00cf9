import baseConfig from './.config/eslint.config.mjs';
import { defineConfig } from 'eslint/config';

export default defineConfig([{ ignores: ['node_modules/', 'dist/', '.config/'] }, ...baseConfig]);
