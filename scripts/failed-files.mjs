/** A reporter for node:test: outputs the files in which a test failed, one a line. */
import { resolve } from 'node:path';

export default async function* failedFiles(events) {
  for await (const { type, data } of events) {
    // An event of a whole file has the file's path as its name. A test’s own `file` is the one that calls `test`, which
    // may be imported.
    const isFile = type === 'test:complete' && data.nesting === 0 && resolve(data.name) === data.file;
    if (isFile && !data.details.passed) yield `${data.file}\n`;
  }
}
