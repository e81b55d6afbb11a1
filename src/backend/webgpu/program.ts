/**
 * Programs: kernels in WGSL, and the text around them that follows from what they read and write. A program names its
 * arrays and numbers; its code meets them as functions and constants, whatever buffers they lie in. Knows no kernel.
 *
 * Of an array `x` the code has `x(i)`, element i, and `set_x(i, v)` where it is written; `has_x` is false for an array
 * that is null, which reads as zeros. A number `C` is `p.C`. A constant is a `const` of that name, so that each value
 * has a pipeline of its own.
 */

/**
 * Elements of an array as the code sees them: of `vec4f`, x(i) is elements 4·i to 4·i + 3; a `vec4h` holds four as f16.
 */
export type ElementType = 'f32' | 'i32' | 'vec4f' | 'vec4h';
/** How a program uses an array. */
export type Access = ElementType | `update ${ElementType}`;

export interface Program {
  readonly name: string;
  readonly arrays: Readonly<Record<string, Access>>;
  readonly numbers?: Readonly<Record<string, 'u32' | 'f32'>>;
  /**
   * What the code defines, and what runs it:
   * - `each`: `fn each(i: u32)`, for every number below the count of the call
   * - `rows`: `fn row(r: u32, lane: u32)`, for every row below the count by a team of L lanes, which share `team_sum`
   *   and `team_max` (in uniform control flow); L is a constant, 1 where threads work alone
   * - `groups`: `fn group(g: u32, lane: u32)`, for every number below the count by a workgroup of `size` lanes
   */
  readonly runs: 'each' | 'rows' | 'groups';
  /** Lanes of a workgroup of `groups`; 64 by default. */
  readonly size?: number;
  /** Whether subgroups multiply matrices, `groups` being whole numbers of them (see product-tiles.wgsl.ts). */
  readonly matrices?: true;
  readonly code: string | ((constants: Constants) => string);
}

export type Constants = Readonly<Record<string, number | boolean>>;

/** How a call's arrays lie: what decides about the text of its shader besides the constants. */
export interface Placement {
  /** The binding that each array is part of; null for an array that is null. */
  readonly bindings: readonly (number | null)[];
  /** Of each binding, whether anything in it is written, and whether it is read by fours. */
  readonly written: readonly boolean[];
  readonly types: readonly ElementType[];
}

/** Lanes of a workgroup in which each thread works alone. */
export const ALONE = 64;

/** Who works on a row: so many lanes, which add up by subgroups where the device has those. */
export interface Team {
  readonly lanes: number;
  readonly subgroups: boolean;
}

/** The text of a program's shader. */
export function shaderText(program: Program, constants: Constants, placement: Placement, team: Team): string {
  const { runs, size = ALONE } = program;
  const arrays = Object.keys(program.arrays);
  const half = constants.half === true && constants.emulated !== true;
  const together = runs === 'rows' && team.lanes > 1;
  const { matrices } = program;
  const subgroups = matrices || (together && team.subgroups);
  const lines = [
    ...(half ? ['enable f16;'] : []),
    ...(subgroups ? ['enable subgroups;'] : []),
    ...(matrices ? ['enable chromium_experimental_subgroup_matrix;'] : []),
    // The compiler does not know that the lanes of a subgroup agree on its number.
    ...(matrices ? ['diagnostic(off, chromium.subgroup_matrix_uniformity);'] : []),
  ];
  const numbers = Object.entries(program.numbers ?? {});
  const fields = [
    'count: u32',
    ...arrays.map((name) => `at_${name}: u32`),
    ...numbers.map(([name, type]) => `${name}: ${type}`),
  ];
  lines.push(`struct Parameters { ${fields.join(', ')} }`);
  lines.push('@group(0) @binding(0) var<uniform> p: Parameters;');
  for (const [b, type] of placement.types.entries()) {
    const access = placement.written[b] ? 'read_write' : 'read';
    const element = type === 'vec4h' ? 'vec2u' : type;
    lines.push(`@group(0) @binding(${b + 1}) var<storage, ${access}> b${b}: array<${element}>;`);
  }
  for (const [name, value] of Object.entries(constants)) {
    const literal = typeof value === 'boolean' ? value : `${value}u`;
    lines.push(`const ${name} = ${literal};`);
  }
  for (const [i, name] of arrays.entries())
    lines.push(...accessors(name, program.arrays[name], i, placement));
  if (subgroups) for (const name of SUBGROUP_BUILTINS) lines.push(`var<private> my_${name}: u32;`);
  if (runs === 'rows') lines.push(...teamText(team));
  lines.push(typeof program.code === 'string' ? program.code : program.code(constants));
  const lanes = runs === 'groups' ? size : together ? team.lanes : ALONE;
  const builtins = [
    '@builtin(workgroup_id) w: vec3u',
    '@builtin(num_workgroups) n: vec3u',
    '@builtin(local_invocation_index) lane: u32',
    ...(subgroups ? SUBGROUP_BUILTINS.map((name) => `@builtin(${name}) ${name}_: u32`) : []),
  ];
  lines.push(
    `@compute @workgroup_size(${lanes})`,
    `fn main(${builtins.join(', ')}) {`,
    ...(subgroups ? SUBGROUP_BUILTINS.map((name) => `  my_${name} = ${name}_;`) : []),
    '  let g = w.x + w.y * n.x;',
    ...(runs === 'groups' || together
      ? [`  if (g < p.count) { ${runs === 'groups' ? 'group' : 'row'}(g, lane); }`]
      : [
          `  let i = g * ${ALONE}u + lane;`,
          `  if (i < p.count) { ${runs === 'each' ? 'each(i)' : 'row(i, 0u)'}; }`,
        ]),
    '}',
  );
  return lines.join('\n');
}

