/** A reporter of node:test that gives the files whose tests did not all pass, one a line. */
import { resolve } from 'node:path';

export default async function* failedFiles(events) {
  for await (const { type, data } of events) {
    // A test’s own `file` is the one that calls `test`, which may be a helper; a file that is run is named by its path.
    const isFile = type === 'test:complete' && data.nesting === 0 && resolve(data.name) === data.file;
    if (isFile && !data.details.passed) yield `${data.file}\n`;
  }
}
