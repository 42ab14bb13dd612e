/**
 * Bundles this package the way its users do for browsers and edge runtimes.
 *
 * @module
 */

import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

/** A bundle without imports of other files. */
export interface Bundle {
  readonly code: string;
  /** The bytes of each source file in the bundle, the largest first. */
  readonly sizes: ReadonlyArray<readonly [path: string, bytes: number]>;
}

const root = fileURLToPath(new URL("../", import.meta.url));

/**
 * Bundles and minifies the text of a module, whose relative imports start at the package's root; `external` names imports
 * to leave out.
 *
 * Call it when a test file loads, not in a test: esbuild starts a worker on first use, which deno reports as a leak.
 */
export function bundle(contents: string, external: string[] = []): Bundle {
  const { outputFiles, metafile } = build(contents, { external });
  const [{ inputs }] = Object.values(metafile.outputs);
  return { code: outputFiles[0].text, sizes: sizesOf([inputs]) };
}

/** The part that is loaded at once when the bundler puts lazy imports into files of their own. */
export function firstLoad(contents: string): Bundle {
  const { outputFiles, metafile } = build(contents, { splitting: true, outdir: "out" });
  const texts = new Map(outputFiles.map(({ path, text }) => [relative(root, path), text]));
  const [entry] = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint === "<stdin>")!;
  const loaded = new Set([entry]);
  for (const path of loaded) {
    for (const { path: next, kind } of metafile.outputs[path].imports) {
      if (kind === "import-statement") loaded.add(next);
    }
  }
  return {
    code: [...loaded].map((path) => texts.get(path)).join("\n"),
    sizes: sizesOf([...loaded].map((path) => metafile.outputs[path].inputs)),
  };
}

function build(contents: string, options: { splitting?: boolean; outdir?: string; external?: string[] } = {}) {
  return buildSync({
    stdin: { contents, loader: "ts", resolveDir: root },
    absWorkingDir: root,
    bundle: true,
    minify: true,
    format: "esm",
    // Nothing of Node is resolved, so an import of a built-in fails here.
    platform: "browser",
    target: "es2022",
    metafile: true,
    write: false,
    logLevel: "error",
    ...options,
  });
}

function sizesOf(outputs: readonly Record<string, { bytesInOutput: number }>[]): Bundle["sizes"] {
  const sizes = outputs.flatMap((inputs) =>
    Object.entries(inputs).map(([path, { bytesInOutput }]) => [path, bytesInOutput] as const)
  );
  return sizes.filter(([, bytes]) => bytes > 0).sort((a, b) => b[1] - a[1]);
}

/** The number of bytes that travel to a browser. */
export async function gzipSize(code: string): Promise<number> {
  const stream = new Blob([code]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}
