/** The choice of a text: one that comes with the page, a pasted text, or a file. */
import type { RefObject } from 'preact';
import { grouped } from '../../../printable.js';
import { DropZone } from '../drop-zone.js';
import type { RaceText } from './messages.js';
import { fileText, LEAST_CHARACTERS, shippedText, TEXTS, type TextName } from './texts.js';

export type TextSource = TextName | 'own' | 'file';

export const isSource = (name: string | null): name is TextSource =>
  name === 'own' || name === 'file' || (name !== null && Object.hasOwn(TEXTS, name));

/** The text of a source. Throws Error with a message for the visitor if the text cannot be read. */
export async function textOf(source: TextSource, pasted: string, file: File | null): Promise<RaceText> {
  if (source === 'own') return { name: 'your text', text: pasted };
  if (source !== 'file') return shippedText(source);
  if (!file) throw new Error('No file is chosen yet: choose one, or drop it where texts are chosen.');
  return fileText(file);
}

export interface TextChoiceProps {
  readonly source: TextSource;
  readonly onSource: (source: TextSource) => void;
  readonly file: File | null;
  readonly onFile: (file: File) => void;
  /** The field of the pasted text, which is read only when a race starts, so that typing stays cheap. */
  readonly pasted: RefObject<HTMLTextAreaElement | null>;
}

export function TextChoice({ source, onSource, file, onFile, pasted }: TextChoiceProps) {
  const given = (files: FileList | null | undefined) => {
    if (files?.[0]) onFile(files[0]);
  };
  return (
    <DropZone label="The text to learn" class="drop" onDrop={({ files }) => given(files)}>
      <div class="controls">
        <label>
          Text
          <select value={source} onChange={(event) => onSource(event.currentTarget.value as TextSource)}>
            {Object.entries(TEXTS).map(([name, { name: title }]) => (
              <option key={name} value={name}>
                {title}
              </option>
            ))}
            <option value="own">your own: type or paste it</option>
            <option value="file">a file</option>
          </select>
        </label>
        {source === 'file' && (
          <label class="file">
            <span class="soft">{file ? file.name : 'Choose a text file, or drop it here'}</span>
            <input
              type="file"
              accept="text/*,.txt,.md,.csv,.json"
              onChange={(event) => given(event.currentTarget.files)}
            />
          </label>
        )}
      </div>
      <label hidden={source !== 'own'} class="own">
        Your text, at least {grouped(LEAST_CHARACTERS)} characters; it stays in this tab
        <textarea ref={pasted} rows={6} spellcheck={false} />
      </label>
    </DropZone>
  );
}
