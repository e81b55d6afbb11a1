/** A place for this part. */
export function Exits() {
  return <p class="soft">To come.</p>;
}
