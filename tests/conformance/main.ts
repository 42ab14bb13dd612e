/**
 * Writes `docs/conformance.md`: `npm run conformance`.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { sheet } from "./sheet.ts";

writeFileSync(fileURLToPath(new URL("../../docs/conformance.md", import.meta.url)), sheet());
