/** The layout of help: within the terminal's width, at most 100 columns; a long flag has a separate line. */
import { type Command, Help, type Option } from 'commander';
import { terminalWidth } from './output.js';

/** Columns of flags, beyond which the description begins on the next line. */
const FLAG_COLUMNS = 26;

class NarrowHelp extends Help {
  override padWidth(command: Command, helper: Help): number {
    return Math.min(FLAG_COLUMNS, super.padWidth(command, helper));
  }

  override optionDescription(option: Option): string {
    return `${super.optionDescription(option)}${option.mandatory ? ' (required)' : ''}`;
  }

  override formatItem(term: string, termWidth: number, description: string, helper: Help): string {
    if (this.displayWidth(term) <= termWidth || description === '') {
      return super.formatItem(term, termWidth, description, helper);
    }
    return `  ${term}\n${super.formatItem('', termWidth, description, helper)}`;
  }
}

/** Lays out the help of a command and of all below it. */
export function configureHelp(command: Command): void {
  command.createHelp = () => Object.assign(new NarrowHelp(), command.configureHelp());
  command.configureOutput({
    getOutHelpWidth: () => terminalWidth(process.stdout, 80),
    getErrHelpWidth: () => terminalWidth(process.stderr, 80),
  });
}

/** The end of a command's help: command lines that work as typed, one after the other, in a checkout that is built. */
export function examples(...lines: readonly string[]): string {
  return ['', 'Examples:', ...lines.map((line) => `  ${line.replace('\n', '\n  ')}`)].join('\n');
}
