/** The default port of `loopnn watch`: beside that of `loopnn serve`. */
export const DEFAULT_PORT = 8090;
