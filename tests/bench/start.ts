/**
 * How long loading takes.
 *
 * @module
 */

import type { Contender } from "./bench.ts";

/** What the table calls `start`. */
export const contender: Contender = {
  works: {
    import: (_url, module) => async () => {
      const started = performance.now();
      await import(module);
      return performance.now() - started;
    },
  },
};
