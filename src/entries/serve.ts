/**
 * What `import … from 'loopnn/serve'` gives: an OpenAI-compatible server, the page of trainings, and the playground's.
 */
export * from '../errors.js';
export { type Playground, type PlayOptions, servePlayground } from '../operations/play.js';
export { serveModel, type ServeModelOptions } from '../operations/serve.js';
export { type RunsPage, type WatchOptions, watchRuns } from '../operations/watch.js';
export { ApiKeys } from '../serve/keys.js';
export type { EngineOptions, ModelInfo } from '../serve/messages.js';
export { DEFAULT_LIMITS, type Limits, ModelServer, type ServeOptions } from '../serve/server.js';
