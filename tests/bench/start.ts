/**
 * How long loading takes.
 *
 * @module
 */

import type { Contender } from "./bench.ts";

/** What the table calls `start`. */
export const contender: Contender = {
  works: {
    import: (_url, argument) => async () => {
      const started = performance.now();
      if (argument === "rhea") await import("rhea");
      else await import("../../mod.ts");
      return performance.now() - started;
    },
  },
};
