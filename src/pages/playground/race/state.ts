/** The page's state of a race, from its worker's messages. */
import { ENTRANTS, type EntrantCost } from './entrants.js';
import type { BegunRace, FoundRace, RaceEvent, Point } from './messages.js';

/** Weight of the past in the smoothed training loss. */
const SMOOTHING = 0.95;
/** Most steps over which the speed is measured. */
const SPEED_STEPS = 20;

export type Axis = 'steps' | 'flops' | 'seconds';

/** A curve's points, with their x on each axis. */
interface Points extends Record<Axis, number[]> {
  readonly y: number[];
}

export interface EntrantState {
  readonly cost: EntrantCost;
  readonly train: Points;
  readonly val: Points;
  step: number;
  tokensSeen: number;
  /** Milliseconds of all its steps. */
  ms: number;
  /** Milliseconds and tokens of its last steps. */
  readonly recent: { readonly ms: number; readonly tokens: number }[];
  mean: number;
  weight: number;
  sample: { readonly step: number; readonly prompt: string; readonly text: string } | null;
}

export interface RaceState {
  readonly status: 'idle' | 'preparing' | 'running' | 'pausing' | 'paused' | 'done' | 'failed';
  /** The kept race; null if there is none, undefined before the worker has looked. */
  readonly found: FoundRace | null | undefined;
  readonly race: BegunRace | null;
  readonly entrants: readonly EntrantState[];
  readonly notes: readonly string[];
  readonly failure: string | null;
  /** Counts the received events, since entrants change in place. */
  readonly heard: number;
}

export const NO_RACE: RaceState = {
  ...{ status: 'idle', found: undefined, race: null, entrants: [], notes: [], failure: null, heard: 0 },
};

/** The state after an event. */
export function reduce(state: RaceState, event: RaceEvent): RaceState {
  const next = { ...state, heard: state.heard + 1 };
  switch (event.kind) {
    case 'found':
      return { ...next, found: event.race };
    case 'begun':
      return { ...next, found: null, race: event.race, entrants: event.race.costs.map(newEntrant) };
    case 'points':
      for (const point of event.points) add(state.entrants[point.entrant], point);
      return next;
    case 'sample':
      state.entrants[event.entrant].sample = event;
      return next;
    case 'status':
      return event.status === 'preparing'
        ? { ...next, status: 'preparing', race: null, entrants: [], notes: [], failure: null }
        : { ...next, status: event.status };
    case 'note':
      return state.notes.includes(event.text) ? next : { ...next, notes: [...state.notes, event.text] };
    case 'failed':
      return { ...next, status: 'failed', failure: event.message };
    case 'saved':
      return next;
  }
}

/** Tokens a second of an entrant's last steps; null before the first. */
export function speedOf({ recent }: EntrantState): number | null {
  const sum = (value: 'ms' | 'tokens') => recent.reduce((total, step) => total + step[value], 0);
  return recent.length === 0 ? null : (1000 * sum('tokens')) / sum('ms');
}

/** The curves of the chart: for each entrant the loss on the held-out text and on the training text. */
export function curvesOf(entrants: readonly EntrantState[], axis: Axis) {
  return entrants.flatMap(({ train, val }, i) => {
    const { label, color } = ENTRANTS[i];
    return [
      { label: `${label}, held out`, color, dots: true, x: val[axis], y: val.y },
      { label: `${label}, training`, color, dashed: true, x: train[axis], y: train.y },
    ];
  });
}

function newEntrant(cost: EntrantCost): EntrantState {
  const points = (): Points => ({ steps: [], flops: [], seconds: [], y: [] });
  return {
    ...{ cost, train: points(), val: points(), step: 0, tokensSeen: 0, ms: 0, recent: [] },
    ...{ mean: 0, weight: 0, sample: null },
  };
}

function add(entrant: EntrantState, point: Point): void {
  entrant.step = point.step;
  if ('valLoss' in point) {
    put(entrant.val, entrant, point.valLoss);
    return;
  }
  const { loss, stepMs, tokensSeen } = point;
  entrant.recent.push({ ms: stepMs, tokens: tokensSeen - entrant.tokensSeen });
  if (entrant.recent.length > SPEED_STEPS) entrant.recent.shift();
  entrant.tokensSeen = tokensSeen;
  entrant.ms += stepMs;
  entrant.mean = SMOOTHING * entrant.mean + (1 - SMOOTHING) * loss;
  entrant.weight = SMOOTHING * entrant.weight + (1 - SMOOTHING);
  put(entrant.train, entrant, entrant.mean / entrant.weight);
}

function put(points: Points, { step, tokensSeen, ms, cost }: EntrantState, y: number): void {
  points.steps.push(step);
  points.flops.push(tokensSeen * cost.flopsPerToken);
  points.seconds.push(ms / 1000);
  points.y.push(y);
}
