/** Handles a user's actions on a chart: zoom, move, point. It handles pixels and the axis, not the drawing. */
import { MARGIN } from './plot.js';

export interface Pointed {
  /** The range that is shown, and the whole range; null while nothing is shown. */
  readonly domain: () => readonly [number, number] | null;
  readonly whole: () => readonly [number, number] | null;
  readonly log: () => boolean;
  readonly ofX: (pixel: number) => number;
  /** Shows a part of the axis; null for all. */
  readonly zoom: (to: readonly [number, number] | null) => void;
  /** Receives the pixels between which a part is being selected; null for none. */
  readonly select: (pixels: readonly [number, number] | null) => void;
  readonly hover: (pixel: number | null) => void;
}

/** Least pixels of a drag; a shorter one is a click. */
const LEAST_PIXELS = 6;
const FACTOR = 1.4;

export class Pointing {
  private readonly fingers = new Map<number, number>();
  private drag: { readonly from: number; readonly moves: boolean } | null = null;
  private readonly stop = new AbortController();

  constructor(
    private readonly element: HTMLElement,
    private readonly to: Pointed,
  ) {
    const { signal } = this.stop;
    const on = <Name extends keyof HTMLElementEventMap>(
      name: Name,
      heard: (event: HTMLElementEventMap[Name]) => void,
    ) => element.addEventListener(name, heard, { signal, passive: name !== 'wheel' && name !== 'keydown' });
    on('pointerdown', (event) => this.down(event));
    on('pointermove', (event) => this.move(event));
    on('pointerup', (event) => this.up(event));
    on('pointercancel', (event) => this.up(event));
    on('pointerleave', () => to.hover(null));
    on('dblclick', () => to.zoom(null));
    on('wheel', (event) => this.wheel(event));
    on('keydown', (event) => this.key(event));
  }

  dispose(): void {
    this.stop.abort();
  }

  private at(event: MouseEvent): number {
    const { left, right } = this.element.getBoundingClientRect();
    return Math.min(right - left - MARGIN.right, Math.max(MARGIN.left, event.clientX - left));
  }

  private down(event: PointerEvent): void {
    if (event.button !== 0) return;
    const pixel = this.at(event);
    this.fingers.set(event.pointerId, pixel);
    this.drag = { from: pixel, moves: event.shiftKey || event.pointerType !== 'mouse' };
    this.element.setPointerCapture(event.pointerId);
  }

  private move(event: PointerEvent): void {
    const pixel = this.at(event);
    const before = this.fingers.get(event.pointerId);
    if (before === undefined || !this.drag) {
      this.to.hover(pixel);
      return;
    }
    this.to.hover(null);
    if (!this.drag.moves) {
      this.to.select([this.drag.from, pixel]);
      return;
    }
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
    this.fingers.set(event.pointerId, pixel);
    if (others.length === 0) this.shift((before - pixel) / this.width);
    else
      this.scale(
        Math.abs(before - others[0]) / Math.max(20, Math.abs(pixel - others[0])),
        (pixel + others[0]) / 2,
      );
  }

  private up(event: PointerEvent): void {
    const { drag } = this;
    const wasDown = this.fingers.delete(event.pointerId);
    this.to.select(null);
    if (!wasDown || !drag || this.fingers.size > 0) return;
    this.drag = null;
    const pixel = this.at(event);
    if (event.type === 'pointercancel' || drag.moves || Math.abs(pixel - drag.from) < LEAST_PIXELS) return;
    const [a, b] = [drag.from, pixel].map(this.to.ofX).sort((x, y) => x - y);
    if (a < b) this.to.zoom([a, b]);
  }

  private wheel(event: WheelEvent): void {
    // Without Ctrl the page scrolls.
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.shift((event.deltaX || event.deltaY) / this.width);
    } else if (event.ctrlKey) {
      event.preventDefault();
      this.scale(Math.exp(event.deltaY / 300), this.at(event));
    }
  }

  private key(event: KeyboardEvent): void {
    const middle = MARGIN.left + this.width / 2;
    const acts: Readonly<Record<string, () => void>> = {
      ArrowLeft: () => this.shift(-0.15),
      ArrowRight: () => this.shift(0.15),
      '+': () => this.scale(1 / FACTOR, middle),
      '=': () => this.scale(1 / FACTOR, middle),
      '-': () => this.scale(FACTOR, middle),
      '0': () => this.to.zoom(null),
    };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  private get width(): number {
    return this.element.clientWidth - MARGIN.left - MARGIN.right;
  }

  /** Moves the window by a share of its width. */
  private shift(by: number): void {
    this.change((a, b) => {
      const step = by * (b - a);
      return [a + step, b + step];
    }, true);
  }

  /** Makes the window `factor` times as wide, around a pixel. */
  private scale(factor: number, pixel: number): void {
    const centre = (pixel - MARGIN.left) / this.width;
    this.change((a, b) => {
      const middle = a + centre * (b - a);
      return [middle - (middle - a) * factor, middle + (b - middle) * factor];
    }, false);
  }

  /** Changes the window, in logarithms on a logarithmic axis; the window stays within the whole axis. */
  private change(to: (a: number, b: number) => [number, number], keepsWidth: boolean): void {
    const [domain, whole] = [this.to.domain(), this.to.whole()];
    if (!domain || !whole) return;
    const [into, out] = this.to.log() ? [Math.log, Math.exp] : [Number, Number];
    const [least, most] = whole.map((x) => into(x));
    let [a, b] = to(into(Math.max(domain[0], this.to.log() ? Number.MIN_VALUE : domain[0])), into(domain[1]));
    const width = b - a;
    if (a < least) [a, b] = [least, keepsWidth ? least + width : b];
    if (b > most) [a, b] = [keepsWidth ? most - width : a, most];
    a = Math.max(a, least);
    this.to.zoom(b - a >= 0.999 * (most - least) ? null : [out(a), out(b)]);
  }
}
