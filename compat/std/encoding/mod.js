// @ts-self-types="./mod.d.ts"
export * from "deno-std/encoding/mod.js";
