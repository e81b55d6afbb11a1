/** A place for this part. */
export function Slider() {
  return <p class="soft">To come.</p>;
}
