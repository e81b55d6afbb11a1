/** A group of fields on which files may be dropped. */
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';

export interface DropZoneProps {
  /** The group's name for screen readers. */
  readonly label: string;
  readonly class: string;
  readonly onDrop: (dropped: DataTransfer) => void;
  readonly children: ComponentChildren;
}

export function DropZone({ label, class: name, onDrop, children }: DropZoneProps) {
  const [over, setOver] = useState(false);
  return (
    <fieldset
      aria-label={label}
      class={over ? `${name} over` : name}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer) onDrop(event.dataTransfer);
      }}
    >
      {children}
    </fieldset>
  );
}
