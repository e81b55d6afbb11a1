/** The prompt, a text to continue or a message, with settings for the answer. */
import type { Model } from './api.js';
import { type Settings, SettingsFields } from './settings.js';

export interface PromptFormProps {
  /** Null until the server has sent the model. */
  readonly model: Model | null;
  readonly chat: boolean;
  readonly prompt: string;
  readonly settings: Settings;
  /** Whether an answer is being made. */
  readonly busy: boolean;
  /** Whether there is an answer. */
  readonly begun: boolean;
  readonly onKind: (chat: boolean) => void;
  readonly onPrompt: (prompt: string) => void;
  readonly onSettings: (changed: Partial<Settings>) => void;
  readonly onGenerate: () => void;
  readonly onStop: () => void;
  readonly onNew: () => void;
}

export function PromptForm(props: PromptFormProps) {
  const { model, chat, prompt, settings, busy, begun } = props;
  const kind = (isChat: boolean, name: string) => (
    <label>
      <input
        type="radio"
        name="kind"
        checked={chat === isChat}
        onChange={() => props.onKind(isChat)}
        disabled={busy}
      />
      {name}
    </label>
  );
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        props.onGenerate();
      }}
    >
      <h2>Prompt</h2>
      <div class="controls">
        {kind(false, 'continue a text')}
        {kind(true, 'chat')}
      </div>
      <label class="prompt">
        {chat ? 'Your message' : 'Text to continue'}
        <textarea
          rows={5}
          value={prompt}
          onInput={({ currentTarget }) => props.onPrompt(currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
              event.currentTarget.form!.requestSubmit();
            }
          }}
        />
      </label>
      <SettingsFields model={model} settings={settings} onChange={props.onSettings} />
      <div class="controls">
        <button class="main" type="submit" disabled={!model || busy}>
          Generate
        </button>
        <button type="button" disabled={!busy} onClick={props.onStop}>
          Stop
        </button>
        {chat && begun && (
          <button type="button" disabled={busy} onClick={props.onNew}>
            New chat
          </button>
        )}
        <span class="soft">Ctrl+Enter generates</span>
      </div>
    </form>
  );
}
