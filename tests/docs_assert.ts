// Loaded before the examples of the documentation are run: what they assert fails them.
console.assert = (holds?: boolean, ...about: unknown[]): void => {
  if (holds !== true) throw new Error(`Assertion of an example does not hold ${about.join(" ")}`.trim());
};
