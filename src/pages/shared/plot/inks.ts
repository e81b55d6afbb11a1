/** The colours of the page's scheme, for drawing on a canvas. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Inks } from './plot.js';

/** The current colours, and a number that changes with them. */
export function useInks(): { current: Inks; scheme: number } {
  const [scheme, setScheme] = useState(0);
  const inks = useRef(read());
  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => {
      inks.current = read();
      setScheme((n) => n + 1);
    };
    dark.addEventListener('change', changed);
    return () => dark.removeEventListener('change', changed);
  }, []);
  return {
    scheme,
    get current() {
      return inks.current;
    },
  };
}

function read(): Inks {
  const style = getComputedStyle(document.documentElement);
  return {
    text: drawn(style, 'var(--soft)'),
    rule: drawn(style, 'var(--rule)'),
    drawn: (color) => drawn(style, color),
  };
}

/** A colour for a canvas, which does not accept CSS variables. */
function drawn(style: CSSStyleDeclaration, color: string): string {
  return color.replace(/^var\((--[\w-]+).*$/, (_, variable: string) =>
    style.getPropertyValue(variable).trim(),
  );
}
