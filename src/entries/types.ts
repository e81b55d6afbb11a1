/** The types that functions of the library take and give, for all entries: they cost nothing to load. */
export type { Backend, Precision } from '../backend/backend.js';
export type { FieldOptions, FileKind } from '../data/corpus/source.js';
export type { Dataset, DatasetOptions } from '../data/dataset.js';
export type { HubAccess } from '../data/hub/hub.js';
export type { DownloadOptions, DownloadPlan } from '../data/hub/hub-download.js';
export type { HubOptions } from '../data/hub/hub-source.js';
export type { DatasetMeta, SplitMeta } from '../data/meta.js';
export type { PrepareOptions, PrepareProgress, PrepareResult } from '../data/prepare.js';
export type { TokenShard } from '../data/shard.js';
export type { Batch, TokenSource } from '../evaluate/batches.js';
export type { RunOptions } from '../evaluate/evaluation.js';
export type { GateSummary } from '../evaluate/gates.js';
export type { EncodedLastWord, LastWord, LastWordEvaluation } from '../evaluate/last-word.js';
export type { LoopParts } from '../evaluate/loop-parts.js';
export type {
  Analysis,
  DepthPoint,
  Halting,
  StateChange,
  TokenSteps,
} from '../experiments/analysis.js';
export type { ComparisonEvent, Pilots } from '../experiments/comparison-events.js';
export type { ComparisonDocument } from '../experiments/comparison-folder.js';
export type { Entrant } from '../experiments/entrants.js';
export type { Quantiles } from '../experiments/exit-values.js';
export type {
  CriterionSweep,
  ExitPoint,
  ExitSweep,
  ExitSweepOptions,
  Unmeasured,
} from '../experiments/exits.js';
export type {
  ExitUnit,
  InspectedExit,
  InspectedToken,
  Inspection,
  Prediction,
  WordParts,
} from '../experiments/inspect.js';
export type { FittedModel, Interval, LawFit, LawModel } from '../experiments/law/fit.js';
export type { Law, LawPoint } from '../experiments/law/law.js';
export type { MeasuredLaw, MeasuredModel } from '../experiments/law/measured.js';
export type { AtEqualCost, CostVerdict } from '../experiments/law/verdict.js';
export type { Measurements } from '../experiments/model-results.js';
export type { Outcome, Tuned } from '../experiments/outcome.js';
export type { PlannedModel } from '../experiments/plan.js';
export type { ReportContext } from '../experiments/report.js';
export type { CurvePoint, Provenance, RunResult } from '../experiments/result.js';
export type {
  Budget,
  Fields,
  Grid,
  LawRecipe,
  Scale,
  Suite,
  SuiteData,
  SuiteGroup,
  SuiteModel,
} from '../experiments/suites.js';
export type { Timing } from '../experiments/timing.js';
export type { IntegerType } from '../formats/integers.js';
export type { OnnxType, OnnxValue } from '../formats/onnx.js';
export type { WeightType } from '../formats/onnx-weights.js';
export type { SequenceOptions } from '../generate/decoder.js';
export type { GeneratedToken, GenerationRequest } from '../generate/request.js';
export type { SamplingOptions } from '../generate/sampler.js';
export type { DraftOptions } from '../generate/speculation.js';
export type { DecodePass, Pass, ScorePass, TrainPass } from '../models/exits/pass.js';
export type { BackendName, BackendOptions, Weights } from '../node/backend.js';
export type { LoadOptions as RunLoadOptions } from '../node/run.js';
export type { OpenOptions } from '../operations/open.js';
export type { Clock, FileContent, RandomAccessFile, Store } from '../platform.js';
export type { Spread } from '../statistics.js';
export type { Tensor } from '../tensor/tensor.js';
export type { EndOfTextHints } from '../tokenizer/huggingface-json.js';
export type { TokenNames } from '../tokenizer/special-tokens.js';
export type {
  SpecialToken,
  TextCutter,
  TokenDecoder,
  Tokenizer,
  TokenizerJSON,
} from '../tokenizer/tokenizer.js';
export type { CheckpointKind, TrainState } from '../train/checkpoint.js';
export type { TrainConfig } from '../train/config.js';
export type { Conventions } from '../train/conventions.js';
export type { EvaluationOptions } from '../train/evaluation.js';
export type { CheckpointEvent, EndEvent, EvalEvent, EvalNotes, StepEvent } from '../train/events.js';
export type { LoggedEvent, Metrics } from '../train/metrics.js';
export type { Message, Peers } from '../train/peers.js';
export type { KeyValueOptions } from '../train/run.js';
export type { TrainerOptions } from '../train/trainer.js';
