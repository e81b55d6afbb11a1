/** The help of every command: its layout, its examples, and what it marks as required. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { configureHelp } from '../../src/cli/help.js';
import { COMMANDS } from '../../src/cli/program.js';
import { loopnn, temporaryFolder } from './helpers.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const NONE = join(temporaryFolder(), 'none');

const program = new Command('loopnn').exitOverride();
for (const load of Object.values(COMMANDS)) (await load())(program);
for (const command of [program, ...program.commands]) configureHelp(command);

/** Commands whose figures can be had as JSON. */
const WITH_FIGURES = [
  ...['params', 'prepare', 'train', 'eval', 'generate', 'inspect', 'exits', 'import', 'export', 'retrofit'],
  ...['compare', 'bench', 'doctor'],
];

/** All that `--help` prints, on 80 columns. */
function helpOf(command: Command): string {
  let help = '';
  const writeOut = (text: string) => {
    help += text;
  };
  command.configureOutput({ getOutHelpWidth: () => 80, writeOut }).outputHelp();
  return help;
}

/** What a command describes: itself, its arguments, its options, and the commands below it. */
function descriptionsOf(command: Command): string[] {
  const help = command.createHelp();
  return [
    help.commandDescription(command),
    ...help.visibleArguments(command).map((argument) => help.argumentDescription(argument)),
    ...help.visibleOptions(command).map((option) => help.optionDescription(option)),
    ...help.visibleCommands(command).map((below) => help.subcommandDescription(below)),
  ];
}

test('help fits 80 columns, keeps words whole, and names --json where a command has figures', () => {
  assert.deepEqual(
    program.commands.map((command) => command.name()),
    Object.keys(COMMANDS),
  );
  const onOneLine = (text: string) => text.replaceAll(/\s+/g, ' ');
  for (const command of [program, ...program.commands]) {
    const help = helpOf(command);
    const wide = help.split('\n').filter((line) => [...line].length > 80);
    assert.deepEqual(wide, [], command.name());
    const joined = onOneLine(help);
    for (const text of descriptionsOf(command)) assert.ok(joined.includes(onOneLine(text)), text);
    if (WITH_FIGURES.includes(command.name())) assert.match(help, /--json/, command.name());
  }
});

/** The examples of a command, each as its words after `npx loopnn`. */
function examplesOf(command: Command): string[][] {
  const [, section] = helpOf(command).split('\nExamples:\n');
  assert.ok(section, `${command.name()} has no examples`);
  const lines = section
    .trimEnd()
    .replaceAll(/ \\\n +/g, ' ')
    .split('\n');
  return lines.map((line) => {
    const [, rest] = /^ {2}npx loopnn (.+)$/.exec(line) ?? assert.fail(line);
    return rest.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ''));
  });
}

test('help ends with examples that parse, and that read what a checkout has or an example before made', async () => {
  for (const command of program.commands) {
    const examples = examplesOf(command);
    assert.ok(examples.length <= 3 && examples.some(([name]) => name === command.name()), command.name());
    const made: string[] = [];
    for (const [name, ...args] of examples) {
      const own = program.commands.find((one) => one.name() === name)!;
      await own
        .exitOverride()
        .action(() => {})
        .parseAsync(args, { from: 'user' });
      const { model, data, text, out } = own.opts<Record<string, string>>();
      for (const path of [model, data, text].filter(Boolean)) {
        assert.ok(made.includes(path) || existsSync(join(ROOT, path)), `${name}: ${path}`);
      }
      made.push(out);
    }
  }
});

/** What else a command needs, so that its required options are all that is missing. */
const FURTHER: Readonly<Record<string, readonly string[]>> = {
  eval: ['--text', NONE],
  compare: [NONE],
  serve: ['--port', '0'],
};

test('what help marks as required is refused if it is absent, and nothing else is', async () => {
  for (const command of program.commands) {
    const help = command.createHelp();
    const required = command.options.filter((option) => help.optionDescription(option).includes('(required'));
    if (required.length === 0) continue;
    const sources = command.registeredArguments.filter((argument) => argument.required).map(() => NONE);
    const fixed = [command.name(), ...sources, ...(FURTHER[command.name()] ?? [])];
    const given = (options: typeof required) => [...fixed, ...options.flatMap(({ long }) => [long!, NONE])];
    for (const option of required) {
      const { code, stderr } = await loopnn(given(required.filter((other) => other !== option)));
      assert.match(stderr, new RegExp(`required option '${option.flags}' not specified`));
      assert.equal(code, 2);
    }
    // The work begins, and does not find its files.
    const whole = await loopnn(given(required));
    assert.equal(whole.code, 1, whole.stderr);
  }
});
