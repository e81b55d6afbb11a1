/** Where `loopnn watch` listens unless it is told: beside `loopnn serve`. */
export const DEFAULT_PORT = 8090;
