/** Suites by name or file, with the presets that their models name. */
import { basename, dirname, resolve } from 'node:path';
import { existsSync } from 'node:fs';
import { namesFile, presetNames, readConfigFile, readPreset } from '../node/presets.js';
import { parseSuite } from '../experiments/suite-file.js';
import type { Scale, Suite, SuiteData } from '../experiments/suites.js';

/** Names of the suites that come with the package. */
export function suiteNames(): string[] {
  return presetNames('suite');
}

/**
 * A suite of the package, by its name, or the user's own, by its file; paths in a file are relative to its folder.
 *
 * @throws ConfigError for an unknown name, and for errors in the file
 *
 * @example
 * const suite = findSuite('demo');
 * console.log(suite.models.map(({ label }) => label)); // [ '1 layer', '1 layer × 2 loops', '2 layers' ]
 */
export function findSuite(suite: string, scale: Scale = 'mini'): Suite {
  const builtIn = (name: string, where: string) => readPreset(name, 'preset', where);
  if (!namesFile(suite)) {
    const content = readPreset(suite, 'suite');
    return parseSuite({ name: suite, where: `suite ${suite}`, content, preset: builtIn }, scale);
  }
  const near = (path: string) => resolve(dirname(suite), path);
  const preset = (name: string, where: string) =>
    namesFile(name) ? readConfigFile(near(name), `${where} ${name}`) : builtIn(name, where);
  const content = readConfigFile(suite);
  const found = parseSuite({ name: basename(suite, '.json'), where: suite, content, preset }, scale);
  return { ...found, data: found.data && nearby(found.data, near) };
}

/** The data with its paths as `near` resolves them; a name without a file there is a corpus or a dataset. */
function nearby(data: SuiteData, near: (path: string) => string): SuiteData {
  if (typeof data === 'string') return near(data);
  const { sources, tokenizer } = data;
  return {
    sources: sources.map((source) => (existsSync(near(source)) ? near(source) : source)),
    tokenizer: namesFile(tokenizer) ? near(tokenizer) : tokenizer,
  };
}
