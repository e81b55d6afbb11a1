/** The page: the runs on the left, their charts on the right. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { counted } from '../../printable.js';
import { KeyForm } from '../shared/key.js';
import { OneRun, SideBySide } from './charts.js';
import { type Connection, connect } from './connection.js';
import { Controls } from './controls.js';
import { RunList } from './run-list.js';
import { type Run, Runs } from './runs.js';
import { Samples } from './samples.js';
import { Settings } from './settings.js';
import { fragmentOf, type View, viewOf } from './view.js';

/** Milliseconds for which the server's messages are collected before they are shown. */
const GATHER_MS = 100;
/** Milliseconds without a change before the address is updated with the view. */
const SETTLED_MS = 250;

export function App() {
  const runs = useMemo(() => new Runs(), []);
  const [version, setVersion] = useState(0);
  const [connection, setConnection] = useState<Connection>({ kind: 'connecting' });
  const [view, change] = useView();
  const server = useRef<ReturnType<typeof connect>>(null);
  useEffect(() => {
    let gathering = false;
    const onMessage = (message: Parameters<Runs['take']>[0]) => {
      runs.take(message);
      if (gathering) return;
      gathering = true;
      setTimeout(() => {
        gathering = false;
        setVersion((n) => n + 1);
      }, GATHER_MS);
    };
    let kind = '';
    server.current = connect(onMessage, (state) => {
      if (state.kind !== kind || state.kind === 'key') setConnection(state);
      kind = state.kind;
    });
  }, []);

  const all = useMemo(
    () => [...runs.all.values()].sort((a, b) => (a.info.name < b.info.name ? -1 : 1)),
    [version],
  );
  const on = useMemo(() => all.filter(({ info }) => !view.off.has(info.id)), [all, view.off]);
  const list = useMemo(
    () => <RunList runs={all} off={view.off} onOff={(off) => change({ off })} />,
    [all, view.off],
  );
  const settings = useMemo(
    () => on.length > 0 && <Settings runs={on} same={view.same} onSame={(same) => change({ same })} />,
    [on, view.same],
  );
  const loops = (run: Run) =>
    run.evals.some(({ gates, stateRms, lossByLoops = [] }) => gates || stateRms || lossByLoops.length > 1);
  const one = on.find(({ info }) => info.id === view.run) ?? on.find(loops) ?? on[0];
  const zoom = (to: View['zoom']) => change({ zoom: to });
  const samples = useMemo(() => one && <Samples key={one.info.id} run={one} />, [one, version]);
  return (
    <>
      <header class="page">
        <h1>Trainings</h1>
        <p class="soft" role="status">
          {statusOf(connection, runs, all.length)}
        </p>
        {connection.kind === 'away' && (
          <p role="alert">
            The server is gone ({connection.why}). The page shows the data it read last, and connects again
            when <code>loopnn watch</code> is back.
          </p>
        )}
      </header>
      <main>
        {connection.kind === 'key' ? (
          <>
            {connection.wrong && <p role="alert">The server does not know this key.</p>}
            <KeyForm onKey={(key) => server.current!.useKey(key)} />
          </>
        ) : (
          all.length > 0 && (
            <div class="layout">
              {list}
              <div>
                <Controls view={view} onChange={change} />
                {on.length === 0 && <p class="soft">Every run is switched off.</p>}
                {on.length > 0 && <SideBySide runs={on} version={version} view={view} onZoom={zoom} />}
                {one && (
                  <section>
                    <h2>One run from loop to loop</h2>
                    <p class="soft">
                      A loop is one more pass through the same layers, with the same weights.
                    </p>
                    <label class="controls">
                      Run
                      <select
                        value={one.info.id}
                        onChange={(event) => change({ run: event.currentTarget.value })}
                      >
                        {on.map(({ info }) => (
                          <option key={info.id} value={info.id}>
                            {info.name}
                          </option>
                        ))}
                      </select>
                    </label>
                    <OneRun run={one} version={version} view={view} onZoom={zoom} />
                    <h3>What it writes</h3>
                    {samples}
                  </section>
                )}
                {settings}
              </div>
            </div>
          )
        )}
      </main>
      <footer class="page">Read from the runs' folders as they grow; nothing is written there.</footer>
    </>
  );
}

function statusOf({ kind }: Connection, runs: Runs, count: number): string {
  if (kind === 'key') return 'This server shows its runs to those who have its key.';
  if (count === 0 && runs.complete) {
    return `No run is there yet below ${runs.folders.join(', ')}. One that begins shows up here.`;
  }
  if (!runs.complete && kind !== 'away') return 'Reading the runs…';
  const running = [...runs.all.values()].filter(({ info }) => info.state === 'running').length;
  return `${counted(count, 'run')} below ${runs.folders.join(', ')}, ${running} of them running.`;
}

/** The view of the runs. It follows the address, and the address follows it. */
function useView(): [View, (changed: Partial<View>) => void] {
  const [view, setView] = useState(() => viewOf(location.hash));
  useEffect(() => {
    const heard = () => setView(viewOf(location.hash));
    addEventListener('hashchange', heard);
    return () => removeEventListener('hashchange', heard);
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => {
      const fragment = fragmentOf(view);
      if (fragment === location.hash.slice(1)) return;
      history.replaceState(null, '', fragment === '' ? location.pathname : `#${fragment}`);
    }, SETTLED_MS);
    return () => clearTimeout(timer);
  }, [view]);
  return [view, (changed) => setView((before) => ({ ...before, ...changed }))];
}
