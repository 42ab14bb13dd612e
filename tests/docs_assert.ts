// Loaded before the documentation's examples, so that their failed assertions throw.
console.assert = (holds?: boolean, ...about: unknown[]): void => {
  if (holds !== true) throw new Error(`Assertion of an example does not hold ${about.join(" ")}`.trim());
};
