/** The parts of the page. */
import type { FunctionComponent } from 'preact';

export interface PartProps {
  /** What follows the part's name in the fragment: `loops=3` in `#slider?loops=3`. */
  readonly state: URLSearchParams;
  /**
   * Writes the part's state to the fragment, so that the page's address leads back to it; adds no entry to the history.
   */
  readonly onState: (state: URLSearchParams) => void;
}

export interface Part {
  readonly name: string;
  readonly title: string;
  readonly load: () => Promise<FunctionComponent<PartProps>>;
}

/** The parts, in their order. Each is loaded when it is first shown, and keeps working while another is in view. */
export const PARTS: readonly Part[] = [
  { name: 'slider', title: 'The slider', load: async () => (await import('./slider/slider.js')).Slider },
  { name: 'race', title: 'The race', load: async () => (await import('./race/race.js')).Race },
  { name: 'exits', title: 'The exits', load: async () => (await import('./exits/exits.js')).Exits },
  { name: 'parity', title: 'Parity', load: async () => (await import('./parity/parity.js')).Parity },
];
