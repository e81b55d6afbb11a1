/** Asks for the key of a server that wants one. */
import { useState } from 'preact/hooks';

export function KeyForm({
  wrong,
  onKey,
}: {
  readonly wrong: boolean;
  readonly onKey: (key: string) => void;
}) {
  const [key, setKey] = useState('');
  return (
    <form
      class="card key"
      onSubmit={(event) => {
        event.preventDefault();
        onKey(key);
      }}
    >
      {wrong && <p role="alert">The server does not know this key.</p>}
      <label>
        Key of this server
        <input
          type="password"
          autocomplete="off"
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="main" disabled={key === ''}>
        Show the runs
      </button>
      <p class="soft">
        It was started with <code>--api-key</code> or <code>LOOPNN_API_KEY</code>. This tab keeps the key
        until it is closed.
      </p>
    </form>
  );
}
