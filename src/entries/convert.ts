/** What `import … from 'loopnn/convert'` gives: models in, models out, and loop networks of GPT-2s. */
export * from '../errors.js';
export { type ImportedModel, importModel, type ImportOptions } from '../operations/import.js';
export {
  type ExportedHuggingFace,
  type ExportedForBrowser,
  type ExportedOnnx,
  exportModel,
  type ExportOptions,
} from '../operations/export.js';
export { type RetrofitOptions, type RetrofittedModel, retrofitModel } from '../operations/retrofit.js';
