/**
 * The bytes that a browser or an edge function loads.
 *
 * @module
 */

import { builtinModules } from "node:module";
import type { Contender } from "./bench.ts";

/** The contender `bundle`. */
export const contender: Contender = {
  works: {
    bundle: (_url, argument) => async () => {
      const { bundle, firstLoad, gzipSize } = await import("../bundle.ts");
      // rhea needs Buffer, events and more of Node, which a page would have to load, too.
      if (argument === "rhea") {
        return await gzipSize(bundle('export { default } from "rhea";', [...builtinModules]).code);
      }
      // Modules loaded on use count in the last one only.
      const { code } = argument === "everything"
        ? bundle('export * from "./mod.ts";')
        : firstLoad(`export { ${argument} } from "./mod.ts";`);
      return await gzipSize(code);
    },
  },
};
