/**
 * Reads what a compiled addon contains and needs from its bytes: ELF, PE or Mach-O, 64-bit and little-endian. One
 * machine can thus check addons for others. This file reads formats; scripts/prebuilt.mjs has the rules of each system.
 */
import { createHash } from 'node:crypto';

/**
 * @typedef {object} Addon
 * @property {'linux' | 'win32' | 'darwin'} platform that the format belongs to
 * @property {string} arch as process.arch, or a number in hexadecimal
 * @property {string[]} libraries that are loaded with it
 * @property {string[]} exports names that others may call
 * @property {{ name: string, from: string }[]} imports names that it needs; `from`: library, glibc's version, or empty
 * @property {string} [minimum] the oldest macOS
 * @property {string} [fault] a rule of its format that it breaks
 */

/** Reads an addon. Throws if it has none of these formats. @param {Buffer} bytes @returns {Addon} */
export function inspectAddon(bytes) {
  if (bytes.readUInt32BE(0) === 0x7f454c46) return inspectElf(bytes);
  if (bytes.readUInt16BE(0) === 0x4d5a) return inspectPe(bytes);
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return inspectMachO(bytes);
  throw new Error(`must be ELF, PE or Mach-O of 64 bits, got 0x${bytes.readUInt32BE(0).toString(16)}`);
}

