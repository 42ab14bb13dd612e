/**
 * How much a browser or an edge function loads.
 *
 * @module
 */

import type { Contender } from "./bench.ts";

/** What the table calls `bundle`. */
export const contender: Contender = {
  works: {
    bundle: (_url, argument) => async () => {
      const { bundle, firstLoad, gzipSize } = await import("../bundle.ts");
      // What is loaded only when an option needs it counts in the last one only.
      const { code } = argument === "everything"
        ? bundle('export * from "./mod.ts";')
        : firstLoad(`export { ${argument} } from "./mod.ts";`);
      return await gzipSize(code);
    },
  },
};
