/**
 * The scripts by which the pre-tokenizer UnicodeScripts splits a text: those of Unicode 10, as in Python's tokenizers.
 */
import { classOf } from './unicode.js';

/** The most frequent first: a character's script is searched for from the beginning. */
const NAMES = (
  'Latin Common Inherited Cyrillic Han Hiragana Katakana Arabic Devanagari Greek Hangul Hebrew Thai ' +
  'Adlam Ahom Anatolian_Hieroglyphs Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali ' +
  'Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian ' +
  'Chakma Cham Cherokee Coptic Cuneiform Cypriot Deseret Duployan Egyptian_Hieroglyphs Elbasan ' +
  'Ethiopic Georgian Glagolitic Gothic Grantha Gujarati Gurmukhi Hanunoo Hatran Imperial_Aramaic ' +
  'Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Kayah_Li Kharoshthi Khmer ' +
  'Khojki Khudawadi Lao Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Malayalam ' +
  'Mandaic Manichaean Marchen Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao ' +
  'Modi Mongolian Mro Multani Myanmar Nabataean New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian ' +
  'Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_South_Arabian Old_Turkic Oriya Osage ' +
  'Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic ' +
  'Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sora_Sompeng Sundanese ' +
  'Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana ' +
  'Tibetan Tifinagh Tirhuta Ugaritic Vai Warang_Citi Yi'
).split(' ');
/** Scripts that the pre-tokenizer counts as Han, so that Japanese is one script. */
const HAN: readonly string[] = ['Hiragana', 'Katakana'];
/** Characters that have another script in later versions of Unicode, and ー, which all Japanese scripts share. */
const OTHERS = new Map([
  [0x589, 'Common'],
  [0x61c, 'Common'],
  [0x953, 'Devanagari'],
  [0x954, 'Devanagari'],
  [0x30fc, 'Han'],
]);

const known = new Map<number, string | null>();
const expressions = new Map<string, RegExp>();

/** The script of a character; null for a character that goes with any script, such as a space. */
export function scriptOf(codePoint: number): string | null {
  let script = known.get(codePoint);
  if (script === undefined) {
    script = find(codePoint);
    known.set(codePoint, script);
  }
  return script;
}

function find(codePoint: number): string | null {
  if (classOf('scriptless').has(codePoint)) return null;
  const other = OTHERS.get(codePoint);
  if (other !== undefined) return other;
  const character = String.fromCodePoint(codePoint);
  const name = NAMES.find((one) => {
    const expression = expressions.get(one) ?? new RegExp(`\\p{sc=${one}}`, 'u');
    expressions.set(one, expression);
    return expression.test(character);
  });
  return name === undefined ? null : HAN.includes(name) ? 'Han' : name;
}