const architecture = (names, value) => names[value] ?? `0x${value.toString(16)}`;
const text = (bytes, at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
const u64 = (bytes, at) => Number(bytes.readBigUInt64LE(at));

function inspectElf(bytes) {
  const [start, size, count] = [u64(bytes, 40), bytes.readUInt16LE(58), bytes.readUInt16LE(60)];
  const sections = Array.from({ length: count }, (_, i) => {
    const at = start + i * size;
    const [offset, length] = [u64(bytes, at + 24), u64(bytes, at + 32)];
    return {
      type: bytes.readUInt32LE(at + 4),
      offset,
      end: offset + length,
      link: bytes.readUInt32LE(at + 40),
    };
  });
  const section = (type) => {
    const found = sections.find((one) => one.type === type);
    return found && { ...found, string: (at) => text(bytes, sections[found.link].offset + at) };
  };

  const libraries = [];
  let fault;
  const dynamic = section(6);
  for (let at = dynamic.offset; at < dynamic.end; at += 16) {
    const tag = u64(bytes, at);
    if (tag === 1) libraries.push(dynamic.string(u64(bytes, at + 8)));
    // glibc before 2.36 and musl before 1.2.4 load such a file without relocating its pointers.
    if (tag === 36) fault = 'must not pack its relocations (DT_RELR)';
  }

  const versions = new Map();
  const needed = section(0x6ffffffe);
  for (let at = needed?.offset, next = 1; needed && next !== 0; at += next) {
    next = bytes.readUInt32LE(at + 12);
    for (let i = 0, aux = at + bytes.readUInt32LE(at + 8); i < bytes.readUInt16LE(at + 2); i++) {
      versions.set(bytes.readUInt16LE(aux + 6), needed.string(bytes.readUInt32LE(aux + 8)));
      aux += bytes.readUInt32LE(aux + 12);
    }
  }
  const versionOf = section(0x6fffffff);
  const symbols = section(11);
  const [exports, imports] = [[], []];
  for (let at = symbols.offset + 24, i = 1; at < symbols.end; at += 24, i++) {
    const name = symbols.string(bytes.readUInt32LE(at));
    const version = versionOf && versions.get(bytes.readUInt16LE(versionOf.offset + 2 * i) & 0x7fff);
    if (bytes.readUInt16LE(at + 6) === 0) imports.push({ name, from: version ?? '' });
    else if (bytes[at + 4] >> 4 !== 0) exports.push(name);
  }
  const arch = architecture({ 62: 'x64', 183: 'arm64' }, bytes.readUInt16LE(18));
  return { platform: 'linux', arch, libraries, exports, imports, fault };
}

function inspectPe(bytes) {
  const header = bytes.readUInt32LE(0x3c);
  const optional = header + 24;
  const sections = optional + bytes.readUInt16LE(header + 20);
  const at = (address) => {
    for (let i = 0; i < bytes.readUInt16LE(header + 6); i++) {
      const one = sections + i * 40;
      const [length, from, offset] = [8, 12, 20].map((field) => bytes.readUInt32LE(one + field));
      if (address >= from && address < from + length) return address - from + offset;
    }
    throw new Error(`has no section at 0x${address.toString(16)}`);
  };
  const directory = (i) => bytes.readUInt32LE(optional + 112 + 8 * i);

  const exported = at(directory(0));
  const names = at(bytes.readUInt32LE(exported + 32));
  const exports = Array.from({ length: bytes.readUInt32LE(exported + 24) }, (_, i) =>
    text(bytes, at(bytes.readUInt32LE(names + 4 * i))),
  );

  const [libraries, imports] = [[], []];
  for (let one = at(directory(1)); bytes.readUInt32LE(one + 12) !== 0; one += 20) {
    const from = text(bytes, at(bytes.readUInt32LE(one + 12)));
    libraries.push(from);
    const list = bytes.readUInt32LE(one) || bytes.readUInt32LE(one + 16);
    for (let entry = at(list); bytes.readBigUInt64LE(entry) !== 0n; entry += 8) {
      const byNumber = bytes[entry + 7] & 0x80;
      const name = byNumber
        ? `#${bytes.readUInt16LE(entry)}`
        : text(bytes, at(bytes.readUInt32LE(entry)) + 2);
      imports.push({ name, from });
    }
  }
  const arch = architecture({ 34404: 'x64', 43620: 'arm64' }, bytes.readUInt16LE(header + 4));
  return { platform: 'win32', arch, libraries, exports, imports };
}

function inspectMachO(bytes) {
  const commands = [];
  for (let at = 32, i = 0; i < bytes.readUInt32LE(16); i++, at += bytes.readUInt32LE(at + 4))
    commands.push({ kind: bytes.readUInt32LE(at) & 0x7fffffff, at });
  const find = (kind) => commands.find((one) => one.kind === kind)?.at;
  const libraries = commands
    .filter(({ kind }) => kind === 0x0c || kind === 0x18)
    .map(({ at }) => text(bytes, at + bytes.readUInt32LE(at + 8)));

  const table = find(0x02);
  const [symbols, count, strings] = [8, 12, 16].map((field) => bytes.readUInt32LE(table + field));
  const [exports, imports] = [[], []];
  for (let i = 0; i < count; i++) {
    const at = symbols + 16 * i;
    const type = bytes[at + 4];
    if (type & 0xe0 || !(type & 1)) continue; // for debuggers, or local
    const name = text(bytes, strings + bytes.readUInt32LE(at)).replace(/^_/, '');
    // A name has the number of its library; 254 is the process that loads the addon.
    if ((type & 0x0e) === 0) imports.push({ name, from: libraries[bytes[at + 7] - 1] ?? '' });
    else if (!(type & 0x10)) exports.push(name);
  }
  const build = find(0x32);
  const version = build && bytes.readUInt32LE(build + 12);
  const minimum = build && `${version >> 16}.${(version >> 8) & 0xff}`;
  const arch = architecture({ 16777223: 'x64', 16777228: 'arm64' }, bytes.readUInt32LE(4));
  return {
    platform: 'darwin',
    arch,
    libraries,
    exports,
    imports,
    minimum,
    fault: signatureFault(bytes, find(0x1d), arch),
  };
}

/** macOS on arm64 ends a process with unsigned pages: each page's hash lies in the code directory of the signature. */
function signatureFault(bytes, command, arch) {
  if (command === undefined) return arch === 'arm64' ? 'must be signed' : undefined;
  const signature = bytes.readUInt32LE(command + 8);
  for (let i = 0; i < bytes.readUInt32BE(signature + 8); i++) {
    const at = signature + bytes.readUInt32BE(signature + 12 + 8 * i + 4);
    if (bytes.readUInt32BE(at) !== 0xfade0c02) continue;
    const [hashes, pages, limit] = [16, 28, 32].map((field) => bytes.readUInt32BE(at + field));
    const page = 1 << bytes[at + 39];
    if (limit !== signature || pages !== Math.ceil(limit / page)) return 'must be signed to its end';
    for (let one = 0; one < pages; one++) {
      const content = bytes.subarray(one * page, Math.min(limit, (one + 1) * page));
      const stored = bytes.subarray(at + hashes + 32 * one, at + hashes + 32 * (one + 1));
      if (!createHash('sha256').update(content).digest().equals(stored))
        return `page ${one} must be as signed`;
    }
    return undefined;
  }
  return 'must have a code directory in its signature';
}
