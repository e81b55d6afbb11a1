/** The page of `loopnn serve`: a prompt, settings for the answer, and the answer as it comes. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { grouped } from '../../printable.js';
import { KeyForm, storedKey, storeKey } from '../shared/key.js';
import '../shared/style.css';
import { Answer, type Turn } from './answer.js';
import { answer, chats, health, type Message, type Model, RequestError, servedModel } from './api.js';
import { joined } from './pieces.js';
import { PromptForm } from './prompt-form.js';
import { DEFAULT_SETTINGS, requested, type Settings } from './settings.js';
import './style.css';

/** Milliseconds after which a server that does not answer is asked again. */
const AGAIN_MS = 1000;

function Page() {
  // An object, so that entering the same key again tries it again.
  const [access, setAccess] = useState({ key: storedKey() });
  const { key } = access;
  const [model, setModel] = useState<Model | null>(null);
  const [trouble, setTrouble] = useState<RequestError | null>(null);
  const [settings, setSettings] = useState<Settings>(DEFAULT_SETTINGS);
  const [chat, setChat] = useState(false);
  const [prompt, setPrompt] = useState('');
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const running = useRef<AbortController | null>(null);
  const [busy, setBusy] = useState(false);

  // Until the model is known, and again when the server is gone.
  const seeking = model === null || trouble?.trouble === 'gone';
  useEffect(() => {
    if (!seeking) return;
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const seek = async () => {
      try {
        const state = await health();
        if (state === 'loading') throw new RequestError('waiting', 'The model is being loaded …');
        const found = await servedModel(key);
        const template = model === null && (await chats(key));
        if (over) return;
        if (template) setChat(true);
        setModel(found);
        setTrouble(null);
      } catch (error) {
        if (over) return;
        setTrouble(error as RequestError);
        if ((error as RequestError).trouble !== 'key') timer = setTimeout(seek, AGAIN_MS);
      }
    };
    // The error stays visible until the server is asked again.
    timer = setTimeout(seek, model === null ? 0 : AGAIN_MS);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [seeking, access]);

  const generate = async () => {
    if (!model || running.current) return;
    const controller = new AbortController();
    running.current = controller;
    setBusy(true);
    setTrouble(null);
    const before = chat ? turns : [];
    let turn: Turn = { prompt, pieces: [], end: null };
    const show = (changed: Partial<Turn>) => {
      turn = { ...turn, ...changed };
      setTurns([...before, turn]);
    };
    show({});
    const asked = chat ? { messages: [...dialogue(before), said('user', prompt)] } : { text: prompt };
    try {
      const options = { model: model.id, ...requested(settings) };
      for await (const event of answer(asked, options, key, controller.signal)) {
        show({
          pieces: joined(turn.pieces, event.pieces),
          ...(event.end === null ? {} : { end: ended(event.end) }),
        });
      }
      if (turn.end === null) show({ end: 'Stopped.' });
      if (chat) setPrompt('');
    } catch (error) {
      if (turn.pieces.length === 0) setTurns(before);
      else show({ end: 'Broken off.' });
      setTrouble(error as RequestError);
    }
    running.current = null;
    setBusy(false);
  };

  const wrongKey = trouble?.trouble === 'key';
  return (
    <>
      <header class="page">
        <h1>{model ? model.id : 'A served model'}</h1>
        {model && <p class="soft">{about(model)}</p>}
        {trouble && <p role={trouble.trouble === 'waiting' ? 'status' : 'alert'}>{trouble.message}</p>}
        {wrongKey && (
          <KeyForm
            onKey={(changed) => {
              storeKey(changed);
              setTrouble(null);
              setAccess({ key: changed });
              setModel(null);
            }}
          />
        )}
      </header>
      <main class="columns">
        <PromptForm
          {...{ model, chat, prompt, settings, busy }}
          begun={turns.length > 0}
          onKind={(kind) => {
            setChat(kind);
            setTurns([]);
          }}
          onPrompt={setPrompt}
          onSettings={(changed) => setSettings({ ...settings, ...changed })}
          onGenerate={generate}
          onStop={() => running.current?.abort()}
          onNew={() => setTurns([])}
        />
        <section class="card" aria-label="answer" aria-busy={busy}>
          <h2>Answer</h2>
          {turns.length > 0 ? (
            <Answer turns={turns} chat={chat} />
          ) : (
            <p class="soft">The model’s answer to the prompt appears here, token by token.</p>
          )}
        </section>
      </main>
      <footer class="page">
        Programs use the same server through OpenAI’s API, at{' '}
        <code>{new URL('v1', document.baseURI).href}</code>.
      </footer>
    </>
  );
}

/** The model's facts for a visitor. */
function about({ loops, max_model_len: most }: Model): string {
  const reads = `It reads and writes tokens, pieces of text of one or more letters, up to ${grouped(most)} in all.`;
  const looping =
    loops.default > 1
      ? `For each token it runs ${loops.default} loops: rounds through the same blocks, or the steps or layers of other depths.`
      : 'It runs its layers once for each token.';
  return `A model served by loopnn. ${looping} ${reads}`;
}

function said(role: Message['role'], content: string): Message {
  return { role, content };
}

function dialogue(turns: readonly Turn[]): Message[] {
  return turns.flatMap(({ prompt, pieces }) => [
    said('user', prompt),
    said('assistant', pieces.map(({ text }) => text).join('')),
  ]);
}

/** A reason of the API in words. */
function ended(reason: string): string {
  return reason === 'stop'
    ? 'The model ended the text here.'
    : 'Cut off: the answer has reached the maximum of tokens, or the end of the model’s context.';
}

render(<Page />, document.body);
