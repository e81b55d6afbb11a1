/** Shared by the tests of data: fixtures, and sources read out. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { noWarnings, type TextDocument, textOf, type TextSource } from '../../src/data/source.js';

const FIXTURES = fileURLToPath(new URL('../../../test/data/fixtures/', import.meta.url));

/** The path of a file that `make-fixtures.py` wrote. */
export function fixture(name: string): string {
  return join(FIXTURES, name);
}

/** The texts of the parquet fixtures, in order. */
export function fixtureTexts(): string[] {
  return JSON.parse(readFileSync(fixture('texts.json'), 'utf8')) as string[];
}

export async function textsOf(documents: AsyncIterable<TextDocument>): Promise<string[]> {
  const texts: string[] = [];
  for await (const document of documents) texts.push(await textOf(document));
  return texts;
}

export function readSource(source: TextSource, warnings = noWarnings()): Promise<string[]> {
  return textsOf(source.documents(warnings));
}
