/** Errors between threads: a message keeps an error's text, and loses its class. */
import * as errors from '../errors.js';

/** The parts of an error in a message. */
export interface SentError {
  readonly name: string;
  readonly message: string;
}

/** The part of an error that can be sent to another thread. */
export function sentError(error: unknown): SentError {
  const { name, message } = error instanceof Error ? error : new Error(String(error));
  return { name, message };
}

/** The error that was thrown in another thread, with its class if that is one of loopnn's. */
export function receivedError({ name, message }: SentError): Error {
  const error = new Error(message);
  const own = Object.values(errors).find((known) => known.name === name);
  const typed = own ? Object.setPrototypeOf(error, own.prototype) : error;
  return Object.defineProperty(typed, 'name', { value: name });
}
