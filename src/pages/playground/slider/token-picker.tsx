/** A text's tokens, one of which is picked by a tap or by the arrow keys. */
import { useRef } from 'preact/hooks';
import { visible } from '../../../printable.js';

export interface PickedToken {
  readonly text: string;
  /** The strength of its colour, from 0 to 1. */
  readonly weight: number;
  /** The meaning of its colour, in words. */
  readonly title: string;
  readonly underlined?: boolean;
}

export interface TokenPickerProps {
  readonly label: string;
  readonly tokens: readonly PickedToken[];
  readonly picked: number;
  readonly onPick: (token: number) => void;
}

export function TokenPicker({ label, tokens, picked, onPick }: TokenPickerProps) {
  const group = useRef<HTMLDivElement>(null);
  const move = (event: KeyboardEvent) => {
    const steps: Readonly<Record<string, number>> = {
      ArrowRight: 1,
      ArrowDown: 1,
      ArrowLeft: -1,
      ArrowUp: -1,
    };
    const ends: Readonly<Record<string, number>> = { Home: 0, End: tokens.length - 1 };
    const to = ends[event.key] ?? (event.key in steps ? picked + steps[event.key] : null);
    if (to === null || !(to in tokens)) return;
    event.preventDefault();
    onPick(to);
    (group.current?.children[to] as HTMLElement | undefined)?.focus();
  };
  return (
    <div class="tokens" role="radiogroup" aria-label={label} ref={group} onKeyDown={move}>
      {tokens.map(({ text, weight, title, underlined }, t) => (
        // biome-ignore lint/a11y/useSemanticElements: a radio button has no room for a token's colour
        <button
          key={`${t} ${text}`}
          type="button"
          role="radio"
          class={underlined ? 'token right' : 'token'}
          style={{ '--weight': `${Math.round(45 * weight)}%` }}
          title={title}
          aria-checked={t === picked}
          tabIndex={t === picked ? 0 : -1}
          onClick={() => onPick(t)}
        >
          {visible(text)}
        </button>
      ))}
    </div>
  );
}
