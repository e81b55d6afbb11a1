/** Inputs that the trained networks have not seen, with each network's answer. */
import type { ParityGuess, ParityResult } from '../../../experiments/parity.js';
import { Scroll } from '../../shared/scroll.js';

const SYMBOLS: Readonly<Record<number, string>> = { [-1]: '−', 0: '·', 1: '+' };
const SPOKEN: Readonly<Record<number, string>> = { [-1]: 'minus', 0: 'empty', 1: 'plus' };

export function Guesses({ results }: { readonly results: readonly ParityResult[] }) {
  const [one, act] = results;
  return (
    <>
      <h3>Some inputs, and their answers</h3>
      <Scroll label="Inputs and answers">
        <table class="guesses">
          <thead>
            <tr>
              <th scope="col">Input</th>
              <th scope="col">Number of +</th>
              <th scope="col">One step says</th>
              <th scope="col">ACT says</th>
              <th scope="col">ACT’s steps</th>
            </tr>
          </thead>
          <tbody>
            {act.guesses.map((guess, i) => (
              <tr key={`${guess.k} ${i}`}>
                <td>
                  <code role="img" aria-label={guess.input.map((value) => SPOKEN[value]).join(', ')}>
                    {guess.input.map((value) => SYMBOLS[value]).join(' ')}
                  </code>
                </td>
                <td>
                  {guess.input.filter((value) => value === 1).length}, {parityOf(guess.odd)}
                </td>
                <Answer guess={one.guesses[i]} />
                <Answer guess={guess} />
                <td>{guess.steps}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}

function Answer({ guess: { odd, guessedOdd } }: { readonly guess: ParityGuess }) {
  const right = odd === guessedOdd;
  return (
    <td class={right ? 'good' : 'bad'}>
      {parityOf(guessedOdd)} {right ? '✓ right' : '✗ wrong'}
    </td>
  );
}

const parityOf = (odd: boolean) => (odd ? 'odd' : 'even');
