import { assertEquals } from "@std/assert";
import { generate } from "../../tools/types/build.ts";
import { test } from "../harness.ts";
import { read } from "../source.ts";

// Without the differences that formatting makes.
function plain(text: string): string {
  return text.replace(/\s+|,(?=\s*[}\])])/g, "").replace(/=\|/g, "=");
}

test("types: the interfaces of composites are those of the table, with what is said of each field", () => {
  for (const [path, text] of generate()) {
    assertEquals(plain(read(path)), plain(text), `run "npm run types": ${path} is not what the table says`);
  }
});
