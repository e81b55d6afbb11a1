/** The key for servers that need one; it is kept as long as the tab is open. */
import { useState } from 'preact/hooks';

const NAME = 'loopnn-key';

/** Whether a header can carry a key; no server has a key that it cannot carry. */
export function canTravel(key: string): boolean {
  return /^[\x21-\x7e]*$/.test(key);
}

export function storedKey(): string {
  try {
    return sessionStorage.getItem(NAME) ?? '';
  } catch {
    return ''; // a browser may not store anything
  }
}

export function storeKey(key: string): void {
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // The key then lasts only as long as the page.
  }
}

export function KeyForm({ onKey }: { readonly onKey: (key: string) => void }) {
  const [key, setKey] = useState('');
  return (
    <form
      class="controls"
      onSubmit={(event) => {
        event.preventDefault();
        onKey(key.trim());
      }}
    >
      <label>
        API key
        <input
          type="password"
          autocomplete="off"
          required
          value={key}
          onInput={({ currentTarget }) => setKey(currentTarget.value)}
        />
      </label>
      <button class="main" type="submit">
        Use this key
      </button>
      <p class="soft">
        The server was started with <code>--api-key</code> or <code>LOOPNN_API_KEY</code>. This tab keeps the
        key until it is closed.
      </p>
    </form>
  );
}
