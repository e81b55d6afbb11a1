/**
 * The tokenizer without a vocabulary: one id for each byte of UTF-8, and one for the end of the text.
 */
import {
  ByteTokenDecoder,
  decodeByteTokens,
  END_OF_TEXT,
  endOfTextToken,
  type TokenDecoder,
  type Tokenizer,
  type TokenizerJSON,
  unknownId,
} from './tokenizer.js';

const EOT = 256;
const VOCAB_SIZE = 257;
const TOKENS = Array.from({ length: EOT }, (_, byte) => Uint8Array.of(byte));
TOKENS.push(new TextEncoder().encode(END_OF_TEXT));

/** Ids 0–255 are the bytes of UTF-8; 256 ends the text. */
export class BytesTokenizer implements Tokenizer {
  readonly name = 'bytes';
  readonly vocabSize = VOCAB_SIZE;
  readonly eot = EOT;
  readonly eotToken = END_OF_TEXT;
  readonly specials = [endOfTextToken(EOT)];
  readonly cuttable = true;

  encode(text: string): Uint16Array {
    return Uint16Array.from(new TextEncoder().encode(text));
  }

  decode(ids: ArrayLike<number>): string {
    return decodeByteTokens((id) => this.bytesOf(id), ids);
  }

  decoder(): TokenDecoder {
    return new ByteTokenDecoder((id) => this.bytesOf(id));
  }

  bytesOf(id: number): Uint8Array {
    const bytes = TOKENS[id];
    if (bytes === undefined) throw unknownId('bytes', id, VOCAB_SIZE);
    return bytes;
  }

  toJSON(): TokenizerJSON {
    return { type: 'bytes' };
  }
}
