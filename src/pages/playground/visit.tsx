/** The page's footer: whether the page is kept for the next visit, and whether a new version waits. */
import { useEffect, useState } from 'preact/hooks';

export function Visit() {
  const [waiting, setWaiting] = useState<ServiceWorker | null>(null);
  const [kept, setKept] = useState(false);
  useEffect(() => keepFiles(setWaiting, () => setKept(true)), []);
  return (
    <footer class="page">
      {waiting && (
        <p role="status">
          A new version of this page is here.{' '}
          <button type="button" onClick={() => waiting.postMessage('take over')}>
            Load it
          </button>
        </p>
      )}
      <p>
        Nothing that is typed or dropped here leaves this device.
        {kept && ' The page is kept by the browser: it works without a network from now on.'}
      </p>
    </footer>
  );
}

/**
 * Lets the service worker keep the page's files once they are loaded; over plain HTTP there is no service worker.
 */
function keepFiles(onWaiting: (worker: ServiceWorker) => void, onKept: () => void): () => void {
  const { serviceWorker } = navigator as Partial<Navigator>;
  if (!serviceWorker) return () => {};
  const former = serviceWorker.controller;
  const changed = () => {
    if (former) location.reload();
  };
  serviceWorker.addEventListener('controllerchange', changed);
  const begin = async () => {
    const registration = await serviceWorker.register('./service-worker.js');
    if (registration.waiting) onWaiting(registration.waiting);
    registration.addEventListener('updatefound', () => {
      const { installing } = registration;
      installing?.addEventListener('statechange', () => {
        if (installing.state === 'installed' && former) onWaiting(installing);
      });
    });
    await serviceWorker.ready;
    onKept();
  };
  // Later, so that the first view loads first.
  const timer = setTimeout(() => begin().catch(() => {}), 1500);
  return () => {
    clearTimeout(timer);
    serviceWorker.removeEventListener('controllerchange', changed);
  };
}
