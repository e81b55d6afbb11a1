/** A place for this part. */
export function Parity() {
  return <p class="soft">To come.</p>;
}
