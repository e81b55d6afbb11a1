/** What `import … from 'loopnn/experiments'` gives: comparisons, and what a model does from loop to loop. */
export * from '../errors.js';
export { type Comparison, compareModels, type CompareOptions } from '../operations/compare.js';
export { type ComparisonPlan, planModels } from '../operations/plan.js';
export { findSuite, suiteNames } from '../operations/suites.js';
export { onlyRecipes } from '../experiments/law/models.js';
export { reportRuns, type RunsReport } from '../operations/report.js';
export { inspectText, type InspectTextOptions } from '../operations/inspect.js';
export { renderInspection } from '../experiments/inspect-page.js';
export { type MeasuredExits, measureExits, type MeasureExitsOptions } from '../operations/exits.js';
