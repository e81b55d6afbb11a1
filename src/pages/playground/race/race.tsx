/** A place for this part. */
export function Race() {
  return <p class="soft">To come.</p>;
}
