/** The files that were dropped on the page or chosen there, with their paths. */
import type { GivenFile } from './messages.js';

export interface Given {
  readonly name: string;
  readonly files: readonly GivenFile[];
}

/** The files of an input: those of a folder have their paths, single files only their names. */
export function chosenFiles(list: FileList): Given {
  const files = [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  return { name: nameOf(files), files };
}

/** The files of a drop, including all files in dropped folders. Must be called during the event. */
export async function droppedFiles(transfer: DataTransfer): Promise<Given> {
  const items = [...transfer.items].filter(({ kind }) => kind === 'file');
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? null);
  const plain = [...transfer.files];
  const known = entries.filter((entry) => entry !== null);
  const files =
    known.length > 0
      ? (await Promise.all(known.map((entry) => filesBelow(entry, '')))).flat()
      : plain.map((file) => ({ path: file.name, file }));
  return { name: nameOf(files), files };
}

async function filesBelow(entry: FileSystemEntry, before: string): Promise<GivenFile[]> {
  const path = before + entry.name;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: GivenFile[] = [];
  for (;;) {
    // A reader returns some of the entries at a time, and none at the end.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return found;
    for (const below of some) found.push(...(await filesBelow(below, `${path}/`)));
  }
}

function nameOf(files: readonly GivenFile[]): string {
  const [first] = files;
  return first?.path.includes('/') ? first.path.split('/')[0] : (first?.file.name ?? 'nothing');
}
