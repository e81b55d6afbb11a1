/** The current model, and how to open the user's own. */
import { counted, grouped } from '../../printable.js';
import { engineInWords } from './engine.js';
import { DropZone } from './drop-zone.js';
import { modelClient, type ModelState } from './model-client.js';
import { chosenFiles, droppedFiles, type Given } from './given-files.js';
import type { ModelFacts } from './messages.js';

export function ModelBar({ facts, loading, error, own }: ModelState) {
  const give = ({ name, files }: Given) => void modelClient.load(files, name);
  return (
    <DropZone
      label="The model"
      class="card model"
      onDrop={(dropped) => void droppedFiles(dropped).then(give)}
    >
      <p role="status">
        {loading && 'Loading the model …'}
        {!loading && facts && (
          <>
            <strong>{own ?? 'The model of this page'}</strong>: {described(facts)}
          </>
        )}
      </p>
      {error && (
        <p role="alert">
          {own === null && !facts ? 'The model could not be loaded' : 'That model could not be loaded'}:{' '}
          {error}
        </p>
      )}
      <div class="controls">
        <label class="button">
          Use a run of your own …
          <input
            type="file"
            multiple
            {...{ webkitdirectory: true }}
            onChange={({ currentTarget }) => {
              if (currentTarget.files?.length) give(chosenFiles(currentTarget.files));
              currentTarget.value = '';
            }}
          />
        </label>
        <span class="soft">
          or drop its folder here: a run, or what <code>loopnn export --format browser</code> wrote
        </span>
        {own !== null && (
          <button type="button" onClick={() => void modelClient.load(null, null)}>
            Back to the model of this page
          </button>
        )}
      </div>
    </DropZone>
  );
}

function described({ config, exits, parameters, step, engine, sharesMemory }: ModelFacts): string {
  const { depth, nLayer, nEmbd, vocabSize, blockSize } = config;
  const layers = counted(nLayer, 'layer');
  const size = parameters.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 2 });
  const loops =
    exits === 1 ? ', no loops' : depth === 'adaptive' ? ' with an exit after each' : ` × ${exits} loops`;
  const why = sharesMemory || 'gpu' in engine ? '' : ', since this page may not share memory';
  return (
    `${layers}${loops}, ${nEmbd} channels, ${size} weights, ${grouped(vocabSize)} tokens, ` +
    `texts of up to ${blockSize} tokens, ${grouped(step)} updates; computed on ${engineInWords(engine)}${why}.`
  );
}
