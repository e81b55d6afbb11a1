/**
 * The post-processors of a tokenizer.json. They put special tokens around a text, which loopnn does itself: a document
 * ends with the end-of-text token, a chat template writes its own. So post-processors are only checked, and not run.
 */
import { DataError } from '../../errors.js';
import { Settings } from './settings.js';

/** The known types of post-processors. */
export const POST_PROCESSORS = [
  'BertProcessing',
  'ByteLevel',
  'RobertaProcessing',
  'Sequence',
  'TemplateProcessing',
] as const;

/** Throws DataError for an unknown post-processor, and if it does more than put special tokens around a text. */
export function checkPostProcessor(value: unknown, where: string): void {
  if (value === null || value === undefined) return;
  const settings = new Settings(value, where);
  const type = settings.name('type', POST_PROCESSORS);
  if (type === 'Sequence') {
    settings.list('processors').forEach((one, i) => {
      checkPostProcessor(one, `${where}.processors[${i}]`);
    });
  }
  if (type !== 'TemplateProcessing') return;
  const texts = settings.parts('single').filter((piece) => piece.value('Sequence') !== null);
  if (texts.length === 1 && texts[0].part('Sequence').value('id') === 'A') return;
  throw new DataError(`${where}.single`, 'must have the text once', texts.length);
}
