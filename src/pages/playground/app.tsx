/** The page's frame: its parts, each with its own address; one part is in view. */
import type { FunctionComponent } from 'preact';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { messageOf } from '../shared/words.js';
import { PARTS, type Part, type PartProps } from './part.js';
import { fragmentOf, placeOf } from './place.js';
import { Visit } from './visit.js';

export function App() {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  /** The last reported state of each part. */
  const states = useRef(new Map([[place.part, place.state.toString()]]));
  /** How many times an address has given each part a new state. */
  const [versions, setVersions] = useState<Readonly<Record<string, number>>>({});
  const [visited, setVisited] = useState<readonly string[]>([place.part]);

  useEffect(() => {
    const moved = () => {
      const next = placeOf(location.hash);
      const known = states.current.get(next.part);
      const said = next.state.toString();
      if (said === '' && known) {
        const state = new URLSearchParams(known);
        history.replaceState(null, '', fragmentOf({ part: next.part, state }));
      } else if (said !== known) {
        states.current.set(next.part, said);
        setVersions((former) => ({ ...former, [next.part]: (former[next.part] ?? 0) + 1 }));
      }
      setVisited((former) => (former.includes(next.part) ? former : [...former, next.part]));
      setPlace(next);
    };
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);

  const say = useCallback((part: string, state: URLSearchParams) => {
    states.current.set(part, state.toString());
    if (placeOf(location.hash).part === part) history.replaceState(null, '', fragmentOf({ part, state }));
  }, []);

  return (
    <>
      <header class="page">
        <h1>What looping does</h1>
        <p>
          A loop network runs the same layers several times: each <em>loop</em> reads the result of the loop
          before, and needs no further weights. Everything runs here, in this tab.
        </p>
        <nav class="parts" aria-label="Parts">
          {PARTS.map(({ name, title }) => (
            <a key={name} href={`#${name}`} aria-current={name === place.part ? 'page' : undefined}>
              {title}
            </a>
          ))}
        </nav>
      </header>
      <main>
        {PARTS.filter(({ name }) => visited.includes(name)).map((part) => (
          <Shown
            key={`${part.name} ${versions[part.name] ?? 0}`}
            part={part}
            shown={part.name === place.part}
            state={states.current.get(part.name) ?? ''}
            say={say}
          />
        ))}
      </main>
      <Visit />
    </>
  );
}

interface ShownProps {
  readonly part: Part;
  readonly shown: boolean;
  readonly state: string;
  readonly say: (part: string, state: URLSearchParams) => void;
}

/** A part of the page, which stays there from its first view on. */
function Shown({ part, shown, state: said, say }: ShownProps) {
  const [loaded, setLoaded] = useState<{ readonly Component: FunctionComponent<PartProps> } | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const [state] = useState(() => new URLSearchParams(said));
  const onState = useCallback((next: URLSearchParams) => say(part.name, next), [part, say]);
  useEffect(() => {
    part.load().then(
      (Component) => setLoaded({ Component }),
      (error: unknown) => setFailed(messageOf(error)),
    );
  }, [part]);
  return (
    <section hidden={!shown} aria-labelledby={`title-${part.name}`}>
      <h2 id={`title-${part.name}`}>{part.title}</h2>
      {failed && <p role="alert">This part could not be loaded: {failed}. Reload the page.</p>}
      {loaded && <loaded.Component state={state} onState={onState} />}
      {!loaded && !failed && <p class="soft">Loading …</p>}
    </section>
  );
}