/** Workgroups of a call. */
export function workgroupsOf({ runs }: Program, count: number, { lanes }: Team): number {
  return runs === 'groups' || (runs === 'rows' && lanes > 1) ? count : Math.ceil(count / ALONE);
}

/** The element that an access names. */
export function elementOf(access: Access): ElementType {
  return access.replace('update ', '') as ElementType;
}

export const isUpdate = (access: Access): boolean => access.startsWith('update ');

/** Elements of four bytes in one of this type; a vec4h, being of halves, counts 2. */
export const elementsIn = (type: ElementType): number => ({ f32: 1, i32: 1, vec4f: 4, vec4h: 2 })[type];

function accessors(name: string, access: Access, i: number, { bindings, types }: Placement): string[] {
  const type = elementOf(access);
  const seen = type === 'vec4h' ? 'vec4f' : type;
  const binding = bindings[i];
  if (binding === null) {
    return [
      `const has_${name} = false;`,
      `fn ${name}(i: u32) -> ${seen} { return ${seen}(); }`,
      ...(isUpdate(access) ? [`fn set_${name}(i: u32, v: ${seen}) {}`] : []),
    ];
  }
  const lines = [`const has_${name} = true;`];
  const held = types[binding];
  const b = `b${binding}`;
  const at = `p.at_${name}`;
  if (held === type) {
    const [read, write] =
      type === 'vec4h'
        ? [
            'let x = HELD; return vec4f(unpack2x16float(x.x), unpack2x16float(x.y));',
            'vec2u(pack2x16float(v.xy), pack2x16float(v.zw))',
          ]
        : ['return HELD;', 'v'];
    lines.push(`fn ${name}(i: u32) -> ${seen} { ${read.replace('HELD', `${b}[${at} + i]`)} }`);
    if (isUpdate(access)) lines.push(`fn set_${name}(i: u32, v: ${seen}) { ${b}[${at} + i] = ${write}; }`);
    return lines;
  }
  // A vec4f in a binding of single elements.
  lines.push(
    `fn ${name}(i: u32) -> vec4f { let j = ${at} + 4u * i; return vec4f(${b}[j], ${b}[j + 1u], ${b}[j + 2u], ${b}[j + 3u]); }`,
  );
  if (isUpdate(access)) {
    lines.push(
      `fn set_${name}(i: u32, v: vec4f) { let j = ${at} + 4u * i; ${b}[j] = v.x; ${b}[j + 1u] = v.y; ${b}[j + 2u] = v.z; ${b}[j + 3u] = v.w; }`,
    );
  }
  return lines;
}

const SUBGROUP_BUILTINS = ['subgroup_id', 'num_subgroups', 'subgroup_invocation_id'];

/** Sums and maxima over a team, each lane getting the result; always in one order. */
function teamText({ lanes, subgroups }: Team): string[] {
  const lines = [`const L = ${lanes}u;`];
  const ways = [
    ['team_sum', 'subgroupAdd', (a: string, b: string) => `${a} + ${b}`],
    ['team_max', 'subgroupMax', (a: string, b: string) => `max(${a}, ${b})`],
  ] as const;
  if (lanes === 1) {
    for (const [name] of ways) lines.push(`fn ${name}(x: f32, lane: u32) -> f32 { return x; }`);
    return lines;
  }
  lines.push(`var<workgroup> team: array<f32, ${lanes}>;`);
  for (const [name, ofSubgroup, both] of ways) {
    lines.push(`fn ${name}(x: f32, lane: u32) -> f32 {`);
    if (subgroups) {
      lines.push(
        `  let part = ${ofSubgroup}(x);`,
        '  if (my_subgroup_invocation_id == 0u) { team[my_subgroup_id] = part; }',
        '  workgroupBarrier();',
        '  var all = team[0];',
        `  for (var i = 1u; i < my_num_subgroups; i++) { all = ${both('all', 'team[i]')}; }`,
        '  workgroupBarrier();',
        '  return all;',
      );
    } else {
      lines.push(
        '  team[lane] = x;',
        '  workgroupBarrier();',
        '  for (var half = L / 2u; half > 0u; half /= 2u) {',
        `    if (lane < half) { team[lane] = ${both('team[lane]', 'team[lane + half]')}; }`,
        '    workgroupBarrier();',
        '  }',
        '  return workgroupUniformLoad(&team[0]);',
      );
    }
    lines.push('}');
  }
  return lines;
}
