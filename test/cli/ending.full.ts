/** Every command's error paths, so often that an end which hangs one time in ten would be seen. */
import { errorPathsEnd } from './error-paths.js';

await errorPathsEnd(20);
