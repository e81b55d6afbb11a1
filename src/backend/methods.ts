/** Classes whose methods come from a table. */

/** A class whose instances have these methods. */
export function classWith<Methods extends object>(methods: Methods): new () => Methods {
  const Base = class {};
  Object.assign(Base.prototype, methods);
  return Base as new () => Methods;
}
