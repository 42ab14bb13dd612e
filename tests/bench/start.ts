/**
 * The time of loading.
 *
 * @module
 */

import type { Contender } from "./bench.ts";

/** The contender `start`. */
export const contender: Contender = {
  works: {
    import: (_url, module) => async () => {
      const started = performance.now();
      await import(module);
      return performance.now() - started;
    },
  },
};
