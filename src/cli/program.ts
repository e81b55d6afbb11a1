/** The `loopnn` command as a function: gathers the subcommands, and renders errors once. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { report } from './failure.js';
import { configureHelp } from './help.js';
import { notice } from './output.js';

/**
 * The subcommands, in the order of the help, which needs them all: together they take a quarter of a second to load.
 */
export const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  params: async () => (await import('./params.js')).paramsCommand,
  prepare: async () => (await import('./prepare.js')).prepareCommand,
  train: async () => (await import('./train.js')).trainCommand,
  eval: async () => (await import('./eval.js')).evalCommand,
  generate: async () => (await import('./generate.js')).generateCommand,
  watch: async () => (await import('./watch.js')).watchCommand,
  serve: async () => (await import('./serve.js')).serveCommand,
  play: async () => (await import('./play.js')).playCommand,
  inspect: async () => (await import('./inspect.js')).inspectCommand,
  exits: async () => (await import('./exits.js')).exitsCommand,
  import: async () => (await import('./import.js')).importCommand,
  export: async () => (await import('./export.js')).exportCommand,
  retrofit: async () => (await import('./retrofit.js')).retrofitCommand,
  compare: async () => (await import('./compare.js')).compareCommand,
  report: async () => (await import('./report.js')).reportCommand,
  bench: async () => (await import('./bench.js')).benchCommand,
  mpi: async () => (await import('./mpi.js')).mpiCommand,
  doctor: async () => (await import('./doctor.js')).doctorCommand,
};

const DEBUG = 'print the stack trace of an error';

/** Runs a command line, as `process.argv` has it; resolves to the exit code, or undefined where the command set one. */
export async function run(argv: readonly string[]): Promise<number | undefined> {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  const program = new Command('loopnn')
    .description('train, evaluate, run and compare language models that loop their blocks')
    .version(version)
    .option('--debug', DEBUG)
    .configureOutput({ outputError: (text) => text.trimEnd().split('\n').forEach(notice) })
    .exitOverride();
  const [first, second] = argv.slice(2);
  const all = ['--version', '-V'].includes(first) ? [] : Object.values(COMMANDS);
  const named = Object.hasOwn(COMMANDS, first) ? [COMMANDS[first]] : all;
  for (const add of await Promise.all(named.map((load) => load()))) add(program);
  configureHelp(program);
  for (const command of program.commands) {
    configureHelp(command);
    command.hook('preAction', requirePaths);
    command.exitOverride().option('--debug', DEBUG).helpCommand(false);
  }
  try {
    const asked = first === 'help' && second !== undefined && !second.startsWith('-');
    if (asked && second !== 'help' && !Object.hasOwn(COMMANDS, second)) {
      program.error(`error: unknown command '${second}'`);
    }
    await program.parseAsync(argv);
    return undefined;
  } catch (error) {
    return report(error);
  }
}

/**
 * Ends with wrong usage if a path is empty, as from an unset shell variable: it would mean the folder we are in.
 */
function requirePaths(command: Command): void {
  const isPath = (name: string) => /<(run|dir|folder|path|file|source)s?(\.\.\.)?>/.test(name);
  for (const option of command.options) {
    if (!isPath(option.flags) || command.getOptionValue(option.attributeName()) !== '') continue;
    command.error(`error: option '${option.flags}' must not be empty`);
  }
  if (command.processedArgs.flat().includes('')) command.error('error: an argument must not be empty');
}
